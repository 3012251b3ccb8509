//! `test`: everything that must hold, in one run with one closing line.

mod packages;
mod tally;

use std::path::Path;
use std::process::{Command, ExitCode};

use self::tally::Tally;
use crate::process::{self, Result};
use crate::workspace::{PRODUCT, Workspace};
use crate::{deb, dist, fuzz, tidy, tools, vm};

/// Runs every check and every test, whatever fails before, and closes with `N passed, N failed`.
///
/// A step that fails without a failing test of its own, such as a compiler error, counts as one failure. What failed
/// is told again right before the closing line, where whoever reads only the end of a long log finds it, and so is a
/// test that failed once and passed when it was run again by itself.
pub(crate) fn run() -> Result<ExitCode> {
    tools::check()?;
    fuzz::check()?;
    deb::check_tool()?;
    let workspace = Workspace::load()?;
    let mut tally = Tally::default();
    check(&workspace, &mut tally);
    tally.step("packages, by the oldest Rust", || packages::check(&workspace));
    test_debug(&workspace, &mut tally);
    test_oracles(&workspace, &mut tally);
    test_static(&workspace, &mut tally);
    tally.step("vm", || vm::run(&[]));
    tally.step("fuzz", || fuzz::run(fuzz::DEFAULT_SECONDS));
    for failure in &tally.failures {
        println!("{failure}");
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check(workspace: &Workspace, tally: &mut Tally) {
    let cargo = |arguments: &[&str]| process::cargo(&workspace.root, arguments);
    let mut rustdoc = cargo(&["doc", "--workspace", "--no-deps"]);
    rustdoc.env("RUSTDOCFLAGS", "-D warnings");
    tally.step("fmt", || process::run(&mut cargo(&["fmt", "--all", "--check"])));
    let lint = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    tally.step("clippy", || process::tell(&mut cargo(&lint)));
    tally.step("tidy", tidy::run);
    tally.step("rustdoc", || process::tell(&mut rustdoc));
}

fn test_debug(workspace: &Workspace, tally: &mut Tally) {
    let build = ["build", "--package", PRODUCT];
    tally.step("build", || process::tell(&mut process::cargo(&workspace.root, build)));
    let binary = workspace.target.join("debug").join(PRODUCT);
    tally.tests("tests", |tests| {
        let mut cargo = cargo_test(&workspace.root, &["--workspace"], tests);
        cargo.env(BINARY, &binary);
        cargo
    });
}

/// The oracles link C libraries, so they are a workspace of their own that nothing else sees.
fn test_oracles(workspace: &Workspace, tally: &mut Tally) {
    let manifest = workspace.root.join(ORACLES);
    if !manifest.exists() {
        return;
    }
    tally.tests("oracles", |tests| {
        let mut cargo = cargo_test(&workspace.root, &["--manifest-path", ORACLES], tests);
        cargo.env("CARGO_TARGET_DIR", workspace.target.join("oracles"));
        cargo
    });
}

fn test_static(workspace: &Workspace, tally: &mut Tally) {
    let mut made = None;
    tally.step("dist", || {
        made = Some(dist::run()?);
        Ok(())
    });
    let Some(binary) = made else { return };
    tally.tests("smoke tests of the static binary", |tests| {
        let tests = if tests.is_empty() { &[SMOKE.to_owned()] } else { tests };
        let mut cargo = cargo_test(&workspace.root, &["--package", "nsntrace-tests"], tests);
        cargo.env(BINARY, &binary.path);
        cargo
    });
    tally.step("the same binary, made elsewhere", || dist::check_twice(workspace, &binary));
    tally.step("binaries of other machines", || dist::check_foreign(workspace, &binary));
    tally.step("deb", deb::make);
}

/// `tests` are for libtest: names, options.
fn cargo_test(root: &Path, packages: &[&str], tests: &[String]) -> Command {
    let mut cargo = process::cargo(root, ["test", "--no-fail-fast"]);
    cargo.args(packages).arg("--").args(tests);
    cargo
}

const ORACLES: &str = "tests/oracles/Cargo.toml";
/// Names the binary that end-to-end tests run.
const BINARY: &str = "NSNTRACE_BIN";
/// What the names of the tests begin with that are run on the static binary too.
const SMOKE: &str = "smoke_";
