//! Every word that nsntrace says, all of it to standard error: standard output is the program's, or the capture's.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use crate::failure::Failure;
use crate::protocol::Outcome;
use crate::transport::Transport;

/// The voice of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Messages {
    /// Say nothing but errors.
    pub(crate) quiet: bool,
}

impl Messages {
    /// The C tool's three lines, printed when the program is about to start, and what it does not know of.
    pub(crate) fn started(
        self,
        program: &OsStr,
        interface: &str,
        transport: Transport,
        v4: Ipv4Addr,
        v6: Option<Ipv6Addr>,
    ) {
        let name = printable(&Path::new(program).file_name().unwrap_or(program).to_string_lossy());
        let also = v6.map_or_else(String::new, |v6| format!("Your IPv6 address in this trace is {v6}.\n"));
        let how = match transport {
            Transport::Nat => "",
            Transport::Proxy => "Connections are passed on by a proxy.\n",
        };
        self.say(&format!(
            "Starting network trace of '{name}' on interface {interface}.\n\
             Your IP address in this trace is {v4}.\n\
             {also}\
             {how}\
             Use ctrl-c to end at any time.\n"
        ));
    }

    /// What was captured, who was talked to, and what was lost on the way.
    pub(crate) fn finished(self, outcome: &Outcome, report: &[String]) {
        let report: String = report.iter().flat_map(|line| [line, "\n"]).collect();
        self.say(&format!("\nFinished capturing {} packets.\n{report}", outcome.written));
        if outcome.dropped > 0 {
            // A loss is no chatter.
            write_stderr(&format!(
                "{} packets were dropped by the kernel: they came faster than they could be written.\n",
                outcome.dropped
            ));
        }
        match &outcome.output_error {
            Some(error) if outcome.unwritten == 0 => failure(&Failure::new(error.as_str())),
            Some(error) => {
                failure(&Failure::new(error.as_str()));
                write_stderr(&format!("{} packets were captured but not written.\n", outcome.unwritten));
            }
            // A reader that has seen enough is no failure.
            None if outcome.unwritten > 0 => self.say(&format!(
                "{} packets were captured but not written: the reader of the capture is gone.\n",
                outcome.unwritten
            )),
            None => {}
        }
        if !outcome.survivors.is_empty() {
            let pids: Vec<_> = outcome.survivors.iter().map(ToString::to_string).collect();
            self.say(&format!(
                "Still running, without a network from now on: process {}. (--wait-all waits for them.)\n",
                pids.join(", ")
            ));
        }
    }

    /// Something that the user should know and that does not stop the trace.
    pub(crate) fn note(self, text: &str) {
        self.say(&format!("nsntrace: note: {text}\n"));
    }

    fn say(self, text: &str) {
        if !self.quiet {
            write_stderr(text);
        }
    }
}

/// Says why nsntrace itself failed.
pub(crate) fn failure(failure: &Failure) {
    let excerpt = failure.excerpt.as_ref().map(|excerpt| format!("{}\n", excerpt.trim_end_matches('\n')));
    let hint = failure.hint.as_ref().map(|hint| format!("hint: {}\n", printable(hint)));
    let message = printable(&failure.message);
    write_stderr(&format!(
        "nsntrace: {message}\n{}{}",
        excerpt.unwrap_or_default(),
        hint.unwrap_or_default()
    ));
}

/// Says who was talked to and should not have been.
pub(crate) fn offences(offences: &[String]) {
    for offence in offences {
        failure(&Failure::new(offence.as_str()));
    }
}

/// Text that may hold what the user typed, on one line and without a terminal's commands.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn write_stderr(text: &str) {
    // One write, so that the program's own words do not come in between. Where nobody listens there is nobody to tell.
    let _ = io::stderr().write_all(text.as_bytes());
}
