//! The thread that copies packets from the ring to the output.
//!
//! # Theory of operation
//! One thread, no buffer besides the ring: while the output is slow the ring fills, and the kernel counts what finds no room. The thread
//! ends when it is told that nothing can be received any more; then it drains the ring and completes the file, and only after it has said
//! so lets go of the ring, for which the kernel takes 20 to 30 ms. Whoever waits for it polls a descriptor, since a
//! write to a pipe that nobody reads may last for ever.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::SystemTime;
use std::{io, mem};

use nsntrace_capture::{Block, Capture, Frame, IdleRing};
use nsntrace_link::IfIndex;
use nsntrace_pcapwriter::{Direction, Interface, OutputFile, Packet, Section, Statistics, Writer};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::failure::{Failure, chain};
use crate::filter::snaplen;
use crate::plan::Plan;
use crate::protocol::Outcome;

/// The running thread.
pub(crate) struct Recorder {
    outcome: Receiver<Outcome>,
    stop: OwnedFd,
    done: OwnedFd,
}

impl Recorder {
    /// Starts to receive and to write. When this returns, no packet is missed any more.
    pub(crate) fn start(ring: IdleRing, uplink: IfIndex, plan: &Plan) -> Result<Self, Failure> {
        let cannot_write = |error| Failure::of("cannot write the capture", &error);
        let file = plan.outfile.take().map_err(cannot_write)?;
        let output = OutputFile::new(file).map_err(cannot_write)?;
        let writer = new_writer(output, plan)?;
        let event = || {
            eventfd(0, EventfdFlags::CLOEXEC).map_err(|errno| Failure::of("cannot make an eventfd", &errno))
        };
        let (stop, done) = (event()?, event()?);
        let capture = ring.start(uplink.get(), &plan.filter)?;
        let (stopped, finished) = (duplicate(&stop)?, duplicate(&done)?);
        let (sender, outcome) = mpsc::channel();
        let record = move || {
            let mut capture = capture;
            // Also when this thread panics: whoever waits must not wait for ever.
            let finished = RaiseOnDrop(finished);
            let outcome = record(&mut capture, writer, stopped.as_fd());
            // Nobody listens when front was gone for too long.
            let _unheard = sender.send(outcome);
            drop(finished);
        };
        let started = thread::Builder::new().name("nsntrace-ring".into()).spawn(record);
        started.map_err(|error| Failure::of("cannot start a thread", &error))?;
        Ok(Self { outcome, stop, done })
    }

    /// Tells the thread that nothing can be received any more.
    pub(crate) fn stop(&self) {
        raise(&self.stop);
    }

    /// Readable when the file is complete.
    pub(crate) fn done(&self) -> BorrowedFd<'_> {
        self.done.as_fd()
    }

    /// What became of the packets. Waits for the file to be complete.
    pub(crate) fn outcome(self) -> Outcome {
        self.outcome.recv().unwrap_or_else(|_panicked| Outcome {
            output_error: Some("the thread that writes packets has failed".into()),
            ..Outcome::default()
        })
    }
}

fn new_writer(
    output: OutputFile,
    plan: &Plan,
) -> Result<Writer<OutputFile>, nsntrace_pcapwriter::WriterError> {
    let uname = rustix::system::uname();
    let os = format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy());
    let section = Section {
        os: &os,
        application: concat!("nsntrace ", env!("CARGO_PKG_VERSION")),
        hardware: uname.machine().to_str().ok(),
        comment: Some(COMMENT),
        filter: plan.options.filter.as_deref(),
        snaplen: snaplen(),
        interfaces: &[
            Interface { name: "eth0", description: "the traced program's way out" },
            Interface { name: "lo", description: "the traced program's loopback" },
        ],
    };
    Writer::new(output, plan.outfile.format, &section)
}

/// The thread's life.
fn record(capture: &mut Capture, mut writer: Writer<OutputFile>, stop: BorrowedFd<'_>) -> Outcome {
    let started_ns = now_ns();
    loop {
        while let Ok(Some(block)) = capture.next_block() {
            write(&mut writer, &block);
        }
        if wait(capture, stop) {
            break;
        }
    }
    // Counted before the last frames are read: no more can come.
    let counted = capture.statistics().unwrap_or_default();
    while let Ok(Some(block)) = capture.next_block() {
        write(&mut writer, &block);
    }
    if let Some(block) = capture.open_block() {
        write(&mut writer, &block);
    }
    let statistics = Statistics {
        received: counted.received,
        dropped_by_kernel: counted.dropped,
        started_ns,
        ended_ns: now_ns(),
    };
    let summary = writer.finish(&statistics);
    let is_reader_gone = summary.error.as_ref().is_some_and(is_broken_pipe);
    Outcome {
        written: summary.written,
        dropped: counted.dropped,
        unwritten: summary.lost,
        output_error: summary.error.filter(|_error| !is_reader_gone).map(|error| chain(&error)),
        survivors: Vec::new(),
    }
}

/// Counts what it cannot write; the sum is told at the end.
fn write(writer: &mut Writer<OutputFile>, block: &Block<'_>) {
    let mut batch = writer.batch();
    let mut dropped_before = block.dropped_before;
    for frame in block.frames() {
        let _counted = batch.push(&packet(&frame, mem::take(&mut dropped_before)));
    }
}

fn packet<'block>(frame: &Frame<'block>, dropped_before: u64) -> Packet<'block> {
    Packet {
        interface: usize::from(frame.ifindex == IfIndex::LOOPBACK.get()),
        timestamp_ns: frame.timestamp_ns,
        original_len: frame.original_len.saturating_add(if frame.vlan.is_some() { 4 } else { 0 }),
        bytes: frame.bytes,
        vlan: frame.vlan,
        dropped_before,
        direction: match frame.direction {
            nsntrace_capture::Direction::Inbound => Direction::Inbound,
            nsntrace_capture::Direction::Outbound => Direction::Outbound,
        },
    }
}

/// Waits for a block or for the end; true for the end.
fn wait(capture: &Capture, stop: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(capture, PollFlags::IN), PollFd::from_borrowed_fd(stop, PollFlags::IN)];
    match poll(&mut fds, None) {
        Ok(_) => fds[1].revents().intersects(PollFlags::IN),
        Err(_interrupted) => false,
    }
}

fn is_broken_pipe(error: &nsntrace_pcapwriter::WriterError) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Nanoseconds since the epoch, by the clock that packets are stamped with.
fn now_ns() -> u64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
}

fn duplicate(fd: &OwnedFd) -> Result<OwnedFd, Failure> {
    fd.try_clone().map_err(|error| Failure::of("cannot duplicate a descriptor", &error))
}

/// An event that is raised at the latest when this is dropped.
struct RaiseOnDrop(OwnedFd);

impl Drop for RaiseOnDrop {
    fn drop(&mut self) {
        raise(&self.0);
    }
}

fn raise(event: &OwnedFd) {
    // The counter of an eventfd takes 2^64 - 2 of these.
    let _ = rustix::io::write(event, &1_u64.to_ne_bytes());
}

/// Said once in a pcapng file, so that nobody wonders at "bad checksum".
const COMMENT: &str = "Frames that the program sent were recorded before the checksum was computed, and may be longer than \
    the MTU: the kernel leaves both to the device (checksum and segmentation offload).";
