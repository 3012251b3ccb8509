//! How much memory a process has.

use std::fs;

use crate::bench::children;
use crate::process::Result;

/// Of one process, in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "units stand last in names")]
pub(super) struct Memory {
    /// What it shares with others counts in parts: `Pss` of /proc/PID/smaps_rollup, proc_pid_smaps(5).
    pub(super) pss_kib: u64,
    /// What it shares with nobody: `Private_Clean` and `Private_Dirty`.
    pub(super) private_kib: u64,
    /// The most it ever had resident: `VmHWM`.
    pub(super) peak_kib: u64,
}

impl Memory {
    /// # Errors
    /// There is no such process, or it is somebody else's.
    pub(super) fn of(pid: u32) -> Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let field = |name| kib(&text, name).ok_or_else(|| format!("smaps_rollup has no {name}"));
        Ok(Self {
            pss_kib: field("Pss")?,
            private_kib: field("Private_Clean")? + field("Private_Dirty")?,
            peak_kib: children::peak_resident_kib(pid)?,
        })
    }
}

/// What the machine has left for programs: `MemAvailable` of /proc/meminfo, in KiB.
///
/// # Errors
/// The kernel does not say.
pub(super) fn available_kib() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    Ok(kib(&text, "MemAvailable").ok_or("/proc/meminfo has no MemAvailable")?)
}

/// The value of a line like `Pss:    1234 kB`.
fn kib(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_by_its_whole_name() {
        let text =
            "55a0-7fff ---p 00000000 00:00 0 [rollup]\nPss_Anon:    7 kB\nPss:    1234 kB\nLocked: 0 kB\n";
        assert_eq!(kib(text, "Pss"), Some(1234));
        assert_eq!(kib(text, "Rss"), None);
    }

    #[test]
    fn we_have_memory() {
        let ours = Memory::of(std::process::id()).unwrap();
        assert!(ours.private_kib > 0 && ours.pss_kib >= ours.private_kib, "{ours:?}");
        assert!(ours.peak_kib >= ours.private_kib, "{ours:?}");
        assert!(available_kib().unwrap() > 0);
    }
}
