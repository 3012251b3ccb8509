//! TLS keys: the thread that reads them, and which are waited for.
//!
//! # Theory of operation
//! The pipe is read from the program's start to the trace's end, whatever becomes of the capture: a program must not wait for us, and the log of the user's
//! own is to be as whole as without us. Whoever logs later, the processes that outlive the trace, finds that log, or none, in the pipe's place.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use nsntrace_keylog::{Fifo, Presence};
use nsntrace_report::{FlowNumber, Handshake, Head};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use super::inbox::{Inbox, Random};
use crate::failure::Failure;
use crate::keylog::Keylog;
use crate::protocol::{Channel, Report};

/// The thread that reads, as its owner has it.
pub(crate) struct KeyReader {
    inbox: Inbox,
    fifo: Fifo,
    /// Where keys go afterwards.
    afterwards: PathBuf,
    /// Closed, it makes the thread end.
    stop: Option<OwnedFd>,
    /// At its end when the thread is.
    done: OwnedFd,
}

impl KeyReader {
    /// Starts to read. What cannot be passed on is told over `channel`, once.
    pub(crate) fn start(fifo: Fifo, keylog: &Keylog, channel: Channel) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::of("cannot read TLS keys", &error);
        let own = keylog.own.as_ref().map(|own| own.file.try_clone()).transpose().map_err(failed)?;
        let inbox = fifo.reader().and_then(|pipe| Inbox::new(pipe, own.is_some())).map_err(failed)?;
        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(|errno| failed(errno.into()));
        let ((stopped, stop), (done, finished)) = (pipe()?, pipe()?);
        let thread = Thread { inbox: inbox.clone(), stopped, own, channel };
        let run = move || {
            thread.run();
            drop(finished);
        };
        thread::Builder::new().name("nsntrace-keys".into()).spawn(run).map_err(failed)?;
        Ok(Self { inbox, fifo, afterwards: keylog.afterwards().to_owned(), stop: Some(stop), done })
    }

    pub(crate) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// Reads the rest. Waits for the log of the user's own to have it, but not for ever: that may be a pipe that nobody reads.
    pub(crate) fn end(&mut self) {
        // Where that is not possible, whoever logs now is told that nobody reads.
        let _unread = self.fifo.lead_to(&self.afterwards);
        self.stop = None;
        let patience = Timespec { tv_sec: 1, tv_nsec: 0 };
        let _ended = poll(&mut [PollFd::new(&self.done, PollFlags::IN)], Some(&patience));
    }
}

struct Thread {
    inbox: Inbox,
    stopped: OwnedFd,
    /// The log of the user's own.
    own: Option<File>,
    channel: Channel,
}

impl Thread {
    fn run(mut self) {
        loop {
            let has_stopped = self.inbox.wait_beside(self.stopped.as_fd());
            if has_stopped {
                self.inbox.drain();
            } else if self.inbox.read().is_err() {
                return;
            }
            self.pass_on();
            if has_stopped {
                return;
            }
        }
    }

    fn pass_on(&mut self) {
        let bytes = self.inbox.take_raw();
        let Some(own) = &mut self.own else { return };
        if let Err(error) = own.write_all(&bytes) {
            self.own = None;
            let note = format!("TLS keys are no longer passed on to the file of SSLKEYLOGFILE: {error}");
            self.channel.report(&Report::Note(note));
        }
    }
}

/// Which handshakes there were, and of which of them keys are waited for.
#[derive(Debug)]
pub(super) struct Handshakes {
    inbox: Inbox,
    /// Answered, and their keys are not all there.
    open: HashMap<FlowNumber, Random>,
}

impl Handshakes {
    pub(super) fn new(inbox: Inbox) -> Self {
        Self { inbox, open: HashMap::new() }
    }

    /// A handshake has begun or gone on. What its keys are needed for, from now on.
    pub(super) fn see(&mut self, handshake: &Handshake) -> Option<(Random, FlowNumber)> {
        if !handshake.is_answered {
            return None;
        }
        self.open.insert(handshake.flow, handshake.random);
        Some((handshake.random, handshake.flow))
    }

    /// Waits for the keys of those that have something in `heads`; of each, once: those of a program that logs none never come.
    pub(super) fn await_keys(&mut self, heads: &[Head], deadline: Instant) {
        let in_heads = |head: &Head| Some((head.flow, *self.open.get(&head.flow)?));
        let awaited: Vec<_> = heads.iter().filter_map(in_heads).collect();
        let randoms: Vec<_> = awaited.iter().map(|(_, random)| *random).collect();
        if randoms.is_empty() {
            return;
        }
        self.inbox.await_keys(&randoms, deadline);
        let is_late = Instant::now() >= deadline;
        for (flow, random) in awaited {
            if is_late || self.inbox.presence(&random) == Presence::Complete {
                self.open.remove(&flow);
            }
        }
    }
}
