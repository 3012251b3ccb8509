//! A traced shell script and its report.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use nsntrace_testkit::{Finished, Lab, Process};
use serde_json::Value;

/// A trace that has ended.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) finished: Finished,
    pub(crate) report: Value,
}

impl Trace {
    /// Traces a bash script into `trace.pcapng` to its end, whatever that is, and holds the report against its documentation.
    #[track_caller]
    pub(crate) fn of(lab: &Lab, options: &[&str], script: &str) -> Self {
        let path = lab.dir.join("report.json");
        let all =
            [&["-o", "trace.pcapng", "--report", "report.json"], options, &["bash", "-c", script]].concat();
        let finished = lab.start(&all).wait();
        let text = fs::read(&path).unwrap_or_else(|error| panic!("{error}: {}", finished.stderr));
        let mut command = Command::new("python3");
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        command.arg(tests.join("report/schema.py")).arg(tests.join("../docs/report.md"));
        command.stdin(fs::File::open(&path).expect("it was just read"));
        Process::spawn(command).wait().succeeded();
        Self { finished, report: serde_json::from_slice(&text).expect("it is JSON") }
    }

    pub(crate) fn conversations(&self) -> &[Value] {
        self.report["conversations"].as_array().expect("a list")
    }

    /// The conversations with a peer, by protocol.
    pub(crate) fn with(&self, address: &str, port: Option<u16>, protocol: &str) -> Vec<&Value> {
        let port = serde_json::json!(port);
        let all = self.conversations().iter();
        all.filter(|one| {
            let peer = &one["peer"];
            peer["address"] == address && peer["port"] == port && one["protocol"] == protocol
        })
        .collect()
    }

    /// The only one of these.
    #[track_caller]
    pub(crate) fn one(&self, address: &str, port: Option<u16>, protocol: &str) -> &Value {
        let [one] = self.with(address, port, protocol)[..] else {
            panic!("not one {protocol} with {address} {port:?}: {:#}", self.report)
        };
        one
    }

    /// Look-ups of a name.
    #[track_caller]
    pub(crate) fn lookups(&self, name: &str) -> Vec<&Value> {
        let is_meant =
            |one: &&Value| one["dns"]["names"].as_array().is_some_and(|all| all.contains(&name.into()));
        self.conversations().iter().filter(is_meant).collect()
    }

    /// The line of the table that has these words.
    #[track_caller]
    pub(crate) fn line(&self, words: &str) -> &str {
        let lines = self.finished.stderr.lines();
        let mut lines = lines.filter(|line| line.starts_with("  ") && line.contains(words));
        lines.next().unwrap_or_else(|| panic!("no line with {words}: {}", self.finished.stderr))
    }
}

/// A file, block by block.
#[track_caller]
pub(crate) fn blocks(path: &Path) -> Value {
    let mut command = Command::new("python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("formats/blocks.py")).arg(path);
    command.stdin(Stdio::null());
    serde_json::from_slice(&Process::spawn(command).wait().succeeded().stdout).expect("it prints JSON")
}
