//! Runs in rounds: everything once per round, each round in an order of its own, so that a slow minute is a slow one
//! for all.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use super::sample::{Sample, Shuffle};
use crate::process::Result;

/// The times of one contender, or why it was not measured.
pub(super) type Outcome = std::result::Result<Sample, String>;

/// Adds `runs` times to each outcome that is no reason against it. The outcomes are in the order of the contenders.
pub(super) fn measure<T>(
    contenders: &[T],
    outcomes: &mut [Outcome],
    runs: usize,
    mut time: impl FnMut(&T) -> Result<Duration>,
) {
    each(contenders.len(), runs, |index| {
        let Ok(sample) = &mut outcomes[index] else { return };
        match time(&contenders[index]) {
            Ok(time) => sample.push(time),
            Err(error) => sample.push_failure(error.to_string()),
        }
    });
}

/// Calls `run` with each of `0..count` in each of `runs` rounds.
pub(super) fn each(count: usize, runs: usize, mut run: impl FnMut(usize)) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut shuffle = Shuffle::new(u64::from(now.subsec_nanos()));
    for _ in 0..runs {
        shuffle.order(count).into_iter().for_each(&mut run);
    }
}

/// The time from before the start of a command until it has been waited for. What it says goes nowhere, for a pipe
/// that somebody has to read would slow it down.
///
/// # Errors
/// It does not start, or fails.
pub(super) fn time(command: &mut Command) -> Result<Duration> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status();
    let time = start.elapsed();
    let status = status?;
    if status.success() { Ok(time) } else { Err(status.to_string().into()) }
}

/// Milliseconds.
pub(super) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
