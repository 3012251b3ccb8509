//! The thread that copies packets from the ring to the output.
//!
//! # Theory of operation
//! One thread, no buffer besides the ring: while the output is slow the ring fills, and the kernel counts what finds no room. The thread
//! ends when the capture has ended and it is told to; then it reads the rest from the ring and completes the file, and only after it
//! has said so lets go of the ring, for which the kernel takes 20 to 30 ms. Whoever waits for it polls a descriptor, since a
//! write to a pipe that nobody reads may last for ever. When another thread fails and worker is to end, this one completes the file first.

mod waiter;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{self, JoinHandle};

use nsntrace_capture::{Block, Capture, CaptureError, Counter, IdleRing, Statistics};
use nsntrace_keylog::Fifo;
use nsntrace_sys::failing;
use rustix::io::{Errno, write};
use rustix::pipe::{PipeFlags, pipe_with};

use self::waiter::{Waiter, Wake};
use super::explain::{Ending, Explainer, KeyReader, Owners, Printer};
use super::network::Network;
use super::recording::{Recording, now_ns};
use crate::failure::{Failure, chain};
use crate::plan::Plan;
use crate::progress::{Counts, Tally};
use crate::protocol::{Channel, Outcome, Report};

/// The running thread.
pub(crate) struct Recorder {
    /// The thread's: when it has ended, so has the socket.
    counter: Weak<Counter>,
    /// Told before the end of `done`.
    outcome: Arc<OnceLock<Outcome>>,
    /// A word makes the thread read the rest.
    stop: OwnedFd,
    /// At its end when the thread is.
    done: OwnedFd,
    /// Who reads TLS keys, for longer than packets are recorded.
    keys: Option<KeyReader>,
    /// Who prints lines, perhaps for longer than that, too.
    printing: Option<JoinHandle<()>>,
}

/// What else the recorder is told, and whom it tells.
pub(crate) struct Sources {
    /// Where TLS keys arrive.
    pub(crate) keys: Option<Fifo>,
    /// Who knows whose flows are.
    pub(crate) owners: Option<Owners>,
    /// Where lines of packets go.
    pub(crate) lines: Option<OwnedFd>,
    /// Where it is said how much has been recorded.
    pub(crate) tally: Option<Arc<Tally>>,
}

impl Recorder {
    /// Starts to receive and to write. When this returns, no packet is missed any more.
    ///
    /// What goes wrong with the output is told over `channel` when it does; [`outcome`](Self::outcome) says it once more.
    pub(crate) fn start(
        ring: IdleRing,
        network: &Network,
        plan: &Plan,
        channel: &Channel,
        Sources { keys, owners, lines, tally }: Sources,
    ) -> Result<Self, Failure> {
        let ((stopped, stop), (done, finished)) = (pipe()?, pipe()?);
        let on_failure =
            stop.try_clone().map_err(|error| Failure::of("cannot duplicate a descriptor", &error))?;
        let capture = ring.start(network.peer_ifindex().get(), &plan.filter)?;
        let channel =
            channel.duplicate().map_err(|error| Failure::of("cannot duplicate a descriptor", &error))?;
        let keys = start_keys(keys, plan, &channel)?;
        let inbox = keys.as_ref().map(KeyReader::inbox);
        let started_ns = now_ns();
        let printer = lines.map(|pipe| Printer::start(pipe, plan, started_ns)).transpose()?;
        let (printer, printing) = printer.unzip();
        let explainer = Explainer::start(plan, network.transport(), started_ns, inbox, owners, printer)?;
        let reader = plan.outfile.stream();
        let reader = reader.map_err(|error| Failure::of("cannot duplicate a descriptor", &error))?;
        let waiter = Waiter::new(&capture, stopped.as_fd(), reader)?;
        // As late as can be: it empties a file that was there before.
        let recording = Recording::begin(plan, network.transport(), inbox, capture.max_kept())?;
        let counter = Arc::downgrade(capture.counter());
        let outcome = Arc::new(OnceLock::new());
        let told = Arc::clone(&outcome);
        let record = move || {
            failing::complete_first(on_failure);
            let (mut capture, _watched) = (capture, stopped);
            let thread = Thread { capture: &mut capture, recording, explainer, waiter, channel, tally };
            let _once = told.set(thread.record());
            drop(finished);
        };
        let started = thread::Builder::new().name("nsntrace-ring".into()).spawn(record);
        started.map_err(|error| Failure::of("cannot start a thread", &error))?;
        Ok(Self { counter, outcome, stop, done, keys, printing })
    }

    /// Ends the capture here, though the thread is still to read what has come.
    ///
    /// # Errors
    /// The kernel does not tell how many packets there were.
    pub(crate) fn end_capture(&self) -> Result<(), Failure> {
        // A thread that has ended has counted.
        self.counter.upgrade().map_or(Ok(()), |counter| counter.end().map(drop))?;
        Ok(())
    }

