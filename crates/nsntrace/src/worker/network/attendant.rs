//! A thread that serves the network beside worker's loop, until it is to stop.
//!
//! # Theory of operation
//! Pipes tell of ends in both directions: the attendant's stop is our end's closing, and its own end closes the other one.

use std::error::Error;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::thread::CapabilitySet;
use rustix::time::Timespec;

use crate::failure::Failure;
use crate::worker::privilege;

/// A thread at work. Dropped, it is told to stop, and waited for.
pub(super) struct Attendant<E> {
    /// Closed, it makes the thread stop.
    stop: Option<OwnedFd>,
    /// At its end when the thread is.
    end: OwnedFd,
    /// Until its end was seen.
    thread: Option<JoinHandle<Result<(), E>>>,
}

impl<E: Error + Send + 'static> Attendant<E> {
    /// Starts a thread of this name, which `serve`s until the descriptor that it is given is at its end, with no more capabilities than
    /// are `needed`.
    pub(super) fn start(
        name: &str,
        needed: CapabilitySet,
        serve: impl FnOnce(BorrowedFd<'_>) -> Result<(), E> + Send + 'static,
    ) -> Result<Self, Failure> {
        let ((stopped, stop), (end, ending)) = (pipe()?, pipe()?);
        let run = move || {
            let _ending = ending;
            privilege::keep(needed).expect("capabilities can always be given up");
            serve(stopped.as_fd())
        };
        let started = thread::Builder::new().name(name.into()).spawn(run);
        let thread = started.map_err(|error| Failure::of("cannot start a thread", &error))?;
        Ok(Self { stop: Some(stop), end, thread: Some(thread) })
    }

    /// Readable when the thread has ended though nobody wanted it to.
    pub(super) fn ended(&self) -> Option<BorrowedFd<'_>> {
        self.thread.as_ref().map(|_running| self.end.as_fd())
    }

    /// Says why it has ended, if it has. Once.
    pub(super) fn outcome(&mut self) -> Result<(), Failure> {
        if !self.has_ended() {
            return Ok(());
        }
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => Err(Failure::of(LOST, &error)),
            _ => Ok(()),
        }
    }

    fn has_ended(&self) -> bool {
        let at_once = Timespec::default();
        poll(&mut [PollFd::new(&self.end, PollFlags::IN)], Some(&at_once)).is_ok_and(|count| count > 0)
    }
}

impl<E> Drop for Attendant<E> {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Failure> {
    pipe_with(PipeFlags::CLOEXEC).map_err(|errno| Failure::of("cannot make a pipe", &io::Error::from(errno)))
}

const LOST: &str = "the program has lost its network";

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    fn wait(fd: BorrowedFd<'_>) -> Result<(), Errno> {
        poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], None).map(drop)
    }

    #[test]
    fn it_stops_when_it_is_dropped() {
        let mut attendant = Attendant::start("test", CapabilitySet::empty(), wait).unwrap();
        assert!(attendant.ended().is_some());
        assert_eq!(attendant.outcome(), Ok(()), "it does not wait");
        // Waits for the thread, which waits for this.
        drop(attendant);
    }

    #[test]
    fn an_early_end_is_seen_and_explained_once() {
        let mut attendant =
            Attendant::start("test", CapabilitySet::empty(), |_stop| Err(Errno::NOMEM)).unwrap();
        wait(attendant.ended().unwrap()).unwrap();
        let said = attendant.outcome().unwrap_err().message;
        assert_eq!(said, "the program has lost its network: Cannot allocate memory (os error 12)");
        assert!(attendant.ended().is_none());
        assert_eq!(attendant.outcome(), Ok(()));
    }
}
