//! One direction of a connection.
//!
//! # Theory of operation
//! Bytes go from the one socket's receive queue to the other's send queue by way of a pipe, without being copied. Nothing is
//! read while bytes wait in the pipe, so a slow reader slows the writer down by the two kernels' own windows, and no more
//! waits here than a pipe holds. The pipe is borrowed while bytes wait and given back when none do.
//!
//! splice(2) stops before an urgent byte and never goes past it, not even to the end of file. So that byte is read by itself and
//! sent on as an urgent one.
//!
//! # Kernel interface
//! `splice(2)` with `SPLICE_F_MOVE | SPLICE_F_NONBLOCK`, `shutdown(2)`, `SIOCATMARK`, `send(2)` with `MSG_OOB`. The sockets have `SO_OOBINLINE`.
//!
//! # References
//! splice(2); `tcp_splice_read()` and `tcp_read_sock()` in net/ipv4/tcp.c, `splice_to_socket()` in fs/splice.c; RFC 9293 section 3.6;
//! RFC 6093.

use std::os::fd::AsFd;

use nsntrace_sys::is_at_mark;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use rustix::pipe::{SpliceFlags, splice};

use super::pipes::{CAPACITY, Pipe, Pipes};

/// One direction of a connection: what is on its way, and how far its end has come.
#[derive(Debug, Default)]
pub(crate) struct Direction {
    pipe: Option<Pipe>,
    /// Bytes in the pipe.
    waiting: usize,
    /// The next byte to read is urgent, and the reader has no room for it.
    holds_urgent: bool,
    end: End,
    is_cut: bool,
    has_moved: bool,
}

/// How far the end of a direction has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum End {
    /// More may come.
    #[default]
    Open,
    /// The writer has said that no more comes.
    Read,
    /// And the reader was told.
    Passed,
}

/// Why a direction does not go on for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// Nothing is left to read, or the reader's window is full, or all is over: the kernel will say when that changes.
    Kernel,
    /// Others should have their turn. The kernel will not say anything.
    Turn,
    /// There is no pipe.
    Shortage,
}

/// Which of the two sockets is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The one that is read. All that it had was read before.
    Writer,
    /// The one that is written to.
    Reader,
}

impl Direction {
    /// Moves what can be moved without waiting, up to a bound.
    pub(crate) fn turn(
        &mut self,
        from: impl AsFd,
        to: impl AsFd,
        pipes: &mut Pipes,
    ) -> Result<Pause, Broken> {
        for _ in 0..ROUNDS {
            if !self.flush(&to, pipes)? {
                return Ok(Pause::Kernel);
            }
            match self.end {
                End::Open => {}
                End::Read => return self.pass_end(to),
                End::Passed => return Ok(Pause::Kernel),
            }
            if let Some(pause) = self.fill(&from, &to, pipes)? {
                return Ok(pause);
            }
        }
        Ok(Pause::Turn)
    }

    /// Whether there are bytes that could not be written yet.
    pub(crate) fn has_waiting(&self) -> bool {
        self.waiting > 0 || self.holds_urgent
    }

    /// Whether its end has been passed on.
    pub(crate) fn has_ended(&self) -> bool {
        self.end == End::Passed
    }

    /// Whether anything was read since this was asked before.
    pub(crate) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.has_moved)
    }

    /// The writer is gone. What it had is moved, but the reader is not told of an orderly end.
    pub(crate) fn cut(&mut self) {
        self.is_cut = true;
    }

    /// Writes what waits. False if some still does.
    fn flush(&mut self, to: impl AsFd, pipes: &mut Pipes) -> Result<bool, Broken> {
        while let Some(pipe) = &self.pipe
            && self.waiting > 0
        {
            match move_bytes(&pipe.reader, &to, self.waiting) {
                Ok(Some(moved)) => self.waiting -= moved.min(self.waiting),
                Ok(None) => return Ok(false),
                Err(_) => return Err(Broken::Reader),
            }
        }
        if let Some(pipe) = self.pipe.take() {
            pipes.give_back(pipe);
        }
        Ok(true)
    }

    /// Reads into a pipe. Returns why it did not.
    fn fill(&mut self, from: impl AsFd, to: impl AsFd, pipes: &mut Pipes) -> Result<Option<Pause>, Broken> {
        let Some(pipe) = pipes.take() else { return Ok(Some(Pause::Shortage)) };
        let read = move_bytes(&from, &pipe.writer, CAPACITY);
        if let Ok(Some(len @ 1..)) = read {
            self.waiting = len;
            self.has_moved = true;
            self.pipe = Some(pipe);
            return Ok(None);
        }
        pipes.give_back(pipe);
        let urgent = read.ok().and_then(|_nothing| urgent_byte(&from));
        match (read, urgent) {
            (_, Some(byte)) => self.pass_urgent(byte, from, to),
            (Ok(Some(_)), None) => {
                self.end = End::Read;
                Ok(None)
            }
            (Ok(None), None) => Ok(Some(Pause::Kernel)),
            (Err(_), None) => Err(Broken::Writer),
        }
    }

    /// Writes the byte that is to be read next, and then reads it. Returns why it did not.
    fn pass_urgent(&mut self, byte: u8, from: impl AsFd, to: impl AsFd) -> Result<Option<Pause>, Broken> {
        let sent = rustix::net::send(to, &[byte], SendFlags::OOB | SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        self.holds_urgent = matches!(sent, Err(Errno::AGAIN | Errno::INTR));
        match sent {
            Ok(_) => {
                self.has_moved = true;
                rustix::net::recv(from, &mut [0], RecvFlags::DONTWAIT).map_err(|_gone| Broken::Writer)?;
                Ok(None)
            }
            Err(_) if self.holds_urgent => Ok(Some(Pause::Kernel)),
            Err(_) => Err(Broken::Reader),
        }
    }

    fn pass_end(&mut self, to: impl AsFd) -> Result<Pause, Broken> {
        self.end = End::Passed;
        if !self.is_cut {
            rustix::net::shutdown(to, Shutdown::Write).map_err(|_gone| Broken::Reader)?;
        }
        Ok(Pause::Kernel)
    }
}

/// The byte that is to be read next, if it is an urgent one.
fn urgent_byte(from: impl AsFd) -> Option<u8> {
    if !is_at_mark(from.as_fd()).ok()? {
        return None;
    }
    let mut byte = [0];
    let (len, _) = rustix::net::recv(from, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT).ok()?;
    (len == 1).then_some(byte[0])
}

/// splice(2) that never waits. `None`: nothing can be moved now.
fn move_bytes(from: impl AsFd, to: impl AsFd, len: usize) -> Result<Option<usize>, Errno> {
    match splice(from, None, to, None, len, SpliceFlags::MOVE | SpliceFlags::NONBLOCK) {
        Ok(moved) => Ok(Some(moved)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Reads at once, each of at most a pipe's capacity, so that others get their turn.
const ROUNDS: usize = 16;
