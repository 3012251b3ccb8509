//! The process that tries things out.
//!
//! # Theory of operation
//! A fork of ours performs one check after the other and writes a line for each to a pipe. It may enter namespaces and never has to leave
//! them, for it ends with the last check, and the kernel takes back all that it made. It may also be killed: there are filters on system calls that
//! do that. Or it may hang, in a kernel that is ill. Then the lines that are there count, and the check that has none is the one that did it.
//!
//! # Kernel interface
//! fork(2), pipe(2), poll(2), waitpid(2).

use std::borrow::Cow;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::time::{Duration, Instant};

use nsntrace_sys::{Fork, exit_now, fork};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, waitpid};

use super::bench::Bench;
use super::check::{Check, Finding, Lost, State};
use crate::failure::Failure;
use crate::messages::printable;

/// Performs all checks, in their order.
pub(super) fn examine(checks: &'static [Check]) -> Result<Vec<Finding>, Failure> {
    let failed = |what| move |error: io::Error| Failure::of(what, &error);
    let (reader, writer) = io::pipe().map_err(failed("cannot make a pipe"))?;
    match fork().map_err(failed("cannot start a process"))? {
        Fork::Child => {
            drop(reader);
            perform(checks, writer);
            exit_now(0)
        }
        Fork::Parent(child) => {
            drop(writer);
            let mut lines = Vec::new();
            let is_whole =
                read_within(PATIENCE, reader, &mut lines).map_err(failed("cannot read from a pipe"))?;
            let cause = if is_whole { cause_of_end(wait(child)) } else { give_up(child) };
            Ok(findings(checks, &String::from_utf8_lossy(&lines), &cause))
        }
    }
}

/// Reads to the pipe's end, or until the time is up: false.
fn read_within(limit: Duration, mut reader: PipeReader, bytes: &mut Vec<u8>) -> io::Result<bool> {
    let deadline = Instant::now() + limit;
    let mut buffer = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match poll(&mut [PollFd::new(&reader, PollFlags::IN)], Timespec::try_from(left).ok().as_ref()) {
            Ok(0) => return Ok(false),
            Err(Errno::INTR) => {}
            ready => match ready.map_err(io::Error::from).and_then(|_one| reader.read(&mut buffer))? {
                0 => return Ok(true),
                count => bytes.extend_from_slice(&buffer[..count]),
            },
        }
    }
}

fn wait(child: Pid) -> Option<WaitStatus> {
    waitpid(Some(child), WaitOptions::empty()).ok().flatten().map(|(_child, status)| status)
}

/// Leaves the process that tries to itself: it may be where no signal reaches it.
fn give_up(child: Pid) -> State {
    let _ended_just_now = kill_process(child, Signal::KILL);
    let error = format!("it is not over after {} s", PATIENCE.as_secs());
    State::Missing { error, lost: Lost::Both, hint: Some("the kernel's log may tell why".into()) }
}

fn perform(checks: &[Check], mut writer: PipeWriter) {
    let mut bench = Bench::new();
    for check in checks {
        let line = check.perform(&mut bench).encode();
        // Whoever does not read any more does not want to know.
        if writer.write_all(line.as_bytes()).is_err() {
            return;
        }
    }
}

/// The findings that the lines tell of; the rest was not to be, for the cause given.
fn findings(checks: &'static [Check], lines: &str, cause: &State) -> Vec<Finding> {
    // A line without an end was not written to its end.
    let whole = lines.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    let mut states = whole.map_while(State::decode).collect::<Vec<_>>().into_iter();
    let mut others = std::iter::once(cause.clone()).chain(std::iter::repeat(untried()));
    let state =
        |check| Finding { check, state: states.next().or_else(|| others.next()).unwrap_or_else(untried) };
    checks.iter().map(state).collect()
}

/// What became of a check that has no line.
fn cause_of_end(status: Option<WaitStatus>) -> State {
    let signal = status.and_then(WaitStatus::terminating_signal);
    let (error, hint) = match signal {
        Some(signal) if signal == Signal::SYS.as_raw() => {
            ("a seccomp filter kills whoever tries (SIGSYS)".into(), Some(FILTERED.to_owned()))
        }
        Some(signal) => (format!("whoever tries is killed by signal {signal}"), None),
        None => ("the attempt has ended without a result".into(), None),
    };
    State::Missing { error, lost: Lost::Both, hint }
}

fn untried() -> State {
    State::Untried("the process that tries has ended".into())
}

