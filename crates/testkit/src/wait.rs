//! Waiting for a fact with a deadline: a test may look often, it may not sleep and hope.

use std::thread;
use std::time::{Duration, Instant};

/// Polls until `probe` has a value.
///
/// # Panics
/// With `what` in the message, when there is none after `limit`.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    match within(limit, &mut probe) {
        Some(value) => value,
        None => panic!("waited {limit:?} in vain until {what}"),
    }
}

/// Polls until `probe` has a value, and gives up after `limit`: the last look begins no sooner, however long one takes.
pub fn within<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        let is_last = Instant::now() >= deadline;
        if let Some(value) = probe() {
            return Some(value);
        }
        if is_last {
            return None;
        }
        thread::sleep(PERIOD);
    }
}

/// Short beside what is waited for, long beside what a look costs.
const PERIOD: Duration = Duration::from_millis(2);
