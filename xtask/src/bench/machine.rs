//! What figures depend on and a table does not show: kernel, processor, versions; and on which processor things run.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::process::Command;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::process::Result;

/// One line for each: kernel, processor, file system of `folder`, load of the last minute.
pub(super) fn describe(folder: &Path) -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_else(|_| "unknown".to_owned());
    let kernel = kernel.trim_end();
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<_> = cpus.lines().filter_map(|line| line.strip_prefix("model name")).collect();
    let model = models.first().map_or("unknown", |model| model.trim_start_matches([':', ' ', '\t']));
    let count = models.len();
    let disk = first_line(Command::new("stat").args(["-f", "-c", "%T"]).arg(folder));
    format!("kernel: {kernel}\nprocessors: {count} x {model}\nfiles on: {disk}\n{}", load())
}

/// How busy the machine was in the last minute: to be told before and after.
pub(super) fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("load average: {}\n", load.split_whitespace().next().unwrap_or("unknown"))
}

/// What was built: the commit, and whether files were changed since.
pub(super) fn commit(root: &Path) -> String {
    let describe = ["describe", "--always", "--dirty", "--exclude=*"];
    format!("commit: {}", first_line(Command::new("git").current_dir(root).args(describe)))
}

/// The first line that a command says, on whichever of its outputs: not all agree where a version belongs.
pub(super) fn first_line(command: &mut Command) -> String {
    let Ok(output) = command.output() else { return "unknown".to_owned() };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or("unknown").to_owned()
}

/// Sees to it that the next file of `bytes` finds memory that the machine has. A hypervisor that takes free memory back
/// (free page reporting, mm/page_reporting.c) lets whoever gets it first pay for it, up to five times what a write
/// costs else: 0.56 against 3 GB/s have been seen. So this pays, by a file that is deleted before it is on disk.
pub(super) fn warm_memory(folder: &Path, bytes: u64) -> Result {
    let path = folder.join("warm");
    let copied = File::create(&path).and_then(|mut file| io::copy(&mut io::repeat(1).take(bytes), &mut file));
    let removed = fs::remove_file(&path);
    copied?;
    Ok(removed?)
}

/// Two processors: one for whoever sends, one for whoever records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Processors {
    all: CpuSet,
    pub(super) sender: usize,
    pub(super) recorder: usize,
}

impl Processors {
    /// The first two that we may run on.
    ///
    /// # Errors
    /// There is but one.
    pub(super) fn choose() -> Result<Self> {
        let all = sched_getaffinity(SELF)?;
        let mut allowed = (0..CpuSet::count()).filter(|&cpu| all.is_set(cpu).unwrap_or(false));
        match (allowed.next(), allowed.next()) {
            (Some(sender), Some(recorder)) => Ok(Self { all, sender, recorder }),
            _ => Err("two processors are needed, one for the load and one for its recorder".into()),
        }
    }

    /// Does something on one processor. What is spawned meanwhile stays there.
    ///
    /// # Errors
    /// Those of `work`, or the kernel forbids the processor.
    pub(super) fn on<T>(&self, cpu: usize, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut one = CpuSet::new();
        one.set(cpu)?;
        sched_setaffinity(SELF, &one)?;
        let result = work();
        sched_setaffinity(SELF, &self.all)?;
        result
    }
}

/// The calling thread, to sched_setaffinity(2).
const SELF: Pid = Pid::from_raw(0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spawned_stays_on_the_processor() {
        let processors = Processors::choose().unwrap();
        let allowed = || first_line(Command::new("grep").args(["Cpus_allowed_list", "/proc/self/status"]));
        let before = allowed();
        let pinned = processors.on(processors.recorder, || Ok(allowed())).unwrap();
        assert_eq!(pinned, format!("Cpus_allowed_list:\t{}", processors.recorder));
        assert_eq!(allowed(), before);
        assert!(processors.on(processors.sender, || Err::<(), _>("no".into())).is_err());
        assert_eq!(allowed(), before);
    }

    #[test]
    fn a_machine_has_a_kernel_and_a_processor() {
        let text = describe(Path::new("/"));
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(!text.contains("unknown"), "{text}");
        assert_eq!(first_line(Command::new("sh").args(["-c", "echo one >&2; echo two >&2"])), "one");
    }
}
