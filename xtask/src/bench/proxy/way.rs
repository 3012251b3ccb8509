//! How a program gets out: directly, by our proxy, by pasta.

use std::process::{Command, Stdio};

/// How a program gets out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The host's own.
    Direct,
    /// By proxy, as an ordinary user, with the heads of all packets recorded.
    Ours,
    /// Nothing recorded. As root: an ordinary user may lack /dev/net/tun. It does the same as for one.
    Pasta,
}

pub(super) const WAYS: [Way; 3] = [Way::Direct, Way::Ours, Way::Pasta];

impl Way {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Ours => "nsntrace -s 128, by proxy",
            Self::Pasta => "pasta",
        }
    }

    pub(super) fn command(self, words: &[String]) -> Command {
        let before: &[&str] = match self {
            Self::Direct => &["env"],
            Self::Ours => &OURS,
            // The internet's server is the gateway, which pasta else takes for the host itself.
            Self::Pasta => &["pasta", "--runas", "0", "--config-net", "--no-map-gw", "--quiet", "--"],
        };
        let mut command = Command::new(before[0]);
        command.args(&before[1..]).args(words).stdin(Stdio::null());
        command
    }
}

pub(super) const NSNTRACE: &str = "/run/bench/nsntrace";
const OURS: [&str; 11] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=-all",
    NSNTRACE,
    "--net=proxy",
    "-s",
    "128",
    "-o",
    "/run/bench/packets.pcap",
];
