//! The process that sees whose the program's sockets are.
//!
//! # Theory of operation
//! It is not worker, since it must be able to look into the program's processes, and worker reads what comes from the network and must not.
//! It reads nothing but words of worker, calls that the kernel holds, and procfs. One thread serves callers, in the traced namespace; the first thread, which
//! stays outside and is what procfs shows, looks for holders. It outlives worker for as long as somebody's sockets depend on it.
//!
//! # Kernel interface
//! `CAP_SYS_PTRACE` and `CAP_DAC_READ_SEARCH` for procfs and pidfd_getfd(2), `CAP_SETUID` and `CAP_SETGID` for whom sockets belong to; setns(2).

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::thread;

use nsntrace_netns::Netns;
use nsntrace_owners::{Holders, Line, Witness, Word};
use nsntrace_sys::Fork;
use rustix::net::RecvFlags;
use rustix::thread::CapabilitySet;

use super::privilege;
use crate::failure::Failure;
use crate::plan::Plan;
use crate::queue::{Receiver, queue};

/// Which of two processes this is.
pub(super) enum Side {
    /// Worker, with what the witness is heard by, if there is one.
    Worker(Option<Line>),
    /// The witness, which has worker's descriptors, too.
    Witness(Line),
}

/// Splits the witness off, if anybody wants to know whose packets are.
pub(super) fn fork(plan: &Plan) -> Result<Side, Failure> {
    if !plan.wants_processes() {
        return Ok(Side::Worker(None));
    }
    let (ours, theirs) = Line::pair().map_err(|errno| Failure::of("cannot make a socket pair", &errno))?;
    match nsntrace_sys::fork().map_err(|error| Failure::of("cannot start a process", &error))? {
        Fork::Parent(_) => Ok(Side::Worker(Some(ours))),
        Fork::Child => Ok(Side::Witness(theirs)),
    }
}

/// The witness's life. Without it sockets are nobody's, and the trace goes on.
pub(super) fn run(plan: &Plan, netns: &Netns, line: Line) -> Result<(), Failure> {
    let _unnamed = rustix::thread::set_name(c"nsntrace-witness");
    privilege::begin(plan)?;
    let wants_command_line = plan.options.process_info.has_command_lines();
    let line = Arc::new(line);
    let (listeners, given) = queue(usize::MAX);
    let (entered, has_entered) = queue::<OwnedFd>(0);
    thread::scope(|scope| {
        let theirs = line.clone();
        let serving = thread::Builder::new().name("nsntrace-sockets".into()).spawn_scoped(scope, move || {
            let is_inside = netns.enter().is_ok() && privilege::keep(NEEDED).is_ok();
            drop(entered);
            if is_inside {
                serve(&given, &theirs, wants_command_line);
            }
        });
        serving.map_err(|error| Failure::of("cannot start a thread", &error))?;
        // At its end when the thread is where it belongs: after this, nobody goes anywhere.
        let _nothing_comes = has_entered.recv();
        let mut holders = Holders::of(netns.as_fd(), wants_command_line)
            .map_err(|error| Failure::of("cannot read /proc", &error))?;
        privilege::keep(NEEDED)?;
        privilege::confine_witness();
        while let Ok(word) = line.hear(RecvFlags::empty()) {
            match word {
                Some(Word::Serve(listener)) => listeners.send(listener),
                Some(Word::Look) => holders.look(&line),
                _ => {}
            }
        }
        drop(listeners);
        Ok(())
    })
}

/// Serves the listener that comes, until nobody needs it.
fn serve(listeners: &Receiver<OwnedFd>, line: &Line, wants_command_line: bool) {
    while let Some(listener) = listeners.recv() {
        if let Ok(witness) = Witness::new(listener, line, wants_command_line) {
            witness.serve();
        }
    }
}

const NEEDED: CapabilitySet = CapabilitySet::SYS_PTRACE
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETGID);
