//! Whether a firewall drops what the program begins, though it let pass what we looked with.
//!
//! # Theory of operation
//! The table counts such packets on both sides of everybody's forward rules. What has entered by one look and has not left by the next is lost: somebody
//! drops it, in whatever tool's language. When the program has ended and nothing enters any more, one look is enough.

use std::mem;
use std::thread;
use std::time::{Duration, Instant};

use nsntrace_nat::{Begun, Nat as Table};

use crate::failure::Failure;

/// Looks again and again, until there is something to tell.
pub(crate) struct Vigil {
    due: Instant,
    /// How many had entered when we looked last.
    entered: u64,
    /// How many looks in a row have ended without having seen anything.
    blind: u32,
}

impl Vigil {
    pub(super) fn begin() -> Self {
        Self { due: Instant::now() + PACE, entered: 0, blind: 0 }
    }

    /// When to look next. Nobody tells when a counter changes.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// Fails, and says so, when something was lost of what had entered by the look before, or, at the last look, of all that has entered; or when none of
    /// the latest looks has seen anything. Waits for a moment before that: somebody else's queue may still have what has just entered.
    pub(crate) fn look(&mut self, table: &mut Table, is_last: bool) -> Result<(), Failure> {
        let earlier = if is_last { u64::MAX } else { self.entered };
        let until = Instant::now() + GRACE;
        loop {
            let lost = self.count(table, earlier)?;
            if lost == Some(0) {
                return Ok(());
            }
            if Instant::now() >= until {
                return lost.map_or_else(|| self.see_nothing(), |lost| Err(drops(lost)));
            }
            thread::sleep(STEP);
        }
    }

    /// Goes on, but not for ever: then the user is to know.
    fn see_nothing(&mut self) -> Result<(), Failure> {
        self.blind += 1;
        if self.blind < MAX_BLIND {
            return Ok(());
        }
        Err(Failure::new(
            "cannot tell any more whether this host's firewall drops the program's packets: its rules change all the time",
        ))
    }

    /// How many of those that had entered `earlier` are lost; `None` when others change their rules so often that it cannot be read.
    fn count(&mut self, table: &mut Table, earlier: u64) -> Result<Option<u64>, Failure> {
        let begun = table.begun();
        self.due = Instant::now() + PACE;
        let Begun { entered, left } = match begun {
            Err(error) if error.is_restless() => return Ok(None),
            begun => begun?,
        };
        self.blind = 0;
        // With less than there was, somebody has set all counters of this host to zero.
        let is_reset = entered < mem::replace(&mut self.entered, entered);
        Ok(Some(if is_reset { 0 } else { earlier.min(entered).saturating_sub(left) }))
    }
}

fn drops(lost: u64) -> Failure {
    Failure::new(format!(
        "this host's firewall drops some of the program's packets: {lost} so far; --net proxy goes around that"
    ))
}

/// Many times what a packet needs from one hook to the next, even by a queue of somebody else's.
const PACE: Duration = Duration::from_secs(2);
/// How long a look waits for what has not left yet, and how often it looks.
const GRACE: Duration = Duration::from_millis(250);
const STEP: Duration = Duration::from_millis(10);
/// Looks in a row: whoever reloads rules is done in less.
const MAX_BLIND: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sees_nothing_time_and_again_says_so() {
        let mut vigil = Vigil::begin();
        for _ in 1..MAX_BLIND {
            assert!(vigil.see_nothing().is_ok());
        }
        let told = vigil.see_nothing().unwrap_err().to_string();
        assert!(told.ends_with("its rules change all the time"), "{told}");
    }
}
