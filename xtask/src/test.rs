//! `test`: everything that must hold, in one run with one closing line.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::ops::AddAssign;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use crate::process::{self, Result};
use crate::workspace::{PRODUCT, Workspace};
use crate::{deb, dist, fuzz, tidy, tools, vm};

/// Runs every check and every test, whatever fails before, and closes with `N passed, N failed`.
///
/// A step that fails without a failing test of its own, such as a compiler error, counts as one failure.
pub(crate) fn run() -> Result<ExitCode> {
    tools::check()?;
    fuzz::check()?;
    deb::check_tool()?;
    let workspace = Workspace::load()?;
    let mut tally = Tally::default();
    check(&workspace, &mut tally);
    package(&workspace, &mut tally);
    test_debug(&workspace, &mut tally);
    test_oracles(&workspace, &mut tally);
    test_static(&workspace, &mut tally);
    tally.step("vm", || vm::run(&[]));
    tally.step("fuzz", || fuzz::run(fuzz::DEFAULT_SECONDS));
    println!("{} passed, {} failed", tally.passed, tally.failed);
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check(workspace: &Workspace, tally: &mut Tally) {
    let cargo = |arguments: &[&str]| process::cargo(&workspace.root, arguments);
    let mut rustdoc = cargo(&["doc", "--workspace", "--no-deps"]);
    rustdoc.env("RUSTDOCFLAGS", "-D warnings");
    tally.step("fmt", || process::run(&mut cargo(&["fmt", "--all", "--check"])));
    let lint = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    tally.step("clippy", || process::run(&mut cargo(&lint)));
    tally.step("tidy", tidy::run);
    tally.step("rustdoc", || process::run(&mut rustdoc));
}

/// Every crate as it would be published, unpacked and compiled by the oldest Rust that the manifests promise.
fn package(workspace: &Workspace, tally: &mut Tally) {
    tally.step("packages, by the oldest Rust", || {
        let target = workspace.target.join("oldest");
        // Cargo would take what it has once unpacked there for what is there today: the version is the same.
        let _not_there = fs::remove_dir_all(&target);
        let mut rustup = Command::new("rustup");
        rustup.current_dir(&workspace.root).args(["run", &workspace.product()?.rust_version, "cargo"]);
        rustup.args(["package", "--workspace", "--quiet", "--allow-dirty", "--offline", "--target-dir"]);
        rustup.arg(target);
        let private = workspace.members.iter().filter(|package| !package.is_published);
        process::run(rustup.args(private.flat_map(|package| ["--exclude", &package.name])))
    });
}

fn test_debug(workspace: &Workspace, tally: &mut Tally) {
    let build = ["build", "--package", PRODUCT];
    tally.step("build", || process::run(&mut process::cargo(&workspace.root, build)));
    let mut tests = cargo_test(&workspace.root, &["--workspace"]);
    tests.env(BINARY, workspace.target.join("debug").join(PRODUCT));
    tally.tests("tests", &mut tests);
}

/// The oracles link C libraries, so they are a workspace of their own that nothing else sees.
fn test_oracles(workspace: &Workspace, tally: &mut Tally) {
    let manifest = workspace.root.join(ORACLES);
    if !manifest.exists() {
        return;
    }
    let mut tests = cargo_test(&workspace.root, &["--manifest-path", ORACLES]);
    tests.env("CARGO_TARGET_DIR", workspace.target.join("oracles"));
    tally.tests("oracles", &mut tests);
}

fn test_static(workspace: &Workspace, tally: &mut Tally) {
    let mut made = None;
    tally.step("dist", || {
        made = Some(dist::run()?);
        Ok(())
    });
    let Some(binary) = made else { return };
    let mut tests = cargo_test(&workspace.root, &["--package", "nsntrace-tests", "--", SMOKE]);
    tests.env(BINARY, &binary.path);
    tally.tests("smoke tests of the static binary", &mut tests);
    tally.step("the same binary, made elsewhere", || dist::check_twice(workspace, &binary));
    tally.step("binaries of other machines", || dist::check_foreign(workspace, &binary));
    tally.step("deb", deb::make);
}

fn cargo_test(root: &Path, arguments: &[&str]) -> Command {
    let mut cargo = process::cargo(root, ["test", "--no-fail-fast"]);
    cargo.args(arguments);
    cargo
}

const ORACLES: &str = "tests/oracles/Cargo.toml";
/// Names the binary that end-to-end tests run.
const BINARY: &str = "NSNTRACE_BIN";
/// What the names of the tests begin with that are run on the static binary too.
const SMOKE: &str = "smoke_";

/// How many tests passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl Tally {
    /// Runs a check that counts only when it fails.
    fn step(&mut self, name: &str, check: impl FnOnce() -> Result) {
        println!("== {name}");
        if let Err(error) = check() {
            println!("{error}\n== {name} failed");
            self.failed += 1;
        }
    }

    /// Runs a `cargo test`, shows what it says as it says it, and counts.
    fn tests(&mut self, name: &str, command: &mut Command) {
        println!("== {name}");
        let (counts, result) = match stream(command, &mut io::stdout()) {
            Ok(outcome) => outcome,
            Err(error) => (Self::default(), Err(error)),
        };
        *self += counts;
        if let Some(complaint) = complaint(counts, result) {
            println!("{complaint}\n== {name} failed");
            self.failed += 1;
        }
    }
}

