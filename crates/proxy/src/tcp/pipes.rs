//! Pipes that bytes are moved through without being copied.
//!
//! # Kernel interface
//! `pipe2(2)`, `fcntl(F_SETPIPE_SZ)`.
//!
//! # References
//! splice(2); pipe(7), "Pipe capacity".

use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

/// Where bytes are between two sockets.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) reader: OwnedFd,
    pub(crate) writer: OwnedFd,
}

/// Empty pipes for whoever has bytes to move. While none wait, one is enough for all.
#[derive(Debug)]
pub(crate) struct Pipes {
    idle: Vec<Pipe>,
}

impl Pipes {
    /// One is there from the beginning, so that connections live on when no descriptors are left.
    pub(crate) fn new() -> Self {
        Self { idle: open().into_iter().collect() }
    }

    /// An empty pipe. `None`: no descriptors are left.
    pub(crate) fn take(&mut self) -> Option<Pipe> {
        self.idle.pop().or_else(open)
    }

    /// Takes a pipe back that is empty again.
    pub(crate) fn give_back(&mut self, pipe: Pipe) {
        if self.idle.len() < KEPT {
            self.idle.push(pipe);
        }
    }

    /// Whether there is one that need not be opened.
    pub(crate) fn has_idle(&self) -> bool {
        !self.idle.is_empty()
    }
}

fn open() -> Option<Pipe> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
    // A user may have 64 MiB of pipes (fs.pipe-user-pages-soft); whoever has more gets smaller ones, which work as well.
    let _ = fcntl_setpipe_size(&writer, CAPACITY);
    Some(Pipe { reader, writer })
}

/// Pipes that are kept open while nobody needs them.
const KEPT: usize = 16;
/// In bytes: the most that a user's pipe may hold (fs.pipe-max-size). A quarter of it moves a tenth less.
pub(crate) const CAPACITY: usize = 1 << 20;
