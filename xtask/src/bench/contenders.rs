//! Who is compared: commands that run `true`, from bare to a namespace with an uplink.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::{self, Result};
use crate::tools;

/// A command that is measured.
#[derive(Clone, Debug)]
pub(super) struct Contender {
    pub(super) name: &'static str,
    program: PathBuf,
    arguments: Vec<&'static str>,
}

/// What all are compared to: the kernel's share.
pub(super) const BASE: &str = "unshare -n true";

/// Those that are here, and the names of those that are not.
pub(super) fn all(nsntrace: &Path) -> (Vec<Contender>, Vec<&'static str>) {
    let mut here =
        vec![Contender { name: "nsntrace true", program: nsntrace.to_owned(), arguments: vec!["true"] }];
    let mut missing = Vec::new();
    for (name, program, arguments) in OTHERS {
        match tools::find(program) {
            Some(program) => here.push(Contender { name, program, arguments: arguments.to_vec() }),
            None => missing.push(*name),
        }
    }
    (here, missing)
}

impl Contender {
    /// The time from before its start until it has been waited for, in a folder that it may write to.
    ///
    /// # Errors
    /// It does not start, or fails; what it said is in the message.
    pub(super) fn time(&self, folder: &Path) -> Result<Duration> {
        let start = Instant::now();
        let status = self.command(folder).stdout(Stdio::null()).stderr(Stdio::null()).status();
        let time = start.elapsed();
        if status.is_ok_and(|status| status.success()) {
            return Ok(time);
        }
        // Once more for its words: a pipe that somebody has to read would have slowed it down.
        process::output(&mut self.command(folder))?;
        Err("failed once, and not again when it was asked why".into())
    }

    fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(folder).stdin(Stdio::null());
        command
    }
}

/// Name, program, arguments.
const OTHERS: &[(&str, &str, &[&str])] = &[
    ("true", "true", &[]),
    (BASE, "unshare", &["-n", "true"]),
    ("ip and nft script", "sh", &["-euc", SCRIPT]),
    ("pasta --config-net true", "pasta", &["--config-net", "true"]),
    ("nsntrace of Debian (C)", "/usr/bin/nsntrace", &["true"]),
];

/// The same set-up by hand: namespace, veth, addresses, route, masquerade; the program; and all of it away again.
const SCRIPT: &str = "
ns=bench$$
trap 'ip netns del $ns; nft delete table ip $ns' EXIT
ip netns add $ns
ip link add $ns type veth peer name eth0 netns $ns
ip addr add 192.0.2.1/30 dev $ns
ip link set $ns up
ip -n $ns addr add 192.0.2.2/30 dev eth0
ip -n $ns link set eth0 up
ip -n $ns link set lo up
ip -n $ns route add default via 192.0.2.1
nft -f - <<END
table ip $ns {
    chain post { type nat hook postrouting priority srcnat; ip saddr 192.0.2.2 masquerade; }
}
END
sysctl -q -w net.ipv4.conf.$ns.forwarding=1 net.ipv4.conf.uplink.forwarding=1
ip netns exec $ns true
";

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &'static str) -> Contender {
        Contender { name: "sh", program: "/bin/sh".into(), arguments: vec!["-c", script] }
    }

    #[test]
    fn the_time_is_from_start_to_exit() {
        let time = shell("sleep 0.2").time(Path::new("/")).unwrap();
        assert!(time >= Duration::from_millis(200), "{time:?}");
    }

    #[test]
    fn a_contender_that_fails_says_why() {
        let error = shell("echo no tunnel >&2; exit 1").time(Path::new("/")).unwrap_err();
        assert!(error.to_string().ends_with("exit status: 1\nno tunnel"), "{error}");
    }

    #[test]
    fn the_base_is_a_contender() {
        let (here, missing) = all(Path::new("/bin/true"));
        assert!(here.iter().any(|one| one.name == BASE));
        assert_eq!(here.len() + missing.len(), OTHERS.len() + 1);
    }
}
