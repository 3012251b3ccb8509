//! What has passed and failed so far, and what libtest says of it.

use std::io::{self, BufRead, BufReader, Write};
use std::ops::AddAssign;
use std::process::{Command, Stdio};

use crate::process::{self, Result};

/// How many tests passed and failed, and what those said that failed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) failures: Vec<String>,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.failures.extend(other.failures);
    }
}

impl Tally {
    /// Runs a check that counts only when it fails.
    pub(super) fn step(&mut self, name: &str, check: impl FnOnce() -> Result) {
        println!("== {name}");
        if let Err(error) = check() {
            self.fail(name, &error.to_string());
        }
    }

    /// Runs a `cargo test`, shows what it says as it says it, and counts.
    ///
    /// A few tests that fail are run again, by themselves: tests of a whole trace share their processors with others, and
    /// what is only slow is not wrong. `cargo` makes the command from what libtest is to be told.
    pub(super) fn tests(&mut self, name: &str, cargo: impl Fn(&[String]) -> Command) {
        self.show_tests(name, cargo, &mut io::stdout());
    }

    fn show_tests(&mut self, name: &str, cargo: impl Fn(&[String]) -> Command, to: &mut impl Write) {
        println!("== {name}");
        let (mut counts, mut complaint) = run(&mut cargo(&[]), to);
        let names: Vec<String> = counts.failures.iter().filter_map(|failure| test_name(failure)).collect();
        if complaint.is_none()
            && (1..=MAX_AGAIN).contains(&names.len())
            && counts.failed == names.len() as u64
        {
            println!("== {name}, again: {}", names.join(", "));
            let first =
                counts.failures.iter().map(|said| format!("{said}== failed once, and was run again\n"));
            self.failures.extend(first);
            self.passed += counts.passed;
            (counts, complaint) = run_again(&names, cargo, to);
        }
        *self += counts;
        if let Some(complaint) = complaint {
            self.fail(name, &complaint);
        }
    }

    fn fail(&mut self, name: &str, why: &str) {
        let failure = format!("{why}\n== {name} failed");
        println!("{failure}");
        self.failed += 1;
        self.failures.push(failure);
    }
}

fn run(tests: &mut Command, to: &mut impl Write) -> (Tally, Option<String>) {
    let (counts, result) = match stream(tests, to) {
        Ok(outcome) => outcome,
        Err(error) => (Tally::default(), Err(error)),
    };
    let complaint = complaint(&counts, result);
    (counts, complaint)
}

/// Runs the tests of these names, one after the other.
fn run_again(
    names: &[String],
    cargo: impl Fn(&[String]) -> Command,
    to: &mut impl Write,
) -> (Tally, Option<String>) {
    let alone = ["--exact".to_owned(), "--test-threads=1".to_owned()];
    let (counts, complaint) = run(&mut cargo(&[&alone, names].concat()), to);
    let is_all = counts.passed + counts.failed >= names.len() as u64;
    (counts, complaint.or_else(|| (!is_all).then(|| "not all were found again".to_owned())))
}

/// What is wrong with a run of tests besides tests that failed.
fn complaint(counts: &Tally, result: Result) -> Option<String> {
    match result {
        Err(error) if counts.failed == 0 => Some(error.to_string()),
        Ok(()) if counts.passed == 0 => Some("no test was run".to_owned()),
        _ => None,
    }
}

/// Copies the output of `command` to `to` line by line.
fn stream(command: &mut Command, to: &mut impl Write) -> Result<(Tally, Result)> {
    let words = process::words(command);
    let mut child =
        command.stdout(Stdio::piped()).spawn().map_err(|error| format!("cannot run {words}: {error}"))?;
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    let counts = copy(output, to)?;
    let status = child.wait()?;
    let result = if status.success() { Ok(()) } else { Err(format!("{words}: {status}").into()) };
    Ok((counts, result))
}

fn copy(mut from: impl BufRead, to: &mut impl Write) -> io::Result<Tally> {
    let mut counts = Tally::default();
    let mut line = Vec::new();
    let mut failures = Failures::default();
    while from.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        to.flush()?;
        let text = String::from_utf8_lossy(&line);
        failures.add(&text);
        counts += result_line(&text).unwrap_or_default();
        line.clear();
    }
    counts.failures = failures.said;
    Ok(counts)
}

/// How many failing tests at most are run again: more are no accident.
const MAX_AGAIN: usize = 3;
/// How many lines of what a test said are told again.
const MAX_LINES: usize = 20;

/// What libtest says of each test that failed: between a first line `failures:` and a second one, which begins a list of
/// their names, after `---- NAME stdout ----`.
#[derive(Debug, Default)]
struct Failures {
    is_open: bool,
    /// How many lines the last one has.
    lines: usize,
    said: Vec<String>,
}

impl Failures {
    fn add(&mut self, line: &str) {
        if line == "failures:\n" {
            self.is_open = !self.is_open;
        } else if self.is_open && line.starts_with("---- ") && line.ends_with(" ----\n") {
            self.said.push(line.to_owned());
            self.lines = 0;
        } else if self.is_open && self.lines < MAX_LINES {
            self.said.last_mut().into_iter().for_each(|said| said.push_str(line));
            self.lines += 1;
        }
    }
}

/// The name in the first line of what libtest says of a failure.
fn test_name(failure: &str) -> Option<String> {
    let name = failure.lines().next()?.strip_prefix("---- ")?.strip_suffix(" stdout ----")?;
    Some(name.to_owned())
}

