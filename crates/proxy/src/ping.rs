//! Pings.

use std::time::Instant;

use nsntrace_reactor::Key;

use crate::engine::Context;
use crate::wire::Packet;

/// All pings of the program.
#[derive(Debug)]
pub(crate) struct Pings;

impl Pings {
    pub(crate) fn new() -> Self {
        Self
    }

    /// Takes an echo request of the program, or a part of one.
    pub(crate) fn ask(&mut self, _packet: &Packet<'_>, _context: &mut Context) {}

    /// Passes on what a ping socket received.
    pub(crate) fn answer(&mut self, _key: Key, _context: &mut Context) {}

    /// Forgets what is too old. Called about once a second while there is something.
    pub(crate) fn tick(&mut self, _now: Instant, _context: &mut Context) {}

    /// Whether there is something that can become too old.
    pub(crate) fn is_waiting(&self) -> bool {
        false
    }
}