    /// Makes the thread read the rest. To be called when all receivers that were at work at the end of the capture have finished.
    pub(crate) fn stop(&mut self) {
        // A thread that has ended reads nothing. One that has not hears it from nobody else.
        while write(&self.stop, b"!").is_err_and(|errno| errno != Errno::PIPE) {}
    }

    /// Readable when the file is complete.
    pub(crate) fn done(&self) -> BorrowedFd<'_> {
        self.done.as_fd()
    }

    /// Reads the last TLS keys.
    pub(crate) fn end_keys(&mut self) {
        if let Some(keys) = &mut self.keys {
            keys.end();
        }
    }

    /// Waits until all lines have been taken, or nobody takes them.
    pub(crate) fn end_lines(&mut self) {
        if let Some(printing) = self.printing.take() {
            let _ended = printing.join();
        }
    }

    /// What became of the packets, once the file is complete.
    pub(crate) fn outcome(&self) -> Outcome {
        self.outcome.get().cloned().unwrap_or_default()
    }
}

/// What the thread has.
struct Thread<'a> {
    capture: &'a mut Capture,
    recording: Recording,
    explainer: Option<Explainer>,
    waiter: Waiter,
    channel: Channel,
    tally: Option<Arc<Tally>>,
}

impl Thread<'_> {
    /// The thread's life.
    fn record(mut self) -> Outcome {
        let counted = self.run();
        let Self { mut recording, mut explainer, .. } = self;
        for answer in explainer.iter_mut().flat_map(|explainer| explainer.survey.last_answers()) {
            recording.learn(answer);
        }
        let late = recording.end_secrets(explainer.as_ref().map(|explainer| &explainer.survey));
        let mut outcome = match counted {
            Ok(counted) => recording.end(counted),
            Err(error) => Outcome { output_error: Some(chain(&error)), ..recording.end(None) },
        };
        failing::completed();
        if let Some(explainer) = explainer {
            outcome.told = explainer.end(&Ending { outcome: &outcome, late: &late });
            outcome.output_error = outcome.output_error.or(outcome.told.error.take());
        }
        outcome
    }

    /// Records until there is nothing more to come, and gives what the kernel has counted; or until a limit is reached.
    fn run(&mut self) -> Result<Option<Statistics>, CaptureError> {
        let Self { capture, recording, explainer, waiter, channel, tally } = self;
        loop {
            while let Some(block) = capture.next_block()? {
                let has_room = take(block, recording, explainer);
                if let Some(tally) = tally {
                    count(tally, recording, explainer.as_mut());
                }
                if !has_room {
                    return Ok(None);
                }
            }
            if let Some(trouble) = recording.trouble() {
                channel.report(&Report::Note(format!("packets are lost from now on: {trouble}")));
            }
            // A block that has packets, some perhaps from before the end, comes earlier than that.
            let late = 3 * capture.retire_timeout();
            let time_left = recording.time_left().map(|left| left + late);
            let silence = recording.holds_back().then_some(late);
            match waiter.wait(time_left.into_iter().chain(silence).min()) {
                Wake::Block => {}
                Wake::ReaderGone => channel.report(&Report::ReaderGone),
                Wake::Stop => break,
                Wake::Time if recording.is_over_since(late) => return Ok(None),
                Wake::Time => recording.flush(),
            }
        }
        let counted = capture.counter().end()?;
        while let Some(block) = capture.next_block()? {
            if !take(block, recording, explainer) {
                return Ok(None);
            }
        }
        let is_whole = capture.open_block().is_none_or(|block| take(block, recording, explainer));
        Ok(is_whole.then_some(counted))
    }
}

/// Looks at a block, if anybody wants to know, and records it. False when a limit is reached.
fn take(block: Block, recording: &mut Recording, explainer: &mut Option<Explainer>) -> bool {
    let Some(Explainer { survey, .. }) = explainer else { return recording.record(block, None) };
    for answer in survey.look(&block, recording.room(&block)) {
        recording.learn(answer);
    }
    recording.record(block, Some(survey))
}

/// Says how much has been recorded, for whoever looks.
fn count(tally: &Tally, recording: &Recording, explainer: Option<&mut Explainer>) {
    let connections = explainer.map_or(0, |explainer| explainer.survey.connections());
    tally.set(&Counts { connections, ..recording.so_far() });
}

fn start_keys(fifo: Option<Fifo>, plan: &Plan, channel: &Channel) -> Result<Option<KeyReader>, Failure> {
    let (Some(fifo), Some(keylog)) = (fifo, &plan.keylog) else { return Ok(None) };
    let channel =
        channel.duplicate().map_err(|error| Failure::of("cannot duplicate a descriptor", &error))?;
    KeyReader::start(fifo, keylog, channel).map(Some)
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Failure> {
    pipe_with(PipeFlags::CLOEXEC).map_err(|errno| Failure::of("cannot make a pipe", &errno))
}
