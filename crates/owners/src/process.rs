//! What is said of a process.
//!
//! # Kernel interface
//! `/proc/PID/stat`, `exe`, `cmdline`. `exe` is for whoever may trace the process.
//!
//! # References
//! proc_pid_stat(5).

use std::fs;
use std::time::Duration;

use nsntrace_sys::Credentials;
use rustix::time::{ClockId, clock_gettime};

/// A process, as it was when it made a socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Its number, as worker's pid namespace has it.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// Its effective user.
    pub uid: u32,
    /// When it began, in nanoseconds since the epoch, to 10 ms.
    pub started_ns: u64,
    /// What the kernel calls it: at most 15 bytes.
    pub name: String,
    /// The file that it executes; empty if that is not known.
    pub path: String,
    /// Its arguments, separated by NUL bytes; empty if nobody asked.
    pub command_line: String,
}

/// Reads processes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader {
    /// When the machine began, in nanoseconds since the epoch.
    boot_ns: u64,
    wants_command_line: bool,
}

impl Reader {
    pub(crate) fn new(wants_command_line: bool) -> Self {
        let now = |clock| {
            let time = clock_gettime(clock);
            Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
        };
        let boot = now(ClockId::Realtime).saturating_sub(now(ClockId::Boottime));
        Self { boot_ns: u64::try_from(boot.as_nanos()).unwrap_or(0), wants_command_line }
    }

    /// A process that lives. None if it is gone.
    pub(crate) fn read(&self, credentials: &Credentials) -> Option<Process> {
        let Credentials { pid, parent, uid, .. } = *credentials;
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let (name, ticks) = parse_stat(&String::from_utf8_lossy(&stat))?;
        let path = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let command_line = if self.wants_command_line {
            let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            text[..text.floor_char_boundary(MAX_COMMAND_LINE)].trim_end_matches('\0').to_owned()
        } else {
            String::new()
        };
        let started_ns = self.boot_ns + ticks * NS_PER_TICK;
        let path = path.to_string_lossy().into_owned();
        Some(Process { pid, parent, uid, started_ns, name, path, command_line })
    }
}

/// Name and start time. The name stands in parentheses, and may hold some.
fn parse_stat(stat: &str) -> Option<(String, u64)> {
    let (head, tail) = stat.rsplit_once(')')?;
    let (_pid, name) = head.split_once('(')?;
    // Field 22; the first behind the name is 3.
    Some((name.to_owned(), tail.split_ascii_whitespace().nth(19)?.parse().ok()?))
}

/// Of a command line, bytes: a word to the wise.
const MAX_COMMAND_LINE: usize = 4096;
/// `USER_HZ` is 100 on every machine that we run on.
const NS_PER_TICK: u64 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_anything() {
        let stat = "7 (a) b (c) R 1 7 7 0 -1 4194304 95 0 0 0 0 0 0 0 20 0 1 0 4711 2777088 256";
        assert_eq!(parse_stat(stat), Some(("a) b (c".to_owned(), 4711)));
        assert_eq!(parse_stat("7 (a"), None);
        assert_eq!(parse_stat("7 (a) R 1"), None);
    }

    #[test]
    fn we_are_who_we_are() {
        let pid = std::process::id();
        let credentials = Credentials { pid, parent: 1, uid: 2, file_user: (2, 2), cgroup: None };
        let process = Reader::new(true).read(&credentials).unwrap();
        assert_eq!((process.pid, process.parent, process.uid), (pid, 1, 2));
        let exe = std::env::current_exe().unwrap();
        assert_eq!(process.path, exe.to_string_lossy());
        assert!(exe.file_name().unwrap().to_string_lossy().starts_with(&process.name));
        assert_eq!(process.command_line.split('\0').next(), std::env::args().next().as_deref());
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let age = now - u128::from(process.started_ns);
        assert!(age < 600_000_000_000, "{age} ns");
    }
}
