//! `bench exit`: a program sends a few packets and ends at once. Each of them must be in the file, and soon.
//!
//! # Theory of operation
//! The program is our own binary: its datagrams are numbered, and its last act is to write down the time. When nsntrace
//! returns, the file must be complete: it is searched for every number right then. Runs come one after the other, each
//! waits for what the one before left behind to end.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use super::numbered::{self, Census, MARK_LEN, Sent, mark};
use super::residue::Residue;
use super::rounds::ms;
use super::sample::Sample;
use super::{children, lab, machine, words};
use crate::process::Result;
use crate::workspace::Workspace;

/// `bench exit [--runs N]`. `inside` is the same again in the namespaces made for it, `burst` the traced program.
pub(super) fn run(words: &[&str]) -> Result {
    match words {
        [] => enter(DEFAULT_RUNS),
        ["--runs", count] => enter(super::runs(count)?),
        ["inside", binary, count] => run_inside(Path::new(binary), super::runs(count)?),
        ["burst", count] => burst(count.parse()?),
        _ => Err("usage: cargo xtask bench exit [--runs N]".into()),
    }
}

fn enter(runs: usize) -> Result {
    let workspace = Workspace::load()?;
    let binary = super::build()?;
    println!("{}", machine::commit(&workspace.root));
    lab::run_inside(&["exit", "inside", &binary.to_string_lossy(), &runs.to_string()])
}

/// Measures, inside.
fn run_inside(binary: &Path, runs: usize) -> Result {
    lab::prepare()?;
    let folder = Path::new("/run/bench");
    fs::create_dir(folder)?;
    println!("nsntrace bench exit: {runs} runs\n{}", machine::describe(folder));
    let before = Residue::now()?;
    let tracer = Tracer::new(binary, folder)?;
    let mut tally = Tally::default();
    for number in 1..=runs {
        tally.add(tracer.run(burst_len(number)));
        if number % PROGRESS == 0 {
            eprintln!("{number} of {runs} runs, {} packets lost", tally.lost);
        }
    }
    // The kernel needs a moment for each namespace; what that does not help against is told.
    let left = before.wait(NETNS_END).map_or_else(|_late| before.since(), |_took| Ok(Vec::new()))?;
    println!("\n{}{}", tally.table(&left), machine::load());
    if tally.is_exact() && left.is_empty() {
        Ok(())
    } else {
        Err("bench exit: a packet, a run or a namespace went astray".into())
    }
}

/// From 1 to [`BURST_MAX`] datagrams: each length comes up as often, and neighbours differ.
fn burst_len(run: usize) -> u64 {
    1 + (run as u64 * 73) % BURST_MAX
}

/// `bench exit burst COUNT`: sends as many datagrams, writes the time to standard output, and ends.
fn burst(count: u64) -> Result {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    for number in 0..count {
        socket.send_to(&mark(number), SINK)?;
    }
    std::io::stdout().write_all(&now_ns()?.to_ne_bytes())?;
    Ok(())
}

/// What one run came to.
struct Run {
    /// From the program's last act to nsntrace's end.
    after: Duration,
    /// From before nsntrace's start to its end.
    whole: Duration,
    census: Census,
}

/// Runs nsntrace, again and again.
struct Tracer {
    binary: PathBuf,
    own: String,
    file: PathBuf,
    stamp: PathBuf,
    said: PathBuf,
}

impl Tracer {
    fn new(binary: &Path, folder: &Path) -> Result<Self> {
        let [file, stamp, said] = ["exit.pcap", "stamp", "said"].map(|name| folder.join(name));
        Ok(Self { binary: binary.to_owned(), own: lab::own_path()?, file, stamp, said })
    }

    fn run(&self, count: u64) -> Result<Run> {
        let mut command = Command::new(&self.binary);
        command.arg("-o").arg(&self.file).arg(&self.own).args(["bench", "exit", "burst", &count.to_string()]);
        command.stdin(Stdio::null()).stdout(File::create(&self.stamp)?).stderr(File::create(&self.said)?);
        let start = Instant::now();
        let status = command.status()?;
        let (end_ns, whole) = (now_ns()?, start.elapsed());
        let census = numbered::count(&self.file, Sent { count, frame_len: FRAME_LEN, mark_at: MARK_AT });
        children::reap_all()?;
        let said = fs::read_to_string(&self.said)?;
        if !status.success() {
            return Err(format!("{status}: {}", said.trim()).into());
        }
        let census = census?;
        words::check(&said, census)?;
        let after = Duration::from_nanos(end_ns.saturating_sub(self.stamp_ns()?));
        Ok(Run { after, whole, census })
    }

    /// When the program ended.
    fn stamp_ns(&self) -> Result<u64> {
        let stamp = fs::read(&self.stamp)?;
        let stamp = stamp.try_into().map_err(|_wrong| "the program did not write the time down")?;
        Ok(u64::from_ne_bytes(stamp))
    }
}

/// The sum of all runs.
#[derive(Default)]
struct Tally {
    after: Sample,
    whole: Sample,
    sent: u64,
    lost: usize,
    first_lost: usize,
}

impl Tally {
    fn add(&mut self, run: Result<Run>) {
        match run {
            Ok(Run { after, whole, census }) => {
                self.after.push(after);
                self.whole.push(whole);
                self.sent += census.found + census.missing;
                // No more than a burst has.
                self.lost += usize::try_from(census.missing).unwrap_or(usize::MAX);
                self.first_lost += usize::from(census.is_first_missing);
            }
            Err(error) => self.after.push_failure(error.to_string()),
        }
    }

