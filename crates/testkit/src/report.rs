//! What nsntrace said about a trace, word for word.

use std::path::Path;

use crate::capture_file::CaptureFile;
use crate::process::Finished;

/// A finished trace: the messages taken apart, and the file that they speak of.
#[derive(Debug)]
pub struct Report {
    /// The name between quotes.
    pub program: String,
    /// The interface that packets leave through.
    pub interface: String,
    /// The program's address.
    pub address4: String,
    /// The program's IPv6 address, where it had one.
    pub address6: Option<String>,
    /// Whether connections are passed on by a proxy.
    pub is_proxied: bool,
    /// `Finished capturing N packets.`
    pub packets: u64,
    /// Who was talked to: the indented lines behind that one, the heading left out.
    pub conversations: Vec<String>,
    /// What followed.
    pub notes: Vec<String>,
    /// What the program itself wrote to standard error between our lines.
    pub program_stderr: String,
    /// The file.
    pub file: CaptureFile,
    /// Status and raw output.
    pub finished: Finished,
}

impl Report {
    /// Takes the messages apart.
    ///
    /// # Panics
    /// When a word of ours is not as promised, or the count is not the file's.
    #[track_caller]
    pub fn new(finished: Finished, path: &Path) -> Self {
        let report = Self::parse(finished, path);
        assert_eq!(report.file.packets(), report.packets, "capinfos counts what we counted");
        report
    }

    /// Takes the messages apart and does not look at the file, which may be a pipe's.
    #[track_caller]
    pub fn parse(finished: Finished, path: &Path) -> Self {
        let said = finished.stderr.clone();
        let parts = take_apart(&said).unwrap_or_else(|what| panic!("{what} in what was said:\n{said}"));
        let file = CaptureFile::new(path);
        Self { file, finished, ..parts.into_report() }
    }

    /// Standard output of the program.
    pub fn stdout(&self) -> String {
        self.finished.text()
    }
}

struct Parts<'a> {
    program: &'a str,
    interface: &'a str,
    address4: &'a str,
    address6: Option<&'a str>,
    is_proxied: bool,
    program_stderr: &'a str,
    packets: u64,
    notes: &'a str,
}

impl Parts<'_> {
    fn into_report(self) -> Report {
        let (table, notes): (Vec<_>, Vec<_>) = self.notes.lines().partition(|line| line.starts_with("  "));
        Report {
            program: self.program.to_owned(),
            interface: self.interface.to_owned(),
            address4: self.address4.to_owned(),
            address6: self.address6.map(str::to_owned),
            is_proxied: self.is_proxied,
            packets: self.packets,
            conversations: table.iter().skip(1).map(|line| line.trim().to_owned()).collect(),
            notes: notes.into_iter().map(str::to_owned).collect(),
            program_stderr: self.program_stderr.to_owned(),
            file: CaptureFile::new(Path::new("")),
            finished: Finished::nothing(),
        }
    }
}

/// What is said behind the notes that come before the program starts.
fn after_notes(said: &str) -> &str {
    let is_note = |line: &&str| line.starts_with("nsntrace: note: ");
    let len = said.split_inclusive('\n').take_while(is_note).map(str::len).sum();
    &said[len..]
}

/// The grammar of our messages; what the program writes itself stands before the empty line.
fn take_apart(said: &str) -> Result<Parts<'_>, &'static str> {
    let rest = after_notes(said).strip_prefix("Starting network trace of '").ok_or("no first line")?;
    let (program, rest) = rest.split_once("' on interface ").ok_or("no interface")?;
    let (interface, rest) = rest.split_once(".\n").ok_or("no end of the first line")?;
    let rest = rest.strip_prefix("Your IP address in this trace is ").ok_or("no address")?;
    let (address4, mut rest) = rest.split_once(".\n").ok_or("no end of the address")?;
    let mut address6 = None;
    if let Some(more) = rest.strip_prefix("Your IPv6 address in this trace is ") {
        let (address, more) = more.split_once(".\n").ok_or("no end of the IPv6 address")?;
        (address6, rest) = (Some(address), more);
    }
    let proxied = rest.strip_prefix("Connections are passed on by a proxy.\n");
    let (is_proxied, rest) = (proxied.is_some(), proxied.unwrap_or(rest));
    let rest = rest.strip_prefix("Use ctrl-c to end at any time.\n").ok_or("no word about ctrl-c")?;
    let (program_stderr, rest) = rest.split_once("\nFinished capturing ").ok_or("no last line")?;
    let (count, notes) = rest.split_once('\n').ok_or("no end of the last line")?;
    let number = count.strip_suffix(" packets.").or(count.strip_suffix(" packet."));
    let packets = number.and_then(|n| n.parse().ok()).ok_or("no count")?;
    Ok(Parts { program, interface, address4, address6, is_proxied, program_stderr, packets, notes })
}