/// What is wrong with a run of tests besides tests that failed.
fn complaint(counts: Tally, result: Result) -> Option<String> {
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
    while from.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        to.flush()?;
        counts += result_line(&String::from_utf8_lossy(&line)).unwrap_or_default();
        line.clear();
    }
    Ok(counts)
}

/// Reads libtest's `test result: ok. 32 passed; 0 failed; 0 ignored; ..`.
fn result_line(line: &str) -> Option<Tally> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |what: &str| {
        let piece = counts.split("; ").find_map(|piece| piece.strip_suffix(what))?;
        piece.trim().parse().ok()
    };
    Some(Tally { passed: count("passed")?, failed: count("failed")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &str =
        "test result: ok. 32 passed; 0 failed; 0 ignored; 0 measured; 5 filtered out; finished in 0.74s\n";
    const BAD: &str =
        "test result: FAILED. 2 passed; 5 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s\n";

    #[test]
    fn result_lines_are_summed_and_everything_is_copied() {
        let text = format!("running 32 tests\ntest a ... ok\n{OK}\u{1}odd\n{BAD}test result: what?");
        let mut copied = Vec::new();
        let counts = copy(text.as_bytes(), &mut copied).unwrap();
        assert_eq!(counts, Tally { passed: 34, failed: 5 });
        assert_eq!(copied, text.as_bytes());
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
        assert_eq!(counts, Tally { passed: 32, failed: 0 });
        assert!(result.unwrap_err().to_string().ends_with("exit status: 1"));
    }

    #[test]
    fn a_run_that_fails_without_a_failing_test_is_a_failure() {
        let broken = || Err("cargo test: exit status: 101".into());
        let counts = |passed, failed| Tally { passed, failed };
        assert_eq!(complaint(counts(3, 0), Ok(())), None);
        assert_eq!(complaint(counts(3, 1), broken()), None);
        assert_eq!(complaint(counts(3, 0), broken()).as_deref(), Some("cargo test: exit status: 101"));
        assert_eq!(complaint(counts(0, 0), Ok(())).as_deref(), Some("no test was run"));
    }

    #[test]
    fn failing_steps_are_counted_and_the_next_one_is_run() {
        let mut tally = Tally::default();
        tally.step("one", || Err("no".into()));
        tally.step("two", || Ok(()));
        tally.tests("three", &mut Command::new("/nonexistent/cargo"));
        tally.tests("four", &mut Command::new("true"));
        assert_eq!(tally, Tally { passed: 0, failed: 3 });
    }
}
