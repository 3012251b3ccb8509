//! A capture file, read by foreign eyes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::{Finished, Process};

/// A capture file that nsntrace wrote.
#[derive(Clone, Debug)]
pub struct CaptureFile {
    path: PathBuf,
}

impl CaptureFile {
    /// Names the file; nothing is read yet.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many packets capinfos finds. It fails on a file that ends in mid-record.
    #[track_caller]
    pub fn packets(&self) -> u64 {
        let table = self.capinfos(&["-T", "-r", "-c"]);
        table.trim().rsplit('\t').next().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{table:?}"))
    }

    /// capinfos with options, whole and without complaint.
    #[track_caller]
    pub fn capinfos(&self, options: &[&str]) -> String {
        let finished = read("capinfos", options, &self.path);
        assert_eq!(finished.stderr, "", "capinfos complains about {}", self.path.display());
        finished.text()
    }

    /// One line of tab-separated fields for each packet that passes a display filter (an empty one passes all).
    #[track_caller]
    pub fn fields(&self, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
        let mut options = vec!["-n", "-Y", filter, "-T", "fields", "-E", "occurrence=f"];
        options.extend(fields.iter().flat_map(|field| ["-e", field]));
        options.push("-r");
        let table = read("tshark", &options, &self.path).text();
        table.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
    }

    /// One field of each packet that passes a display filter.
    #[track_caller]
    pub fn field(&self, filter: &str, field: &str) -> Vec<String> {
        self.fields(filter, &[field]).into_iter().flatten().collect()
    }

    /// How many packets pass a display filter of tshark.
    #[track_caller]
    pub fn count(&self, filter: &str) -> usize {
        self.field(filter, "frame.number").len()
    }

    /// What `tcpdump -nn OPTIONS -r FILE EXPRESSION` prints, by lines. Starts in a tenth of tshark's time.
    #[track_caller]
    pub fn tcpdump(&self, options: &[&str], expression: &str) -> Vec<String> {
        let mut command = Command::new("tcpdump");
        command.arg("-nn").args(options).arg("-r").arg(&self.path).arg(expression).stdin(Stdio::null());
        let finished = Process::spawn(command).wait().succeeded();
        finished.text().lines().map(str::to_owned).collect()
    }
}

/// Runs a reader that takes the file's path as its last argument.
#[track_caller]
fn read(tool: &str, options: &[&str], path: &Path) -> Finished {
    let mut command = Command::new(tool);
    command.args(options).arg(path).stdin(Stdio::null());
    Process::spawn(command).wait().succeeded()
}
