//! Who is compared: commands that run `true`, from bare to a namespace with an uplink.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use super::rounds;
use crate::process::Result;
use crate::tools;

/// A command that is measured.
#[derive(Clone, Debug)]
pub(super) struct Contender {
    pub(super) name: &'static str,
    program: PathBuf,
    arguments: Vec<&'static str>,
}

/// Ours.
pub(super) const OURS: &str = "nsntrace true";

/// The one that does most of what we do.
pub(super) const PASTA: &str = "pasta --config-net true";

/// What all are compared to: the kernel's share.
pub(super) const BASE: &str = "unshare -n true";

/// Those that are here, and the names of those that are not.
pub(super) fn all(nsntrace: &Path) -> (Vec<Contender>, Vec<&'static str>) {
    let mut here = vec![Contender { name: OURS, program: nsntrace.to_owned(), arguments: vec!["true"] }];
    let mut missing = Vec::new();
    for (name, needed, arguments) in OTHERS {
        let Some(found) = tools::find(needed) else {
            missing.push(*name);
            continue;
        };
        here.push(match arguments.split_first() {
            Some((&SHELL, script)) => Contender { name, program: SHELL.into(), arguments: script.to_vec() },
            _ => Contender { name, program: found, arguments: arguments.to_vec() },
        });
    }
    (here, missing)
}

impl Contender {
    /// Runs it unmeasured, until it succeeds once: what it reads is in memory then, and who cannot run here is known.
    ///
    /// # Errors
    /// It does not start, fails each time, or has not ended after [`PATIENCE_S`] seconds; what it said is in the message.
    pub(super) fn rehearse(&self, folder: &Path) -> Result {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=1", PATIENCE_S]).arg(&self.program).args(&self.arguments);
        command.current_dir(folder).stdin(Stdio::null());
        let mut last = Ok(());
        for _ in 0..ATTEMPTS {
            let output = command.output()?;
            match output.status.code() {
                Some(0) => return Ok(()),
                Some(TIMED_OUT) => return Err(format!("has not ended after {PATIENCE_S} s").into()),
                _ => last = Err(complaint(&output).into()),
            }
        }
        last
    }

    /// The time from before its start until it has been waited for, in a folder that it may write to.
    ///
    /// # Errors
    /// It does not start, or fails.
    pub(super) fn time(&self, folder: &Path) -> Result<Duration> {
        rounds::time(Command::new(&self.program).args(&self.arguments).current_dir(folder))
    }
}

fn complaint(output: &Output) -> String {
    format!("{}; {}", output.status, String::from_utf8_lossy(&output.stderr).trim())
}

/// The C nsntrace takes two seconds.
const PATIENCE_S: &str = "20";
/// The exit status of timeout(1) when time is up.
const TIMED_OUT: i32 = 124;
/// The C nsntrace opens a device before it is there, now and then.
const ATTEMPTS: usize = 5;

/// Name; the program, or what a script needs; arguments, or the shell and its.
const OTHERS: &[(&str, &str, &[&str])] = &[
    ("true", "true", &[]),
    (BASE, "unshare", &["-n", "true"]),
    ("ip and nft script", "nft", &[SHELL, "-euc", SCRIPT]),
    // As root: it would become nobody, and wait for ever where /dev/net/tun is root's alone.
    (PASTA, "pasta", &["--runas", "0", "--config-net", "true"]),
    ("nsntrace of Debian (C)", "/usr/bin/nsntrace", &[SHELL, "-euc", C_SCRIPT]),
];

const SHELL: &str = "/bin/sh";

/// It demands a switch that the others must not find on, for they would have less to do. The shell costs a few
/// milliseconds of its two seconds.
const C_SCRIPT: &str = "
trap 'sysctl -q -w net.ipv4.ip_forward=0' EXIT
sysctl -q -w net.ipv4.ip_forward=1
/usr/bin/nsntrace true
";

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
        let contender = shell("echo no tunnel >&2; exit 1");
        let error = contender.rehearse(Path::new("/")).unwrap_err();
        assert!(error.to_string().ends_with("exit status: 1; no tunnel"), "{error}");
        let error = contender.time(Path::new("/")).unwrap_err();
        assert_eq!(error.to_string(), "exit status: 1");
        shell("true").rehearse(Path::new("/")).unwrap();
    }

    #[test]
    fn the_base_is_a_contender() {
        let (here, missing) = all(Path::new("/bin/true"));
        assert!(here.iter().any(|one| one.name == BASE));
        assert_eq!(here.len() + missing.len(), OTHERS.len() + 1);
    }
}
