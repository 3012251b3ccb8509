//! What a machine is like, to compare before and after.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::machine::Machine;

/// A picture of a machine: links, addresses, routes, rules, nf_tables, sysctls, mounts, /run, processes, conntrack.
#[derive(Debug, Eq, PartialEq)]
pub struct Residue {
    sections: Vec<(&'static str, String)>,
}

impl Residue {
    /// Takes the picture of how a machine is now.
    pub fn of(machine: &Machine) -> Self {
        let mut sections: Vec<_> =
            COMMANDS.iter().map(|&(name, script)| (name, machine.sh(script))).collect();
        sections.push(("sysctls", machine.run(sysctls)));
        sections.push(("mounts", machine.read("/proc/1/mounts")));
        sections.push(("processes", machine.run(processes)));
        Self { sections }
    }

    /// Insists that the machine is as it was, within 2 s: what may last a moment is cleaned up behind the user's prompt.
    #[track_caller]
    pub fn assert_same(&self, machine: &Machine) {
        self.assert_same_but(machine, |_| false);
    }

    /// The same, but lines that `tolerated` accepts may have come or gone.
    #[track_caller]
    pub fn assert_same_but(&self, machine: &Machine, tolerated: impl Fn(&str) -> bool) {
        let mut differences = String::new();
        let same = crate::within(GRACE, || {
            differences = self.differences(&Self::of(machine), &tolerated);
            differences.is_empty().then_some(())
        });
        assert!(same.is_some(), "left behind after {GRACE:?}:\n{differences}");
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

/// The sysctls that a forwarding tool might touch, of every device.
fn sysctls() -> String {
    let mut lines = vec![line_of(Path::new("/proc/sys/net/ipv4/ip_forward"))];
    for conf in ["/proc/sys/net/ipv4/conf", "/proc/sys/net/ipv6/conf"] {
        let devices = fs::read_dir(conf).into_iter().flatten().flatten();
        lines.extend(devices.flat_map(|device| KEYS.map(|key| line_of(&device.path().join(key)))));
    }
    lines.sort();
    lines.concat()
}

fn line_of(path: &Path) -> String {
    fs::read_to_string(path).map(|value| format!("{} = {value}", path.display())).unwrap_or_default()
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

/// JSON by jq with sorted keys, a line per leaf, so that a difference is one line.
const COMMANDS: [(&str, &str); 7] = [
    ("links", "ip -d -j link | jq -cS '.[]'"),
    ("addresses", "ip -j addr | jq -cS '.[]'"),
    ("routes", "ip -j -4 route show table all | jq -cS '.[]'; ip -j -6 route show table all | jq -cS '.[]'"),
    ("rules", "ip -j -4 rule | jq -cS '.[]'; ip -j -6 rule | jq -cS '.[]'"),
    ("nftables", "nft -j list ruleset | jq -cS '.nftables[]'"),
    ("run", "find /run -mindepth 1 -printf '%y %m %p\\n' | sort"),
    // Entries of the host's own flows may stay, as without us: conntrack tracks while anybody asks for it.
    // The lab's own addresses are 127/8, ::1, 198.51.100/24, 203.0.113/24, 2001:db8:1::/64 and 2001:db8:2::/64.
    (
        "conntrack",
        "{ conntrack -L -f ipv4; conntrack -L -f ipv6; } 2>/dev/null \
         | grep -oE 'src=[^ ]+ dst=[^ ]+' | grep -vE '^src=(127|198.51.100|203.0.113)[.]' \
         | grep -vE '^src=(::1|2001:db8:[12]::[12]|192.0.2.1) ' || true",
    ),
];

const KEYS: [&str; 7] = [
    "forwarding",
    "force_forwarding",
    "rp_filter",
    "route_localnet",
    "accept_ra",
    "disable_ipv6",
    "proxy_ndp",
];

/// What is left to do behind the prompt takes less.
const GRACE: Duration = Duration::from_secs(2);
