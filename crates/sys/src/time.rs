//! Local time, as only the C library knows it: the zone is in `TZ` or /etc/localtime.
//!
//! It is written by ourselves: strftime(3) of musl brings printf(3), and with it numbers with a fraction, ten times as much.
//!
//! # References
//! localtime_r(3); strftime(3), in the locale "C"; ISO 8601, for the number of a week.

use std::ffi::CStr;
use std::mem::MaybeUninit;

/// Replaces the conversions of strftime(3) in `template`, for a time in seconds since the epoch, in local time. What is none stays as it is.
///
/// `None` when the result is empty or longer than 4096 bytes, or the year does not fit.
pub fn format_local_time(template: &CStr, seconds: i64) -> Option<Vec<u8>> {
    let text = Local { tm: local_time(seconds)?, seconds }.format(template.to_bytes());
    (1..MAX_LEN).contains(&text.len()).then_some(text)
}

fn local_time(seconds: i64) -> Option<libc::tm> {
    #[allow(
        clippy::useless_conversion,
        reason = "the type has 32 bits on some machines, and its name is deprecated"
    )]
    let seconds = seconds.try_into().ok()?;
    let mut local = MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both pointers are to memory of the right type; localtime_r writes all of `local` unless it returns null.
    unsafe {
        (!libc::localtime_r(&raw const seconds, local.as_mut_ptr()).is_null()).then(|| local.assume_init())
    }
}

/// A time, broken down.
struct Local {
    tm: libc::tm,
    seconds: i64,
}

impl Local {
    fn format(&self, template: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        let mut rest = template.iter();
        while let Some(&byte) = rest.next() {
            let conversion = Some(rest.as_slice()).filter(|_| byte == b'%');
            if let Some((converted, len)) = conversion.and_then(|conversion| self.convert_next(conversion)) {
                text.extend(converted.bytes());
                rest = rest.as_slice()[len..].iter();
            } else {
                text.push(byte);
            }
        }
        text
    }

    /// What stands for the conversion at the beginning of `template`, and how long that is. `E` and `O` ask for a locale's own calendar and digits, which "C" has not; with `-`,
    /// numbers are not filled up.
    fn convert_next(&self, template: &[u8]) -> Option<(String, usize)> {
        match *template {
            [b'E' | b'O', letter, ..] => Some((self.convert(letter)?, 2)),
            [b'-', letter, ..] => {
                let text = self.convert(letter)?;
                let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b' ');
                let filled_up = text.bytes().take_while(|byte| is_number && b"0 ".contains(byte)).count();
                Some((text[filled_up.min(text.len().saturating_sub(1))..].into(), 2))
            }
            [letter, ..] => Some((self.convert(letter)?, 1)),
            [] => None,
        }
    }

    /// What stands for one conversion.
    fn convert(&self, letter: u8) -> Option<String> {
        let libc::tm { tm_sec, tm_min, tm_hour, tm_mday, tm_mon, tm_wday, tm_yday, .. } = self.tm;
        let year = i64::from(self.tm.tm_year) + 1900;
        let hour_of_twelve = (tm_hour + 11) % 12 + 1;
        let from_monday = (tm_wday + 6) % 7;
        Some(match letter {
            b'a' => name(&DAYS, tm_wday)[..3].into(),
            b'A' => name(&DAYS, tm_wday).into(),
            b'b' | b'h' => name(&MONTHS, tm_mon)[..3].into(),
            b'B' => name(&MONTHS, tm_mon).into(),
            b'c' => self.all(b"%a %b %e %T %Y"),
            b'C' => digits(year / 100, 2),
            b'd' => digits(tm_mday, 2),
            b'D' | b'x' => self.all(b"%m/%d/%y"),
            b'e' => padded(tm_mday),
            b'F' => self.all(b"%Y-%m-%d"),
            b'g' => digits(week(year, tm_yday, from_monday).0 % 100, 2),
            b'G' => digits(week(year, tm_yday, from_monday).0, 1),
            b'H' => digits(tm_hour, 2),
            b'I' => digits(hour_of_twelve, 2),
            b'j' => digits(tm_yday + 1, 3),
            b'k' => padded(tm_hour),
            b'l' => padded(hour_of_twelve),
            b'm' => digits(tm_mon + 1, 2),
            b'M' => digits(tm_min, 2),
            b'n' => "\n".into(),
            b'p' => if tm_hour < 12 { "AM" } else { "PM" }.into(),
            b'P' => if tm_hour < 12 { "am" } else { "pm" }.into(),
            b'r' => self.all(b"%I:%M:%S %p"),
            b'R' => self.all(b"%H:%M"),
            b's' => digits(self.seconds, 1),
            b'S' => digits(tm_sec, 2),
            b't' => "\t".into(),
            b'T' | b'X' => self.all(b"%H:%M:%S"),
            b'u' => digits(from_monday + 1, 1),
            b'U' => digits((tm_yday + 7 - tm_wday) / 7, 2),
            b'V' => digits(week(year, tm_yday, from_monday).1, 2),
            b'w' => digits(tm_wday, 1),
            b'W' => digits((tm_yday + 7 - from_monday) / 7, 2),
            b'y' => digits(year % 100, 2),
            b'Y' => digits(year, 1),
            b'z' => self.offset(),
            b'Z' => self.zone(),
            b'%' => "%".into(),
            _ => return None,
        })
    }

    /// Several.
    fn all(&self, template: &[u8]) -> String {
        String::from_utf8_lossy(&self.format(template)).into_owned()
    }

    /// East of Greenwich: `+0100`.
    fn offset(&self) -> String {
        let minutes = self.tm.tm_gmtoff / 60;
        let sign = if minutes < 0 { '-' } else { '+' };
        format!("{sign}{}", digits(minutes.abs() / 60 * 100 + minutes.abs() % 60, 4))
    }

    /// `CET`
    fn zone(&self) -> String {
        if self.tm.tm_zone.is_null() {
            return String::new();
        }
        // SAFETY: localtime_r has made it lead to a text that ends with a zero byte and stays as long as nobody changes the zone, which we never do.
        unsafe { CStr::from_ptr(self.tm.tm_zone) }.to_string_lossy().into_owned()
    }
}

