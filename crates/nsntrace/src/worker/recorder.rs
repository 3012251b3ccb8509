//! The thread that copies packets from the ring to the output.
//!
//! # Theory of operation
//! One thread, no buffer besides the ring: while the output is slow the ring fills, and the kernel counts what finds no room. The thread
//! ends when it is told how many packets there were; then it reads the rest of them from the ring and completes the file, and only after it
//! has said so lets go of the ring, for which the kernel takes 20 to 30 ms. Whoever waits for it polls a descriptor, since a
//! write to a pipe that nobody reads may last for ever.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use nsntrace_capture::{Capture, CaptureError, Counter, IdleRing, Statistics};
use nsntrace_link::IfIndex;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::recording::{Recording, now_ns};
use crate::failure::{Failure, chain};
use crate::plan::Plan;
use crate::protocol::Outcome;

/// What there was to record.
pub(crate) type Counted = Result<Statistics, CaptureError>;

/// The running thread.
pub(crate) struct Recorder {
    counter: Arc<Counter>,
    outcome: Receiver<Outcome>,
    end: Sender<Counted>,
    stop: OwnedFd,
    done: OwnedFd,
}

impl Recorder {
    /// Starts to receive and to write. When this returns, no packet is missed any more.
    pub(crate) fn start(ring: IdleRing, uplink: IfIndex, plan: &Plan) -> Result<Self, Failure> {
        let recording = Recording::begin(plan)?;
        let event = || {
            eventfd(0, EventfdFlags::CLOEXEC).map_err(|errno| Failure::of("cannot make an eventfd", &errno))
        };
        let (stop, done) = (event()?, event()?);
        let capture = ring.start(uplink.get(), &plan.filter)?;
        let (stopped, finished) = (duplicate(&stop)?, duplicate(&done)?);
        let counter = capture.counter();
        let (sender, outcome) = mpsc::channel();
        let (end, counted) = mpsc::channel();
        let record = move || {
            // Also when this thread panics: whoever waits must not wait for ever.
            let finished = RaiseOnDrop(finished);
            let mut capture = capture;
            let outcome = record(&mut capture, recording, &End { stopped, counted });
            // Nobody listens when front was gone for too long.
            let _unheard = sender.send(outcome);
            drop(finished);
        };
        let started = thread::Builder::new().name("nsntrace-ring".into()).spawn(record);
        started.map_err(|error| Failure::of("cannot start a thread", &error))?;
        Ok(Self { counter, outcome, end, stop, done })
    }

    /// Counts the packets so far.
    pub(crate) fn count(&self) -> Counted {
        self.counter.count()
    }

    /// Tells the thread where the end is. To be called when all receivers that were at work when it was counted have finished.
    pub(crate) fn stop(&self, counted: Counted) {
        // It has ended already.
        let _unheard = self.end.send(counted);
        raise(&self.stop);
    }

    /// Readable when the file is complete.
    pub(crate) fn done(&self) -> BorrowedFd<'_> {
        self.done.as_fd()
    }

    /// What became of the packets. Waits for the file to be complete.
    pub(crate) fn outcome(&self) -> Outcome {
        self.outcome.recv().unwrap_or_else(|_panicked| Outcome {
            output_error: Some("the thread that writes packets has failed".into()),
            ..Outcome::default()
        })
    }
}

/// The thread's life.
fn record(capture: &mut Capture, mut recording: Recording, end: &End) -> Outcome {
    match run(capture, &mut recording, end) {
        Ok(counted) => recording.end(counted),
        Err(error) => Outcome { output_error: Some(chain(&error)), ..recording.end(None) },
    }
}

/// Records until there is nothing more to come, and gives what the kernel has counted; or until a limit is reached.
fn run(
    capture: &mut Capture,
    recording: &mut Recording,
    end: &End,
) -> Result<Option<Statistics>, CaptureError> {
    loop {
        while let Some(block) = capture.next_block()? {
            if !recording.record(&block) {
                return Ok(None);
            }
        }
        // A packet from before the end may be in a block that the kernel has yet to give out.
        let time_left =
            recording.end_ns().map(|end_ns| Duration::from_nanos(end_ns.saturating_sub(now_ns())));
        match wait(capture, end.stopped.as_fd(), time_left.map(|left| left + 2 * capture.retire_timeout())) {
            Wake::Block => {}
            Wake::Stop => break,
            Wake::Time => return Ok(None),
        }
    }
    // One that stops us without a word is gone.
    let counted = end.counted.recv().unwrap_or_else(|_gone| capture.counter().count())?;
    capture.end_at(counted);
    while let Some(block) = capture.next_block()? {
        if !recording.record(&block) {
            return Ok(None);
        }
    }
    let is_whole = capture.open_block().is_none_or(|block| recording.record(&block));
    Ok(is_whole.then_some(counted))
}

/// How the thread hears of the end.
struct End {
    stopped: OwnedFd,
    counted: Receiver<Counted>,
}

/// What the thread was woken by.
enum Wake {
    Block,
    Stop,
    Time,
}

fn wait(capture: &Capture, stop: BorrowedFd<'_>, timeout: Option<Duration>) -> Wake {
    let mut fds = [PollFd::new(capture, PollFlags::IN), PollFd::from_borrowed_fd(stop, PollFlags::IN)];
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match poll(&mut fds, timeout.as_ref()) {
        Ok(0) => Wake::Time,
        Ok(_) if fds[1].revents().intersects(PollFlags::IN) => Wake::Stop,
        Ok(_) | Err(_) => Wake::Block,
    }
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
