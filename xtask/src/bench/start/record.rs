//! What strace(1) wrote of one process or thread: which system calls, when, for how long.

use std::time::Duration;

/// One file of `strace -ff -ttt -T`.
#[derive(Debug, Default)]
pub(super) struct Record {
    calls: Vec<Call>,
    /// When it was gone.
    pub(super) end: Option<Duration>,
}

/// One system call.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// When it began, on the clock of the machine.
    pub(super) at: Duration,
    pub(super) took: Duration,
    /// Name, arguments and result.
    pub(super) text: String,
}

impl Call {
    pub(super) fn end(&self) -> Duration {
        self.at + self.took
    }

    /// The first argument, where that is a descriptor.
    pub(super) fn descriptor(&self) -> Option<u32> {
        let (_, arguments) = self.text.split_once('(')?;
        arguments.split([',', ')']).next()?.parse().ok()
    }
}

impl Record {
    /// Reads a file. Lines of signals, and calls that never returned, are left out.
    pub(super) fn parse(text: &str) -> Self {
        let mut record = Self::default();
        for (at, rest) in text.lines().filter_map(stamped) {
            if rest.starts_with("+++ ") {
                record.end = Some(at);
            } else if let Some((text, took)) = timed(rest) {
                record.calls.push(Call { at, took, text: text.to_owned() });
            }
        }
        record
    }

    /// The calls whose text has every one of `parts`, in their order.
    pub(super) fn all<'a>(&'a self, parts: &[&str]) -> impl DoubleEndedIterator<Item = &'a Call> {
        self.calls.iter().filter(move |call| parts.iter().all(|part| call.text.contains(part)))
    }

    /// The first of them.
    pub(super) fn first<'a>(&'a self, parts: &[&str]) -> Option<&'a Call> {
        self.all(parts).next()
    }
}

/// A line's time, and what follows it.
fn stamped(line: &str) -> Option<(Duration, &str)> {
    let (stamp, rest) = line.split_once(' ')?;
    Some((seconds(stamp)?, rest))
}

/// A call, and how long it took.
fn timed(text: &str) -> Option<(&str, Duration)> {
    let (call, took) = text.strip_suffix('>')?.rsplit_once(" <")?;
    Some((call, seconds(took)?))
}

/// Seconds with six digits behind the point.
fn seconds(text: &str) -> Option<Duration> {
    let (whole, micros) = text.split_once('.')?;
    let micros: u64 = (micros.len() == 6).then(|| micros.parse().ok()).flatten()?;
    Some(Duration::from_secs(whole.parse().ok()?) + Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
1795483731.857310 munmap(0x7fe9292cb000, 12288) = 0 <0.000077>
1795483731.857400 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=36} ---
1795483731.878938 close(9)              = 0 <0.024298>
1795483731.878999 sendto(11, \"ready\\0uplink\"..., 65, MSG_NOSIGNAL, NULL, 0) = 65 <0.000026>
1795483731.903380 exit(0)               = ?
1795483731.903426 +++ exited with 0 +++
";

    #[test]
    fn calls_have_a_time_and_a_length() {
        let record = Record::parse(TEXT);
        assert_eq!(record.calls.len(), 3);
        let close = record.first(&["close(9)"]).unwrap();
        assert_eq!(close.took, Duration::from_micros(24_298));
        assert_eq!(close.end(), Duration::from_micros(1_795_483_731_903_236));
        assert_eq!(close.descriptor(), Some(9));
        assert_eq!(record.first(&["sendto(", "\"ready\\0"]).unwrap().descriptor(), Some(11));
        assert_eq!(record.first(&["munmap("]).unwrap().descriptor(), None);
        assert_eq!(record.first(&["sendto(", "finished"]), None);
        assert_eq!(record.end, Some(Duration::from_micros(1_795_483_731_903_426)));
    }
}
