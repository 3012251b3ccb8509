//! What figures depend on and a table does not show: kernel, processor, versions; and on which processor things run.

use std::fs::{self, File};
use std::io::Write as _;
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

/// Memory that is given back to the kernel bit by bit, to whoever needs some meanwhile.
///
/// A hypervisor may take back memory that is free for two seconds (free page reporting, mm/page_reporting.c), and lets
/// whoever gets it next pay for it: a write to a file then takes up to five times as long, by chance. What was in use
/// until a moment ago costs nobody anything.
#[derive(Debug)]
pub(super) struct Reserve {
    file: File,
    bytes: u64,
}

impl Reserve {
    /// Takes `bytes` of memory. `folder` is on a tmpfs, where nothing goes to a disk.
    ///
    /// # Errors
    /// There is not as much.
    pub(super) fn new(folder: &Path, bytes: u64) -> Result<Self> {
        let path = folder.join("reserve");
        let mut file = File::create_new(&path)?;
        // It lives as long as it is open.
        fs::remove_file(&path)?;
        let zeros = vec![0; 1 << 20];
        for offset in (0..bytes).step_by(zeros.len()) {
            let len = usize::try_from(bytes - offset).unwrap_or(usize::MAX).min(zeros.len());
            file.write_all(&zeros[..len])?;
        }
        Ok(Self { file, bytes })
    }

    /// Keeps what whoever has done `done` of the work can still need; a part from 0 to 1.
    ///
    /// # Errors
    /// Those of ftruncate(2).
    pub(super) fn keep_for_rest(&self, done: f64) -> Result {
        #[expect(clippy::cast_precision_loss, reason = "a size, which need not be exact")]
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is below `bytes`")]
        let rest = (self.bytes as f64 * (1.0 - done.clamp(0.0, 1.0))) as u64;
        Ok(self.file.set_len(rest)?)
    }
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
    fn a_reserve_shrinks_as_work_is_done() {
        let reserve = Reserve::new(&std::env::temp_dir(), 3_000_000).unwrap();
        let len = || reserve.file.metadata().unwrap().len();
        assert_eq!(len(), 3_000_000);
        for (done, rest) in [(0.5, 1_500_000), (0.75, 750_000), (1.5, 0)] {
            reserve.keep_for_rest(done).unwrap();
            assert_eq!(len(), rest);
        }
    }

    #[test]
    fn a_machine_has_a_kernel_and_a_processor() {
        let text = describe(Path::new("/"));
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(!text.contains("unknown"), "{text}");
        assert_eq!(first_line(Command::new("sh").args(["-c", "echo one >&2; echo two >&2"])), "one");
    }
}
