//! Rust's library, made from its sources: the one that comes with Rust is made for speed, and brings what it takes to print a backtrace.
//!
//! Cargo takes the flags for that from nightly compilers only, so it is told that this is one. It is the compiler of `rust-toolchain.toml` nevertheless.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{self, Result};

/// The sources of Rust's library.
pub(super) struct Library {
    folder: PathBuf,
}

impl Library {
    /// Those of the compiler that is used in `root`.
    ///
    /// # Errors
    /// They are not installed.
    pub(super) fn find(root: &Path) -> Result<Self> {
        let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        rustc.current_dir(root).args(["--print", "sysroot"]);
        let library = Self::of(Path::new(process::output(&mut rustc)?.trim_end()));
        let folder = &library.folder;
        if folder.join("library/Cargo.lock").exists() {
            return Ok(library);
        }
        let missing = format!("the sources of Rust's library are missing from {}", folder.display());
        Err(format!("{missing}\nhint: rustup component add rust-src").into())
    }

    /// Those of the compiler in `sysroot`.
    pub(super) fn of(sysroot: &Path) -> Self {
        Self { folder: sysroot.join(SOURCES) }
    }

    /// Has `cargo build` make the library.
    pub(super) fn make_by(cargo: &mut Command) {
        cargo.args(["-Zbuild-std=std,panic_abort", "-Zbuild-std-features=optimize_for_size"]);
        // What is made small is not inlined where it is used, and of these two much is used for each packet.
        cargo.args(
            ["core", "alloc"].map(|name| format!("--config=profile.release.package.{name}.opt-level=3")),
        );
        cargo.env("RUSTC_BOOTSTRAP", "1");
    }

    /// Where the sources are, which is not to be in a binary.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

const SOURCES: &str = "lib/rustlib/src/rust";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_made_for_size_and_without_backtraces() {
        let mut cargo = Command::new("cargo");
        Library::make_by(&mut cargo);
        let words: Vec<_> = cargo.get_args().filter_map(|word| word.to_str()).collect();
        let features = words.iter().find_map(|word| word.strip_prefix("-Zbuild-std-features="));
        assert_eq!(features, Some("optimize_for_size"));
    }
}