    /// No packet was lost, and no run failed. Being late is no such thing: the machine may have been busy.
    fn is_exact(&self) -> bool {
        self.lost == 0 && self.after.failures().is_empty()
    }

    /// What was counted and timed, in Markdown.
    fn table(&self, left: &[String]) -> String {
        let goals = self.goals(left);
        let rows = goals.iter().map(Goal::row);
        let [max, whole] = [(&self.after, 100), (&self.whole, 50)].map(|(sample, n)| percentile(sample, n));
        let others = [
            format!("| program's end to ours, max, ms | {max:.2} | | |"),
            format!("| start to end, p50, ms | {whole:.2} | | |"),
        ];
        let details = self.after.failures().first().map(|first| format!("first failure: {first}"));
        let details = details.into_iter().chain(left.iter().map(|one| format!("left: {one}")));
        let head = ["| | | goal | |".to_owned(), "|---|--:|--:|---|".to_owned()];
        let lines: Vec<_> = head.into_iter().chain(rows).chain(others).chain(details).collect();
        lines.join("\n") + "\n"
    }

    fn goals(&self, left: &[String]) -> [Goal; 6] {
        let none = |what, count: usize| Goal { what, figure: count.to_string(), of: 0.0, is: float(count) };
        let within = |what, percent, of| {
            let is = percentile(&self.after, percent);
            Goal { what, figure: format!("{is:.2}"), of, is }
        };
        let lost = none("packets lost", self.lost);
        [
            none("runs that failed", self.after.failures().len()),
            Goal { figure: format!("{} of {}", self.lost, self.sent), ..lost },
            none("first packets lost", self.first_lost),
            none("links, tables, names and processes left", left.len()),
            within("program's end to ours, p50, ms", 50, 1.0),
            within("program's end to ours, p99, ms", 99, 10.0),
        ]
    }
}

/// What something is, and the most that it may be.
struct Goal {
    what: &'static str,
    figure: String,
    of: f64,
    is: f64,
}

impl Goal {
    /// What is no number meets nothing.
    fn is_met(&self) -> bool {
        self.is <= self.of
    }

    fn row(&self) -> String {
        let verdict = if self.is_met() { "met" } else { "MISSED" };
        format!("| {} | {} | {} | {verdict} |", self.what, self.figure, self.of)
    }
}

/// In milliseconds; no number where nothing was measured, which meets no goal.
fn percentile(sample: &Sample, percent: usize) -> f64 {
    if sample.is_empty() { f64::NAN } else { ms(sample.percentile(percent)) }
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn float(count: usize) -> f64 {
    count as f64
}

/// CLOCK_MONOTONIC, which is the same in every process.
fn now_ns() -> Result<u64> {
    Ok(u64::try_from(Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?).as_nanos())?)
}

/// The internet of the lab, where nobody listens on the port of discard.
const SINK: &str = "198.51.100.1:9";
/// Ethernet, IPv4 without options, UDP.
const MARK_AT: usize = 14 + 20 + 8;
const FRAME_LEN: usize = MARK_AT + MARK_LEN;
const BURST_MAX: u64 = 200;

const DEFAULT_RUNS: usize = 10_000;
/// Runs from one word about them to the next.
const PROGRESS: usize = 500;
/// Namespaces are cleaned up by a thread of the kernel, one after the other.
const NETNS_END: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_length_of_burst_comes_up() {
        let lengths: BTreeSet<_> = (1..=200).map(burst_len).collect();
        assert_eq!(lengths, (1..=200).collect());
    }

    fn run(ms: u64, missing: u64) -> Run {
        let census = Census { found: 10 - missing, missing, is_first_missing: missing > 1, others: 0 };
        Run { after: Duration::from_millis(ms), whole: Duration::from_millis(20), census }
    }

    #[track_caller]
    fn check(tally: &Tally, left: &[String], is_exact: bool, lines: &[&str]) {
        let table = tally.table(left);
        assert_eq!(tally.is_exact(), is_exact, "{table}");
        for line in lines {
            assert!(table.lines().any(|one| one == *line), "no `{line}` in\n{table}");
        }
    }

    #[test]
    fn nothing_may_be_lost_late_or_left() {
        let mut tally = Tally::default();
        tally.add(Ok(run(1, 0)));
        check(&tally, &[], true, &["| packets lost | 0 of 10 | 0 | met |"]);
        check(
            &tally,
            &["link nst0".to_owned()],
            true,
            &["| links, tables, names and processes left | 1 | 0 | MISSED |", "left: link nst0"],
        );
        tally.add(Ok(run(11, 0)));
        check(&tally, &[], true, &["| program's end to ours, p99, ms | 11.00 | 10 | MISSED |"]);
        tally.add(Ok(run(1, 2)));
        tally.add(Err("no end".into()));
        check(
            &tally,
            &[],
            false,
            &[
                "| runs that failed | 1 | 0 | MISSED |",
                "| packets lost | 2 of 30 | 0 | MISSED |",
                "| first packets lost | 1 | 0 | MISSED |",
                "| program's end to ours, p50, ms | 1.00 | 1 | met |",
                "| program's end to ours, max, ms | 11.00 | | |",
                "first failure: no end",
            ],
        );
    }
}
