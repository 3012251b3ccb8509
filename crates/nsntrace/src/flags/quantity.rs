//! Counts, sizes and times as people type them.

use std::time::Duration;

use nsntrace_capture::{MAX_BUFFER, MIN_BUFFER};
use nsntrace_pcapwriter::MAX_SNAPLEN;

/// How many bytes of a packet; 0 and more than there can be mean all, as for tcpdump.
pub(super) fn snaplen(text: &str) -> Result<u32, String> {
    let bytes: u64 = text.parse().map_err(|_bad| format!("'{text}' is not a number of bytes"))?;
    let bytes = u32::try_from(bytes).ok().filter(|bytes| (1..=MAX_SNAPLEN).contains(bytes));
    Ok(bytes.unwrap_or(MAX_SNAPLEN))
}

/// A number from 1 on.
pub(super) fn count(text: &str) -> Result<u64, String> {
    let count = text.parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| format!("'{text}' is not a number from 1 on"))
}

/// A number of files that can be kept.
pub(super) fn file_count(text: &str) -> Result<usize, String> {
    usize::try_from(count(text)?).map_err(|_wide| format!("'{text}' files are too many"))
}

/// The size of a ring, in bytes.
pub(super) fn buffer(text: &str) -> Result<u64, String> {
    let bytes = size(text, 1)?;
    if (MIN_BUFFER..=MAX_BUFFER).contains(&bytes) {
        Ok(bytes)
    } else {
        let (least, most) = (MIN_BUFFER >> 20, MAX_BUFFER >> 30);
        Err(format!("a buffer of {bytes} bytes is not between {least}M and {most}G"))
    }
}

/// The size of a file, in bytes: a bare number is millions, as for tcpdump.
pub(super) fn file_size(text: &str) -> Result<u64, String> {
    size(text, 1_000_000)
}

/// A time that is not nothing.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    Some(time_or_none(text)?).filter(|time| !time.is_zero()).ok_or_else(|| no_time(text))
}

/// Seconds, or a number with a unit as sleep(1) has them.
pub(super) fn time_or_none(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_unit(text);
    let unit = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(no_time(text)),
    };
    let time = seconds(number).and_then(|time| time.checked_mul(unit)).filter(|time| *time <= LONGEST);
    time.ok_or_else(|| no_time(text))
}

/// `1`, `1.5`, `.5`: digits behind the ninth are less than a nanosecond.
fn seconds(number: &str) -> Option<Duration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = is_digits(whole) && is_digits(fraction) && whole.len() + fraction.len() > 0;
    let (whole, nanoseconds) = (format!("0{whole}").parse().ok()?, format!("{fraction:0<9.9}").parse().ok()?);
    is_plain.then(|| Duration::new(whole, nanoseconds))
}

/// A number of `bare`, or with the unit K, M or G, which are powers of 1024.
fn size(text: &str, bare: u64) -> Result<u64, String> {
    let refused = || format!("'{text}' is not a size, as 512K, 64M or 1G");
    let (number, unit) = split_unit(text);
    let unit = match unit {
        "" => bare,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        _ => return Err(refused()),
    };
    let number: u64 = number.parse().map_err(|_bad| refused())?;
    number.checked_mul(unit).filter(|bytes| *bytes > 0).ok_or_else(refused)
}

fn split_unit(text: &str) -> (&str, &str) {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    text.split_at(unit_at)
}

fn no_time(text: &str) -> String {
    format!("'{text}' is not a time, as 90, 1.5s, 10m, 2h or 1d")
}

/// A hundred years, which nobody waits for, and no clock's arithmetic minds.
const LONGEST: Duration = Duration::from_hours(100 * 366 * 24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, ms) in [
            ("90", 90_000),
            ("1.5s", 1500),
            ("10m", 600_000),
            ("2h", 7_200_000),
            ("0", 0),
            (".05m", 3000),
            ("1.", 1000),
        ] {
            assert_eq!(time_or_none(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
        for bad in [
            "",
            "s",
            "-1",
            "1x",
            "1 m",
            "inf",
            "nan",
            "1e9",
            "1e",
            "99999999d",
            "1.2.3",
            ".",
            "+1",
            "99999999999999999999",
        ] {
            assert!(time_or_none(bad).is_err(), "{bad}");
        }
        assert!(time("0").is_err() && time("1").is_ok());
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("3", 3_000_000), ("512K", 512 << 10), ("64m", 64 << 20), ("1G", 1 << 30)] {
            assert_eq!(file_size(text).unwrap(), bytes, "{text}");
        }
        for bad in ["", "K", "-1", "0", "1T", "1.5M", "99999999999999999999", "99999999999999999G"] {
            assert!(file_size(bad).is_err(), "{bad}");
        }
        assert!(buffer("1M").is_ok() && buffer("1023K").is_err() && buffer("9999999G").is_err());
    }

    #[test]
    fn a_snaplen_of_0_or_too_much_is_all() {
        for (text, bytes) in [("0", 262_144), ("1", 1), ("96", 96), ("262145", 262_144)] {
            assert_eq!(snaplen(text).unwrap(), bytes);
        }
        assert!(snaplen("-1").is_err() && snaplen("64K").is_err());
    }
}