impl State {
    /// A line: a word, and what belongs to it, between tabs.
    fn encode(&self) -> String {
        let fields = match self {
            Self::There(detail) => ["there", detail, "", ""].map(printable),
            Self::Missing { error, lost, hint } => {
                ["missing", error, lost.encode(), hint.as_deref().unwrap_or_default()].map(printable)
            }
            Self::Untried(since) => ["untried", since, "", ""].map(printable),
        };
        fields.join("\t") + "\n"
    }

    fn decode(line: &str) -> Option<Self> {
        let fields: Vec<_> = line.split('\t').collect();
        match fields[..] {
            ["there", detail, "", ""] => Some(Self::There(detail.into())),
            ["missing", error, lost, hint] => Some(Self::Missing {
                error: error.into(),
                lost: Lost::decode(lost),
                hint: (!hint.is_empty()).then(|| hint.into()),
            }),
            ["untried", since, "", ""] => Some(Self::Untried(since.into())),
            _ => None,
        }
    }
}

impl Lost {
    fn encode(&self) -> &str {
        match self {
            Self::Both => "both",
            Self::Nat => "nat",
            Self::Proxy => "proxy",
            Self::Part(words) => words,
        }
    }

    fn decode(field: &str) -> Self {
        match field {
            "both" => Self::Both,
            "nat" => Self::Nat,
            "proxy" => Self::Proxy,
            words => Self::Part(Cow::Owned(words.to_owned())),
        }
    }
}

/// A hundred times what all checks take together.
const PATIENCE: Duration = Duration::from_secs(15);
const FILTERED: &str = "SystemCallFilter= of a systemd service, or a container's profile: let it allow unshare(2), setns(2), mount(2) and \
    all kinds of sockets";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Group;

    const fn check(name: &'static str) -> Check {
        Check {
            name,
            title: name,
            group: Group::Kernel,
            lost: Lost::Both,
            attempt: |_bench| Ok(String::new()),
        }
    }

    static THREE: [Check; 3] = [check("one"), check("two"), check("three")];

    fn missing(lost: Lost, hint: Option<&str>) -> State {
        State::Missing { error: "cannot\u{fffd}".into(), lost, hint: hint.map(str::to_owned) }
    }

    #[test]
    fn states_survive_the_pipe() {
        for state in [
            State::There(String::new()),
            State::There("16 MiB".into()),
            State::Untried("so it is".into()),
            missing(Lost::Both, None),
            missing(Lost::Nat, Some("do it")),
            missing(Lost::Proxy, None),
            missing(Lost::part("no IPv6"), Some("do it")),
        ] {
            let line = state.encode();
            assert_eq!(State::decode(line.strip_suffix('\n').unwrap()), Some(state), "{line}");
        }
        let strange = State::There("a\tb\nc".into()).encode();
        assert_eq!(
            State::decode(strange.strip_suffix('\n').unwrap()),
            Some(State::There("a\u{fffd}b\u{fffd}c".into()))
        );
    }

    #[test]
    fn a_check_without_a_line_has_ended_it_all() {
        let cause = missing(Lost::Both, None);
        for lines in ["there\tx\t\t\n", "there\tx\t\t\nthere\ty"] {
            let states: Vec<_> =
                findings(&THREE, lines, &cause).into_iter().map(|found| found.state).collect();
            assert_eq!(states, [State::There("x".into()), cause.clone(), untried()], "{lines:?}");
        }
    }

    #[test]
    fn a_pipe_is_read_to_its_end_or_for_a_while() {
        let read = |writes: &[u8], is_left_open: bool| {
            let (reader, mut writer) = io::pipe().unwrap();
            writer.write_all(writes).unwrap();
            let held = is_left_open.then(|| writer.try_clone().unwrap());
            drop(writer);
            let mut bytes = Vec::new();
            let is_whole = read_within(Duration::from_millis(20), reader, &mut bytes).unwrap();
            drop(held);
            (bytes, is_whole)
        };
        let long = [b'x'; 10_000];
        assert_eq!(read(&long, false), (long.to_vec(), true));
        assert_eq!(read(&long, true), (long.to_vec(), false));
        assert_eq!(read(b"", false), (vec![], true));
    }

    #[test]
    fn every_check_has_its_line() {
        let lines = "there\t\t\t\n".repeat(3);
        let found = findings(&THREE, &lines, &untried());
        assert!(found.iter().all(|found| found.state == State::There(String::new())));
        assert_eq!(found.iter().map(|found| found.check.name).collect::<Vec<_>>(), ["one", "two", "three"]);
    }
}
