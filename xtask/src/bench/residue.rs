//! What a run can leave behind on its host: links, nf_tables tables, names of namespaces, processes.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::process::{self, Result};

/// What there was on the host at one moment, a line for each thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Residue(BTreeSet<String>);

impl Residue {
    /// Looks around in this thread's namespaces.
    ///
    /// # Errors
    /// /proc or nft cannot be read.
    pub(super) fn now() -> Result<Self> {
        // First, so that it is not one of the processes.
        let tables = process::output(Command::new("nft").args(["list", "tables"]))?;
        let links = fs::read_to_string("/proc/thread-self/net/dev")?;
        let names = fs::read_dir("/run/netns").into_iter().flatten().flatten();
        let names = names.map(|entry| format!("/run/netns/{}", entry.file_name().display()));
        let things = tables.lines().map(str::to_owned).chain(link_names(&links)).chain(names);
        Ok(Self(things.chain(processes()?).collect()))
    }

    /// What there is now that was not there then.
    ///
    /// # Errors
    /// As [`Residue::now`].
    pub(super) fn since(&self) -> Result<Vec<String>> {
        Ok(Self::now()?.0.difference(&self.0).cloned().collect())
    }

    /// Waits until nothing is left that was not there then. Gives how long that took.
    ///
    /// # Errors
    /// Names what is still there after `patience`.
    pub(super) fn wait(&self, patience: Duration) -> Result<Duration> {
        let began = Instant::now();
        loop {
            let left = self.since()?;
            let took = began.elapsed();
            if left.is_empty() {
                return Ok(took);
            }
            if took > patience {
                return Err(format!("still there after {} s: {}", patience.as_secs(), left.join(", ")).into());
            }
            thread::sleep(STEP);
        }
    }
}

/// Names of /proc/net/dev, which has two lines of head.
fn link_names(text: &str) -> impl Iterator<Item = String> {
    let names = text.lines().skip(2).filter_map(|line| line.split_once(':'));
    names.map(|(name, _)| format!("link {}", name.trim()))
}

fn processes() -> Result<Vec<String>> {
    let pids = fs::read_dir("/proc")?.flatten().map(|entry| entry.file_name().display().to_string());
    let numbers = pids.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    // One that is gone meanwhile has no name any more.
    let stats = numbers.filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok());
    Ok(stats.filter_map(|stat| living(&stat)).collect())
}

/// The process that a line of /proc/PID/stat is about, unless it has ended: inside, nobody takes in what has lost its
/// parent.
fn living(stat: &str) -> Option<String> {
    let (start, rest) = stat.rsplit_once(')')?;
    let (pid, name) = start.split_once(" (")?;
    (!rest.starts_with(" Z")).then(|| format!("process {pid} {name}"))
}

/// How soon it is seen that nothing is left.
const STEP: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_have_their_names() {
        let text = "Inter-| Receive\n face |bytes packets\n    lo: 1 2 3\nnst0: 4 5 6\n";
        assert_eq!(link_names(text).collect::<Vec<_>>(), ["link lo", "link nst0"]);
    }

    #[test]
    fn who_has_ended_is_no_process() {
        assert_eq!(living("7 (a) b) S 1 7"), Some("process 7 a) b".to_owned()));
        assert_eq!(living("7 (worker) Z 1 7"), None);
        assert_eq!(living(""), None);
    }

    #[test]
    fn a_process_is_seen_while_it_is_there() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let line = |pid| format!("process {pid} ");
        let is_seen = |line: &str| processes().unwrap().iter().any(|one| one.starts_with(line));
        assert!(is_seen(&line(child.id())));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_seen(&line(child.id())));
    }
}
