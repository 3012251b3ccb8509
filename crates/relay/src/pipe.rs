//! One direction of a connection.

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};

/// One direction of a connection: bytes that were read and could not be written yet, and how far its end has come.
///
/// Nothing is read while bytes wait, so a slow reader slows the writer down, and no more waits than one read took. In
/// the usual case all is written at once and nothing is kept.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    waiting: Vec<u8>,
    sent: usize,
    end: End,
}

/// How far the end of a direction has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum End {
    /// More may come.
    #[default]
    Open,
    /// The reader's side said that no more comes.
    Read,
    /// And the other side was told.
    Passed,
}

impl Pipe {
    /// Moves what can be moved without waiting, by way of `scratch`. Returns how many bytes moved and whether its end did.
    ///
    /// # Errors
    /// That of either socket. Neither is of use any more.
    pub(crate) fn turn(&mut self, from: impl AsFd, to: impl AsFd, scratch: &mut [u8]) -> Result<bool, Errno> {
        let flushed = self.flush(&to)?;
        let moved = self.wants_input() && self.refill(&from, &to, scratch)?;
        let ended = self.end == End::Read && self.waiting.is_empty();
        if ended {
            rustix::net::shutdown(&to, Shutdown::Write)?;
            self.end = End::Passed;
        }
        Ok(flushed || moved || ended)
    }

    /// Whether bytes would be read if there were any.
    pub(crate) fn wants_input(&self) -> bool {
        self.waiting.is_empty() && self.end == End::Open
    }

    /// Whether bytes wait to be written.
    pub(crate) fn wants_output(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether its end has come and been passed on.
    pub(crate) fn is_done(&self) -> bool {
        self.end == End::Passed
    }

    fn flush(&mut self, to: impl AsFd) -> Result<bool, Errno> {
        if self.waiting.is_empty() {
            return Ok(false);
        }
        let sent = send(to, &self.waiting[self.sent..])?;
        self.sent += sent;
        if self.sent == self.waiting.len() {
            *self = Self { end: self.end, ..Self::default() };
        }
        Ok(sent > 0)
    }

    fn refill(&mut self, from: impl AsFd, to: impl AsFd, scratch: &mut [u8]) -> Result<bool, Errno> {
        match recv(from, scratch)? {
            None => return Ok(false),
            Some(0) => self.end = End::Read,
            Some(len) => {
                let sent = send(to, &scratch[..len])?;
                self.waiting.extend_from_slice(&scratch[sent..len]);
            }
        }
        Ok(true)
    }
}

/// Reads what there is. `None`: nothing now.
fn recv(socket: impl AsFd, buffer: &mut [u8]) -> Result<Option<usize>, Errno> {
    match rustix::net::recv(socket, buffer, RecvFlags::empty()) {
        Ok((len, _)) => Ok(Some(len)),
        Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Writes what fits. Never raises SIGPIPE.
fn send(socket: impl AsFd, bytes: &[u8]) -> Result<usize, Errno> {
    match rustix::net::send(socket, bytes, SendFlags::NOSIGNAL) {
        Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(0),
        result => result,
    }
}
