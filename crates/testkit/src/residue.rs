//! What a machine is like, to compare before and after.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::machine::Machine;

/// A picture of a machine: links, addresses, routes, rules, nf_tables, sysctls, mounts, /run, processes, namespaces, conntrack.
#[derive(Debug, Eq, PartialEq)]
pub struct Residue {
    sections: Vec<(String, String)>,
}

impl Residue {
    /// Takes the picture of how a machine is now.
    #[track_caller]
    pub fn of(machine: &Machine) -> Self {
        Self::look(machine).unwrap_or_else(|why| panic!("{why}"))
    }

    /// What `ip` and `nft` say may end in the middle, while something goes.
    fn look(machine: &Machine) -> Result<Self, String> {
        let objects = machine.try_sh(OBJECTS);
        if !objects.status.success() {
            return Err(format!("cannot be read: {}\n", objects.stderr));
        }
        let mut sections = split(&objects.text());
        let more = [
            ("conntrack", machine.sh(CONNTRACK)),
            ("run", machine.run(run)),
            ("sysctls", machine.run(sysctls)),
            ("mounts", machine.read("/proc/1/mounts")),
            ("processes", machine.run(processes)),
            ("namespaces", machine.run(namespaces)),
        ];
        sections.extend(more.map(|(name, text)| (name.to_owned(), text)));
        Ok(Self { sections })
    }

    /// Insists that the machine is as it was, within seconds: what may last a moment is cleaned up behind the user's prompt.
    #[track_caller]
    pub fn assert_same(&self, machine: &Machine) {
        self.assert_same_but(machine, |_| false);
    }

    /// The same, but lines that `tolerated` accepts may have come or gone.
    #[track_caller]
    pub fn assert_same_but(&self, machine: &Machine, tolerated: impl Fn(&str) -> bool) {
        let differences = self.left_after(GRACE, machine, tolerated);
        assert!(differences.is_empty(), "left behind after {GRACE:?}:\n{differences}");
    }

    /// What has come and gone, as lines `SECTION: +LINE` and `SECTION: -LINE`, but for what `tolerated` accepts. Empty as soon as there
    /// is nothing of that; else what there is after `limit`.
    pub fn left_after(&self, limit: Duration, machine: &Machine, tolerated: impl Fn(&str) -> bool) -> String {
        let mut differences = String::new();
        crate::within(limit, || {
            let now = Self::look(machine);
            differences = now.map_or_else(|why| why, |now| self.differences(&now, &tolerated));
            differences.is_empty().then_some(())
        });
        differences
    }

    fn differences(&self, now: &Self, tolerated: &impl Fn(&str) -> bool) -> String {
        let pairs = self.sections.iter().zip(&now.sections);
        pairs
            .flat_map(|((name, old), (_, new))| diff(name, old, new))
            .filter(|line| !tolerated(line))
            .collect()
    }
}

/// The lines that are only in one of the two texts, as `section: +line` and `section: -line`.
fn diff(name: &str, old: &str, new: &str) -> Vec<String> {
    let only_in = |sign: char, this: &str, that: &str| {
        let others: Vec<_> = that.lines().collect();
        let lines = this.lines().filter(|line| !others.contains(line));
        lines.map(|line| format!("{name}: {sign}{line}\n")).collect::<Vec<_>>()
    };
    [only_in('-', old, new), only_in('+', new, old)].concat()
}

/// Takes sections apart that begin with their name in quotes.
fn split(text: &str) -> Vec<(String, String)> {
    let mut sections: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix('"'), sections.last_mut()) {
            (Some(name), _) => sections.push((name.trim_end_matches('"').to_owned(), String::new())),
            (None, Some((_, lines))) => lines.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    sections
}

/// Kind, mode and path of everything below /run.
fn run() -> String {
    let mut lines = Vec::new();
    list(Path::new("/run"), &mut lines);
    lines.sort();
    lines.concat()
}

fn list(folder: &Path, lines: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        lines.push(format!("{:o} {}\n", metadata.mode(), entry.path().display()));
        if metadata.is_dir() {
            list(&entry.path(), lines);
        }
    }
}

/// Every sysctl of the network namespace that can be read.
fn sysctls() -> String {
    let mut lines = Vec::new();
    collect(Path::new("/proc/sys/net"), &mut lines);
    lines.sort();
    lines.concat()
}

fn collect(folder: &Path, lines: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&path, lines);
        } else if !COUNTERS.iter().any(|name| path.ends_with(name)) {
            lines.extend(line_of(&path));
        }
    }
}

fn line_of(path: &Path) -> Option<String> {
    let value = fs::read_to_string(path).ok()?;
    Some(format!("{} = {}\n", path.display(), value.trim_end().replace('\n', " ")))
}

/// Which namespaces the machine's processes are in.
fn namespaces() -> String {
    let entries = fs::read_dir("/proc").expect("the machine's own procfs").flatten();
    let processes = entries.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok());
    let kinds = processes.flat_map(|process| fs::read_dir(process.path().join("ns")).into_iter().flatten());
    let links = kinds.flatten().filter_map(|kind| fs::read_link(kind.path()).ok());
    let mut lines: Vec<_> = links.map(|link| format!("{}\n", link.display())).collect();
    lines.sort();
    lines.dedup();
    lines.concat()
}

/// `pid name command line` of every process but pid 1, which is ours. A thread of the machine has no pid in it.
fn processes() -> String {
    let entries = fs::read_dir("/proc").expect("the machine's own procfs").flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut lines: Vec<_> = numbers.filter(|pid| *pid != 1).filter_map(describe).collect();
    lines.sort();
    lines.concat()
}

fn describe(pid: u32) -> Option<String> {
    let directory = PathBuf::from(format!("/proc/{pid}"));
    let name = fs::read_to_string(directory.join("comm")).ok()?;
    let arguments = fs::read(directory.join("cmdline")).ok()?;
    let line: String =
        String::from_utf8_lossy(&arguments).replace(['\0', '\n'], " ").chars().take(80).collect();
    Some(format!("{pid} {} {line}\n", name.trim()))
}

/// Every object of what `ip` and `nft` say is a line, by jq with sorted keys, so that a difference is one line. Strings begin sections. What a
/// rule has counted is nothing that is left behind, nor is the time that passes.
const OBJECTS: &str = r#"{
    echo '"links"'; ip -d -j link
    echo '"addresses"'; ip -j addr
    echo '"routes"'; ip -j -4 route show table all; ip -j -6 route show table all
    echo '"rules"'; ip -j -4 rule; ip -j -6 rule
    echo '"nftables"'; nft -j --stateless list ruleset
} | jq -cS 'if type == "array" then .[] | del(.expires) elif type == "object" then .nftables[] else . end'"#;

/// Entries of the host's own flows may stay, as without us: conntrack tracks while anybody asks for it.
/// The lab's own addresses are 127/8, ::1, 198.51.100/24, 203.0.113/24, 2001:db8:1::/64 and 2001:db8:2::/64.
const CONNTRACK: &str = "{ conntrack -L -f ipv4; conntrack -L -f ipv6; } 2>/dev/null \
    | grep -oE 'src=[^ ]+ dst=[^ ]+' | grep -vE '^src=(127|198.51.100|203.0.113)[.]' \
    | grep -vE '^src=(::1|2001:db8:[12]::[12]|192.0.2.1) ' || true";

/// What is no setting, and changes by itself.
const COUNTERS: [&str; 1] = ["nf_conntrack_count"];

/// What is left to do behind the prompt takes less, on a machine that has much else to do, too. `left_after` is for who wants it sooner.
const GRACE: Duration = Duration::from_secs(5);
