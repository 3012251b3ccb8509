//! What the program does: one TCP stream at full speed, or short connections one after the other, with or without something to say.

use std::fs;
use std::path::Path;

use super::PORT;
use crate::bench::internet::Server;
use crate::bench::lab;
use crate::bench::program::{gbits, remove};
use crate::process::Result;

/// One thing that a program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// A TCP stream to this address.
    Up(&'static str),
    /// A TCP stream from it.
    Down(&'static str),
    /// Connections that are made and closed.
    Connections,
    /// Short HTTP connections.
    Requests,
}

pub(super) const LOADS: [Load; 6] = [
    Load::Up(lab::SERVER),
    Load::Down(lab::SERVER),
    Load::Up(lab::SERVER6),
    Load::Down(lab::SERVER6),
    Load::Connections,
    Load::Requests,
];

impl Load {
    pub(super) fn name(self) -> String {
        let family = |address: &str| if address.contains(':') { "IPv6" } else { "IPv4" };
        match self {
            Self::Up(address) => format!("Gbit/s up, {}", family(address)),
            Self::Down(address) => format!("Gbit/s down, {}", family(address)),
            Self::Connections => "connections/s".to_owned(),
            Self::Requests => "requests/s".to_owned(),
        }
    }

    /// The same, and how.
    pub(super) fn title(self, seconds: u32) -> String {
        let how = match self {
            Self::Up(_) | Self::Down(_) => format!("iperf3, TCP, 1 stream, {seconds} s"),
            Self::Connections => format!("{COUNT} are made and closed, one after the other"),
            Self::Requests => format!("{COUNT} short HTTP connections, one after the other"),
        };
        format!("{} ({how})", self.name())
    }

    pub(super) fn is_bulk(self) -> bool {
        matches!(self, Self::Up(_) | Self::Down(_))
    }

    /// Gets ready for one run, with the congestion control that the host has, which users may not choose: its command, and the server that it needs.
    ///
    /// # Errors
    /// The server does not start, or files of the last run stay.
    pub(super) fn task(self, seconds: u32) -> Result<Task> {
        // iperf3 would write behind what is there.
        for file in [OUTCOME, "/run/bench/packets.pcap"] {
            remove(Path::new(file))?;
        }
        let seconds = seconds.to_string();
        let stream = |address| {
            ["iperf3", "--client", address, "-t", &seconds, "-J", "--logfile", OUTCOME]
                .map(str::to_owned)
                .to_vec()
        };
        let server = format!("{}:{PORT}", lab::SERVER);
        let words = match self {
            Self::Up(address) => stream(address),
            Self::Down(address) => [stream(address), vec!["--reverse".to_owned()]].concat(),
            Self::Connections => ours(&["connect", &server, COUNT, OUTCOME]),
            Self::Requests => ours(&["request", &server, COUNT, "1", OUTCOME]),
        };
        // For one test, so that a client that failed cannot confuse the next one.
        let iperf3 = ["iperf3", "--server", "--one-off", "--forceflush"];
        let server = self.is_bulk().then(|| Server::start(&iperf3)).transpose()?;
        Ok(Task { load: self, words, _server: server })
    }
}

/// One of our own programs, `bench traced`.
fn ours(words: &[&str]) -> Vec<String> {
    [&[OWN, "bench", "traced"], words].concat().into_iter().map(str::to_owned).collect()
}

/// One run.
pub(super) struct Task {
    load: Load,
    pub(super) words: Vec<String>,
    _server: Option<Server>,
}

impl Task {
    /// Gbit/s, or connections or requests per second, as the program found out.
    ///
    /// # Errors
    /// It has not.
    pub(super) fn figure(&self) -> Result<f64> {
        let text = fs::read_to_string(OUTCOME)?;
        if self.load.is_bulk() { gbits(&text) } else { Ok(text.parse()?) }
    }
}

/// This program, where all can read it.
pub(super) const OWN: &str = "/run/bench/xtask";
const OUTCOME: &str = "/run/bench/outcome";
const COUNT: &str = "10000";
