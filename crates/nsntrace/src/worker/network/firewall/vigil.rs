//! Whether a firewall drops what the program begins, though it let pass what we looked with.
//!
//! # Theory of operation
//! The table counts such packets on both sides of everybody's forward rules. What has entered by one look and has not left by the next is lost: somebody
//! drops it, in whatever tool's language.

use std::mem;
use std::time::{Duration, Instant};

use nsntrace_nat::{Begun, Nat as Table};

use crate::failure::Failure;

/// Looks again and again, until there is something to tell.
pub(crate) struct Vigil {
    due: Instant,
    /// How many had entered when we looked last.
    entered: u64,
}

impl Vigil {
    pub(super) fn begin() -> Self {
        Self { due: Instant::now() + PACE, entered: 0 }
    }

    /// When to look next. Nobody tells when a counter changes.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// Fails when something was lost since the look before the last, and says so.
    pub(crate) fn look(&mut self, table: &mut Table) -> Result<(), Failure> {
        let Begun { entered, left } = table.begun()?;
        self.due = Instant::now() + PACE;
        let earlier = mem::replace(&mut self.entered, entered);
        // With less than there was, somebody has set all counters of this host to zero.
        match earlier.checked_sub(left) {
            None | Some(0) => Ok(()),
            Some(_) if entered < earlier => Ok(()),
            Some(lost) => Err(Failure::new(format!(
                "this host's firewall drops some of the program's packets: {lost} so far; --net proxy goes around that"
            ))),
        }
    }
}

/// Many times what a packet needs from one hook to the next, even by a queue of somebody else's.
const PACE: Duration = Duration::from_secs(2);
