//! Connections.

use std::os::fd::OwnedFd;
use std::time::Instant;

use nsntrace_reactor::Key;
use rustix::event::epoll::EventFlags;

use crate::Config;
use crate::engine::Context;
use crate::wire::Syn;

/// All connections of the program.
#[derive(Debug)]
pub(crate) struct Connections;

impl Connections {
    pub(crate) fn new(_config: &Config) -> Self {
        Self
    }

    /// The program wants to connect, or says so once more.
    pub(crate) fn wish(&mut self, _syn: &Syn<'_>, _context: &mut Context) {}

    /// The program's connections have been made.
    pub(crate) fn accept(&mut self, _listener: &OwnedFd, _context: &mut Context) {}

    /// The program's side of a connection wants attention.
    pub(crate) fn downstream(&mut self, _key: Key, _flags: EventFlags, _context: &mut Context) {}

    /// The peer's side of a connection wants attention.
    pub(crate) fn upstream(&mut self, _key: Key, _flags: EventFlags, _context: &mut Context) {}

    /// Ends what is too old. Called about once a second while there is something.
    pub(crate) fn tick(&mut self, _now: Instant, _context: &mut Context) {}

    /// Whether there is something that can become too old.
    pub(crate) fn is_waiting(&self) -> bool {
        false
    }
}
