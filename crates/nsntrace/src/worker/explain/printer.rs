//! The thread that makes lines of packets.
//!
//! # Theory of operation
//! Copies come by way of the explainer, who says with them whose their flows are, so a line waits for a name as long as the explainer does: 40 ms at most. Lines go
//! into a pipe, whose other end is front's. While nobody reads there the thread waits, and room for copies runs out: that is all that happens.

use std::fs::File;
use std::io::{self, Write as _};
use std::mem;
use std::os::fd::OwnedFd;
use std::thread::{self, JoinHandle};

use nsntrace_datapath::{Copies, Room};
use nsntrace_live::{Lines, Packet};
use nsntrace_owners::Owner;
use nsntrace_report::FlowNumber;
use rustix::process::setpriority_process;

use super::by_flow::ByFlow;
use crate::failure::Failure;
use crate::plan::Plan;
use crate::queue::{Receiver, Sender, queue};

/// Packets to be printed, and what has become known of flows since the last.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) copies: Copies,
    pub(super) owners: Vec<(FlowNumber, Owner)>,
}

/// The running thread, as the explainer has it. It ends when it is dropped, and what it has is printed.
#[derive(Debug)]
pub(crate) struct Printer {
    pages: Sender<Page>,
    pub(super) room: Room,
}

impl Printer {
    /// Starts to print into a pipe what passes in a trace that began at `started_ns`. Gives the thread, too, for whoever waits for its end.
    pub(crate) fn start(
        pipe: OwnedFd,
        plan: &Plan,
        started_ns: u64,
    ) -> Result<(Self, JoinHandle<()>), Failure> {
        let is_coloured = plan.lines.as_ref().is_some_and(|lines| lines.is_coloured);
        let lines = Lines::new(started_ns, is_coloured);
        // Room for copies bounds it.
        let (pages, printed) = queue(usize::MAX);
        let room = Room::default();
        let press = Press { pipe: pipe.into(), lines, owners: ByFlow::default(), room: room.clone() };
        let run = move || press.run(&printed);
        let thread = thread::Builder::new().name("nsntrace-print".into()).spawn(run);
        let thread = thread.map_err(|error| Failure::of("cannot start a thread", &error))?;
        Ok((Self { pages, room }, thread))
    }

    /// Has a page printed, if somebody reads.
    pub(super) fn print(&self, page: Page) {
        self.pages.send(page);
    }
}

struct Press {
    pipe: File,
    lines: Lines,
    owners: ByFlow,
    room: Room,
}

impl Press {
    /// The thread's life: until there is nothing more to print, or nobody to read it.
    fn run(mut self, pages: &Receiver<Page>) {
        // Worker is in a hurry, and what is printed is not.
        let _as_before = setpriority_process(None, 0);
        while let Some(page) = pages.recv() {
            let printed = self.print(&page);
            self.room.give_back(&page.copies);
            if printed.is_err() {
                break;
            }
        }
        self.room.close();
    }

    fn print(&mut self, page: &Page) -> io::Result<()> {
        for (flow, owner) in &page.owners {
            self.owners.learn(*flow, owner.clone());
        }
        let mut text = String::new();
        if page.copies.left_out > 0 {
            self.lines.write_left_out(page.copies.left_out, &mut text);
        }
        for (packet, bytes) in page.copies.iter() {
            let owner = packet.flow.and_then(|flow| self.owners.owner(flow));
            let packet = Packet {
                timestamp_ns: packet.timestamp_ns,
                bytes,
                len: packet.len,
                flow: packet.flow.map(|flow| flow.0),
                process: owner.map(|owner| (owner.process.name.as_str(), owner.process.pid)),
            };
            self.lines.write(&packet, &mut text);
            if text.len() >= PIECE {
                self.pipe.write_all(mem::take(&mut text).as_bytes())?;
            }
        }
        self.pipe.write_all(text.as_bytes())
    }
}

/// As much as a pipe takes at once.
const PIECE: usize = 64 << 10;
