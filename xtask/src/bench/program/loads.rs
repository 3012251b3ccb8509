//! What the traced program does: one TCP stream at full speed, or short connections one after the other.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::by_hand::Offload;
use super::tracers::{HEADS, Tracer, WHOLE};
use super::{Keeps, PORT};
use crate::bench::internet::Server;
use crate::bench::lab;
use crate::process::Result;

/// One thing that a program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// A TCP stream to the server.
    Up,
    /// A TCP stream from it.
    Down,
    /// Short HTTP connections, so many at once.
    Requests(u32),
}

pub(super) const LOADS: [Load; 4] = [Load::Up, Load::Down, Load::Requests(1), Load::Requests(8)];

impl Load {
    /// What is measured.
    pub(super) fn name(self) -> String {
        match self {
            Self::Up => "Gbit/s up".to_owned(),
            Self::Down => "Gbit/s down".to_owned(),
            Self::Requests(threads) => format!("requests/s, {threads} at once"),
        }
    }

    /// The same, and how.
    pub(super) fn title(self, seconds: u32) -> String {
        let name = self.name();
        match self {
            Self::Up => format!("{name} (iperf3, TCP, cubic, 1 stream, {seconds} s)"),
            Self::Down => format!("{name} (iperf3 -R, TCP, cubic, 1 stream, {seconds} s)"),
            Self::Requests(_) => format!("{name} ({REQUESTS} short HTTP connections)"),
        }
    }

    pub(super) fn is_bulk(self) -> bool {
        matches!(self, Self::Up | Self::Down)
    }

    /// Bulk data is for all; of connections a choice will do.
    pub(super) fn is_for(self, tracer: &Tracer) -> bool {
        let is_plain = tracer.offload == Offload::Full
            && match tracer.keeps {
                Keeps::Nothing => true,
                Keeps::Whole => !tracer.is_ours() || tracer.name == WHOLE,
                Keeps::Head => tracer.name == HEADS,
            };
        self.is_bulk() || is_plain
    }

    /// Gets ready for one run: its command, and the server that it needs.
    ///
    /// # Errors
    /// The server does not start, or files of the last run stay.
    pub(super) fn task(self, folder: &Path, seconds: u32) -> Result<Task> {
        let text = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let (outcome, before, after) = (text("outcome"), text("before"), text("after"));
        // iperf3 would write behind what is there.
        super::tracers::remove(Path::new(&outcome))?;
        let (server, client) = match self {
            Self::Requests(threads) => (None, request_words(threads, &outcome)?),
            bulk => {
                // For one test, so that a client that failed cannot confuse the next one.
                let server = Server::start(&["iperf3", "--server", "--one-off", "--forceflush"])?;
                (Some(server), iperf3_words(bulk, seconds, &outcome))
            }
        };
        let shell = ["/bin/sh", "-euc", COUNTING, &before, &after].map(str::to_owned);
        let words = shell.into_iter().chain(client).collect();
        Ok(Task {
            load: self,
            words,
            _server: server,
            outcome: outcome.into(),
            counters: [before.into(), after.into()],
        })
    }
}

fn iperf3_words(load: Load, seconds: u32, outcome: &str) -> Vec<String> {
    let seconds = seconds.to_string();
    let words =
        ["iperf3", "--client", lab::SERVER, "-C", "cubic", "-t", &seconds, "-J", "--logfile", outcome];
    let reverse = (load == Load::Down).then_some("--reverse");
    words.into_iter().chain(reverse).map(str::to_owned).collect()
}

fn request_words(threads: u32, outcome: &str) -> Result<Vec<String>> {
    let (own, server, threads) = (lab::own_path()?, format!("{}:{PORT}", lab::SERVER), threads.to_string());
    let words = [&own, "bench", "traced", "request", &server, REQUESTS, &threads, outcome];
    Ok(words.map(str::to_owned).to_vec())
}

/// One run.
pub(super) struct Task {
    load: Load,
    pub(super) words: Vec<String>,
    _server: Option<Server>,
    outcome: PathBuf,
    counters: [PathBuf; 2],
}

impl Task {
    /// Gbit/s, or requests per second, as the program found out.
    ///
    /// # Errors
    /// It has not.
    pub(super) fn figure(&self) -> Result<f64> {
        let text = fs::read_to_string(&self.outcome)?;
        if self.load.is_bulk() { gbits(&text) } else { Ok(text.parse()?) }
    }

    /// Frames that passed the devices of the program, loopback aside, while it ran.
    ///
    /// # Errors
    /// The kernel's counters cannot be read.
    pub(super) fn passed(&self) -> Result<u64> {
        let [before, after] = &self.counters;
        Ok(frames(&fs::read_to_string(after)?).saturating_sub(frames(&fs::read_to_string(before)?)))
    }
}

/// What arrived, by iperf3's own word.
pub(in crate::bench) fn gbits(text: &str) -> Result<f64> {
    let report: Value = serde_json::from_str(text)?;
    if let Some(error) = report["error"].as_str() {
        return Err(error.into());
    }
    let rate = report["end"]["sum_received"]["bits_per_second"].as_f64();
    Ok(rate.ok_or("iperf3 does not say how fast it was")? / 1e9)
}

/// Received and sent, of all devices but loopback, in /proc/net/dev: proc_pid_net(5).
fn frames(text: &str) -> u64 {
    let devices = text.lines().skip(2).filter_map(|line| line.split_once(':'));
    let outside = devices.filter(|(name, _)| name.trim() != "lo");
    let counters = outside.flat_map(|(_, counters)| {
        let columns: Vec<_> = counters.split_whitespace().collect();
        [RECEIVED, SENT].map(|column| columns.get(column).and_then(|text| text.parse::<u64>().ok()))
    });
    counters.flatten().sum()
}

const RECEIVED: usize = 1;
const SENT: usize = 9;
/// Reads the counters around a command.
const COUNTING: &str = "after=$1; shift; cat /proc/net/dev >\"$0\"; \"$@\"; cat /proc/net/dev >\"$after\"";
const REQUESTS: &str = "10000";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_all_devices_but_loopback_count() {
        let text = "Inter-|   Receive                |  Transmit\n \
                    face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs\n    \
                    lo:     900       9    0    0    0     0          0         0      900       9    0\n  \
                    eth0:     500       5    0    0    0     0          0         0      700       7    0\n";
        assert_eq!(frames(text), 12);
    }

    #[test]
    fn the_word_of_iperf3_is_understood() {
        let text =
            r#"{"end": {"sum_sent": {"bits_per_second": 3e9}, "sum_received": {"bits_per_second": 25e8}}}"#;
        assert_eq!(gbits(text).unwrap().to_bits(), 2.5_f64.to_bits());
        assert_eq!(gbits(r#"{"error": "unable to connect"}"#).unwrap_err().to_string(), "unable to connect");
        assert!(gbits("{}").is_err());
    }

    #[test]
    fn words_go_to_the_program_as_they_are() {
        let words = iperf3_words(Load::Down, 3, "/f");
        assert_eq!(words.last().map(String::as_str), Some("--reverse"));
        let counted = std::process::Command::new("/bin/sh")
            .args(["-euc", COUNTING, "/dev/stderr", "/dev/stderr", "printf", "%s|", "a b", "c"])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(counted.stdout).unwrap(), "a b|c|");
        let twice = String::from_utf8(counted.stderr).unwrap();
        assert_eq!(twice.matches("lo:").count(), 2);
    }
}
