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
///
/// There are a few looks at least: on a machine where one takes long, what is waited for does so, too.
pub fn within<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    let mut looks = 0;
    loop {
        looks += 1;
        let is_last = looks >= LOOKS && Instant::now() >= deadline;
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
/// What is seen of a whole machine is some 60 ms of work, so that ten looks at an idle one are over within a second.
const LOOKS: u32 = 10;
