//! The clock that all processes of the machine share.

use nix::time::{ClockId, clock_gettime};

use crate::process::Result;

/// `CLOCK_MONOTONIC` of clock_gettime(2), in ns.
///
/// # Errors
/// The kernel has no such clock.
pub(super) fn now_ns() -> Result<u64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    let (s, ns) = (u64::try_from(now.tv_sec())?, u64::try_from(now.tv_nsec())?);
    Ok(s * 1_000_000_000 + ns)
}
