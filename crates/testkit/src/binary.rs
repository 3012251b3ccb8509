//! The binary under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The path of nsntrace: `NSNTRACE_BIN`, or the one that cargo builds beside this test, brought up to date once.
pub fn nsntrace() -> &'static Path {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| match std::env::var_os("NSNTRACE_BIN") {
        Some(path) => {
            std::fs::canonicalize(&path).map_err(|e| format!("NSNTRACE_BIN={}: {e}", path.display()))
        }
        None => build(),
    });
    found.as_ref().unwrap_or_else(|why| panic!("{why}"))
}

/// Runs `cargo build -p nsntrace` for the profile and target directory that this test was built in.
fn build() -> Result<PathBuf, String> {
    let test = std::env::current_exe().expect("procfs is there");
    let profile_dir = test.ancestors().nth(2).expect("a test is at TARGET/PROFILE/deps/NAME");
    let target_dir = profile_dir.parent().expect("a profile is in a target directory");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["build", "--quiet", "-p", "nsntrace", "--target-dir"]).arg(target_dir);
    if profile_dir.ends_with("release") {
        cargo.arg("--release");
    }
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    match cargo.status() {
        Ok(status) if status.success() => Ok(profile_dir.join("nsntrace")),
        Ok(_) => Err(format!("{cargo:?} failed; NSNTRACE_BIN names a binary that is built already")),
        Err(e) => Err(format!("cannot run {cargo:?}: {e}")),
    }
}
