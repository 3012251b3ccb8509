//! Processes that we started, and those that they left to us: bench runs as the first process of its namespace, or in a
//! test as a subreaper, so a process whose parent has ended becomes our child.

use std::fs;
use std::process::{Child, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::time::ClockId;
use nix::unistd::Pid;

use crate::process::Result;

/// Processor time, user and system, of all children that were waited for, and of theirs.
///
/// The kernel takes the sum from the scheduler's clock (`cputime_adjust()`, kernel/sched/cputime.c): it is no count of
/// ticks, though the division in two may be one.
pub(super) fn cpu_of_reaped() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let us = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(u64::try_from(us)?))
}

/// Processor time of a process that lives, of all its threads, the ended ones included: clock_getcpuclockid(3). Its
/// children are not in it.
pub(super) fn cpu_of(pid: u32) -> Result<Duration> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid.try_into()?))?;
    Ok(clock.now()?.into())
}

/// Waits for one child, and kills it when it has not ended after [`PATIENCE`].
pub(super) fn wait_or_kill(child: &mut Child) -> Result<ExitStatus> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Err(format!("had not ended after {} s, and was killed", PATIENCE.as_secs()).into());
        }
        sleep(STEP);
    }
}

/// Waits until we have no children, adopted ones included.
pub(super) fn reap_all() -> Result {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) if Instant::now() >= deadline => {
                return Err("a process that was left behind does not end".into());
            }
            Ok(WaitStatus::StillAlive) => sleep(STEP),
            Ok(_) => {}
            Err(Errno::ECHILD) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The children of a process that has one thread.
pub(super) fn children(pid: u32) -> Result<Vec<u32>> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(text.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?)
}

/// The name that a process goes by.
pub(super) fn name(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
}

/// The most memory that a process ever had resident, in KiB: `VmHWM`, proc_pid_status(5). Pages of a packet ring count.
pub(super) fn peak_resident_kib(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let value = line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("a status without VmHWM")?;
    Ok(value.parse()?)
}

/// As long as anybody here may take to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// How soon an end is seen.
const STEP: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn our_own_figures_are_there() {
        let pid = std::process::id();
        assert!(peak_resident_kib(pid).unwrap() > 100);
        assert!(!name(pid).is_empty());
        assert!(peak_resident_kib(0).is_err());
        let before = cpu_of(pid).unwrap();
        while cpu_of(pid).unwrap() == before {}
    }

    #[test]
    fn a_child_is_found_waited_for_and_charged() {
        let before = cpu_of_reaped().unwrap();
        // A shell that waits for its own child, and has spun before that.
        let script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 0.3; :";
        let mut child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        let grandchild = loop {
            if let [pid] = children(child.id()).unwrap()[..] {
                break pid;
            }
            assert!(Instant::now() < deadline);
        };
        assert!(["sh", "sleep"].contains(&name(grandchild).as_str()));
        assert!(wait_or_kill(&mut child).unwrap().success());
        assert!(cpu_of_reaped().unwrap() > before + Duration::from_millis(1));
    }
}
