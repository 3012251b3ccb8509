//! Who records: nsntrace and its peers, how each is started in the same place with a ring of the same size.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bench::machine;
use crate::tools;

/// A tool that records into a file until it is interrupted.
#[derive(Clone, Debug)]
pub(super) struct Tool {
    pub(super) name: &'static str,
    program: PathBuf,
    arguments: &'static [&'static str],
    pub(super) extension: &'static str,
    pub(super) is_ours: bool,
}

/// Those that are here, ours first, and the names of those that are not.
pub(super) fn all(nsntrace: &Path) -> (Vec<Tool>, Vec<&'static str>) {
    let ours = |name, extension, arguments| Tool {
        name,
        program: nsntrace.to_owned(),
        arguments,
        extension,
        is_ours: true,
    };
    let mut here = vec![
        ours(NSNTRACE, "pcap", OURS),
        ours("nsntrace, pcapng", "pcapng", OURS),
        ours("nsntrace --direct", "pcap", OURS_DIRECT),
    ];
    let mut missing = Vec::new();
    for &(name, extension, arguments) in PEERS {
        match tools::find(name) {
            Some(program) => here.push(Tool { name, program, arguments, extension, is_ours: false }),
            None => missing.push(name),
        }
    }
    (here, missing)
}

impl Tool {
    /// Peers are started in the network namespace [`INSIDE`]; nsntrace makes its own.
    pub(super) fn command(&self, file: &Path) -> Command {
        let mut command = if self.is_ours { Command::new(&self.program) } else { Command::new("ip") };
        if !self.is_ours {
            command.args(["netns", "exec", INSIDE]).arg(&self.program);
        }
        command.args(
            self.arguments.iter().map(|&word| if word == FILE { file.as_os_str() } else { word.as_ref() }),
        );
        command
    }

    /// The command as it could be typed, and the version.
    pub(super) fn describe(&self) -> String {
        let words = self.arguments.join(" ");
        let program = if self.is_ours { NSNTRACE } else { self.name };
        let version = machine::first_line(Command::new(&self.program).arg("--version"));
        format!("`{program} {words}` (FILE.{}): {version}", self.extension)
    }
}

/// Ours in the form that peers are compared with.
pub(super) const NSNTRACE: &str = "nsntrace";
/// The namespace in which peers record from `eth0`.
pub(super) const INSIDE: &str = "recorded";

const FILE: &str = "FILE";
/// A program that leaves the processor alone, and that our interrupt ends.
const OURS: &[&str] = &["-o", FILE, "sleep", "infinity"];
/// The same past the page cache.
const OURS_DIRECT: &[&str] = &["--direct", "-o", FILE, "sleep", "infinity"];
/// Name, form of file, arguments: a ring of 16 MiB for each, as nsntrace has, and nothing printed per packet.
const PEERS: &[(&str, &str, &[&str])] = &[
    ("tcpdump", "pcap", &["-i", "eth0", "-n", "-Z", "root", "-B", "16384", "-w", FILE]),
    ("dumpcap", "pcapng", &["-q", "-i", "eth0", "-B", "16", "-w", FILE]),
    (
        "netsniff-ng",
        "pcap",
        &["--in", "eth0", "--out", FILE, "--silent", "--no-promisc", "--ring-size", "16MiB"],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::words;

    #[test]
    fn a_peer_runs_inside_and_we_make_our_own() {
        let ours = &all(Path::new("/b/nsntrace")).0[0];
        assert_eq!(words(&ours.command(Path::new("/d/f.pcap"))), "nsntrace -o /d/f.pcap sleep infinity");
        let (_, extension, arguments) = PEERS[1];
        let peer =
            Tool { name: "dumpcap", program: "/b/dumpcap".into(), arguments, extension, is_ours: false };
        let expected = "ip netns exec recorded /b/dumpcap -q -i eth0 -B 16 -w /d/f.pcapng";
        assert_eq!(words(&peer.command(Path::new("/d/f.pcapng"))), expected);
    }

    #[test]
    fn who_is_missing_is_told() {
        let (here, missing) = all(Path::new("/bin/true"));
        let ours = here.iter().filter(|tool| tool.is_ours).count();
        assert_eq!(here.len() - ours + missing.len(), PEERS.len());
    }
}