/// Reads libtest's `test result: ok. 32 passed; 0 failed; 0 ignored; ..`.
fn result_line(line: &str) -> Option<Tally> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |what: &str| {
        let piece = counts.split("; ").find_map(|piece| piece.strip_suffix(what))?;
        piece.trim().parse().ok()
    };
    Some(Tally { passed: count("passed")?, failed: count("failed")?, failures: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &str =
        "test result: ok. 32 passed; 0 failed; 0 ignored; 0 measured; 5 filtered out; finished in 0.74s\n";
    const BAD: &str =
        "test result: FAILED. 2 passed; 5 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s\n";

    fn tally(passed: u64, failed: u64) -> Tally {
        Tally { passed, failed, failures: Vec::new() }
    }

    #[test]
    fn result_lines_are_summed_and_everything_is_copied() {
        let text = format!("running 32 tests\ntest a ... ok\n{OK}\u{1}odd\n{BAD}test result: what?");
        let mut copied = Vec::new();
        let counts = copy(text.as_bytes(), &mut copied).unwrap();
        assert_eq!(counts, tally(34, 5));
        assert_eq!(copied, text.as_bytes());
    }

    #[test]
    fn what_failing_tests_said_is_kept() {
        let one = "---- one stdout ----\n\nthread 'one' panicked at tests/a.rs:7:9:\nno\n\n";
        let two = format!("---- two stdout ----\n{}", "never\n".repeat(MAX_LINES));
        let names = "failures:\n    one\n    two\n\n";
        let text =
            format!("test one ... FAILED\n\nfailures:\n\n{one}{two}never\n\n{names}{BAD}test three ... ok\n");
        let counts = copy(text.as_bytes(), &mut Vec::new()).unwrap();
        assert_eq!(counts.failures, [one.to_owned(), two]);
    }

    #[test]
    fn other_lines_are_not_results() {
        for line in
            ["", "test result", "say: test result: ok. 1 passed; 0 failed;", "test result: ok. 1 passed;"]
        {
            assert_eq!(result_line(line), None, "{line}");
        }
    }

    #[test]
    fn counts_of_a_failing_command_are_kept() {
        let script = format!("printf '{}'; exit 1", OK.trim_end());
        let mut copied = Vec::new();
        let (counts, result) = stream(Command::new("sh").args(["-c", &script]), &mut copied).unwrap();
        assert_eq!(copied, OK.trim_end().as_bytes());
        assert_eq!(counts, tally(32, 0));
        assert!(result.unwrap_err().to_string().ends_with("exit status: 1"));
    }

    #[test]
    fn a_run_that_fails_without_a_failing_test_is_a_failure() {
        let broken = || Err("cargo test: exit status: 101".into());
        assert_eq!(complaint(&tally(3, 0), Ok(())), None);
        assert_eq!(complaint(&tally(3, 1), broken()), None);
        assert_eq!(complaint(&tally(3, 0), broken()).as_deref(), Some("cargo test: exit status: 101"));
        assert_eq!(complaint(&tally(0, 0), Ok(())).as_deref(), Some("no test was run"));
    }

    #[test]
    fn failing_steps_are_counted_and_the_next_one_is_run() {
        let mut tally = Tally::default();
        tally.step("one", || Err("no".into()));
        tally.step("two", || Ok(()));
        tally.tests("three", |_| Command::new("/nonexistent/cargo"));
        tally.tests("four", |_| Command::new("true"));
        assert_eq!((tally.passed, tally.failed), (0, 3));
        assert_eq!(tally.failures[0], "no\n== one failed");
    }

    /// Plays a libtest whose first run has the failures of `names`, and whose second one says `again`.
    fn twice<const N: usize>(names: [&str; N], again: &'static str) -> Tally {
        let failures = names.map(|name| format!("---- {name} stdout ----\nno\n\n")).concat();
        let first = format!(
            "failures:\n\n{failures}failures:\n\ntest result: FAILED. 9 passed; {} failed; ",
            names.len()
        );
        let mut tally = Tally::default();
        let play = |tests: &[String]| {
            let is_first = tests.is_empty();
            let mut shell = Command::new("sh");
            shell.args(["-c", "printf '%s\\n' \"$0\"; exit $1", if is_first { &first } else { again }]);
            shell.arg(if is_first || again.contains("FAILED") { "1" } else { "0" });
            shell
        };
        // Not where whoever counts the results of this very test would find them.
        tally.show_tests("tests", play, &mut io::sink());
        tally
    }

    #[test]
    fn a_few_that_fail_are_run_again_and_told() {
        let tally = twice(["one"], "test result: ok. 1 passed; 0 failed; ");
        assert_eq!((tally.passed, tally.failed), (10, 0));
        assert_eq!(tally.failures, ["---- one stdout ----\nno\n\n== failed once, and was run again\n"]);

        let again = "failures:\n\n---- one stdout ----\nnever\n\nfailures:\n\ntest result: FAILED. 0 passed; 1 failed; ";
        let tally = twice(["one"], again);
        assert_eq!((tally.passed, tally.failed), (9, 1));
        assert_eq!(tally.failures.last().unwrap(), "---- one stdout ----\nnever\n\n");
    }

    #[test]
    fn none_that_is_not_found_again_passes() {
        assert_eq!(twice(["one"], "test result: ok. 0 passed; 0 failed; ").failed, 1);
        assert_eq!(twice(["one", "two"], "test result: ok. 1 passed; 0 failed; ").failed, 1);
    }

    #[test]
    fn many_that_fail_are_no_accident() {
        let tally = twice(["one", "two", "three", "four"], "test result: ok. 4 passed; 0 failed; ");
        assert_eq!((tally.passed, tally.failed), (9, 4));
    }
}
