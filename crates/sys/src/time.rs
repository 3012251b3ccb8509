//! Local time, as only the C library knows it: the zone is in `TZ` or /etc/localtime.
//!
//! # References
//! localtime_r(3), strftime(3).

use std::ffi::CStr;
use std::mem::MaybeUninit;

/// Replaces the conversions of strftime(3) in `template`, for a time in seconds since the epoch, in local time.
///
/// `None` when the result is empty or longer than 4096 bytes, or the year does not fit.
pub fn format_local_time(template: &CStr, seconds: i64) -> Option<Vec<u8>> {
    #[allow(
        clippy::useless_conversion,
        reason = "the type has 32 bits on some machines, and its name is deprecated"
    )]
    let seconds = seconds.try_into().ok()?;
    let mut local = MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both pointers are to memory of the right type; localtime_r writes all of `local` unless it returns null.
    let done = unsafe { libc::localtime_r(&raw const seconds, local.as_mut_ptr()) };
    if done.is_null() {
        return None;
    }
    let mut text = vec![0_u8; MAX_LEN];
    // SAFETY: strftime writes at most `text.len()` bytes, its terminating zero included, reads a C string, and a `tm` that is
    // initialised, since localtime_r succeeded.
    let len =
        unsafe { libc::strftime(text.as_mut_ptr().cast(), text.len(), template.as_ptr(), local.as_ptr()) };
    text.truncate(len);
    (!text.is_empty()).then_some(text)
}

/// `PATH_MAX`: more than any file's name.
const MAX_LEN: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_are_replaced_and_the_rest_stays() {
        // In no zone is this another month.
        assert_eq!(format_local_time(c"trace_%Y-%m.pcap", 1_700_000_000).unwrap(), b"trace_2023-11.pcap");
        assert_eq!(format_local_time(c"100%%", 0).unwrap(), b"100%");
        assert_eq!(format_local_time(c"", 0), None);
    }
}