/// The week of ISO 8601, which begins on a Monday and belongs to the year that has most of it, and that year.
fn week(year: i64, day_of_year: i32, from_monday: i32) -> (i64, i64) {
    let week = i64::from((day_of_year + 10 - from_monday) / 7);
    let last_day = |year: i64| (year + year / 4 - year / 100 + year / 400) % 7;
    let weeks = |year| if last_day(year) == 4 || last_day(year - 1) == 3 { 53 } else { 52 };
    match week {
        0 => (year - 1, weeks(year - 1)),
        week if week > weeks(year) => (year + 1, 1),
        week => (year, week),
    }
}

fn digits(number: impl Into<i64>, width: usize) -> String {
    format!("{:0width$}", number.into())
}

fn padded(number: i32) -> String {
    format!("{number:2}")
}

fn name(names: &[&'static str], number: i32) -> &'static str {
    usize::try_from(number).ok().and_then(|number| names.get(number)).copied().unwrap_or("???")
}

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

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
        assert_eq!(format_local_time(c"100%, %\xff, %", 0).unwrap(), b"100%, %\xff, %");
        assert_eq!(format_local_time(c"", 0), None);
    }

    /// strftime(3) says the same of some ten thousand times: all hours of a week, and days of four hundred years.
    #[test]
    fn it_is_as_the_c_library_has_it() {
        let template = c"%a %A %b %B %c %C %d %D %e %F %g %G %h %H %I %j %k %l %m %M %n %p %P %r %R %s %S %t %T %u %U %V %w %W %x %X %y %Y %z %Z %% %Ey %EY %Ec %Od %OH %-d %-e %-H %-I %-j %-l %-m %-M %-S %-y %-Y";
        let hours = (0..168).map(|hour| 1_700_000_000 + hour * 3607);
        let days = (0..12_000).map(|number| number * 12 * 86_400 + 7 * number);
        for seconds in hours.chain(days) {
            let local = local_time(seconds).unwrap();
            let mut text = [0_u8; 1024];
            // SAFETY: strftime writes at most so many bytes, reads a C string, and a `tm` that is initialised.
            let len = unsafe {
                libc::strftime(text.as_mut_ptr().cast(), text.len(), template.as_ptr(), &raw const local)
            };
            let ours = format_local_time(template, seconds).unwrap();
            assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&text[..len]), "{seconds}");
        }
    }
}
