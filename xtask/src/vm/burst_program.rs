//! Building `burst.rs` for the guest.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::machine::Machine;
use crate::process::{self, Result};
use crate::workspace::Workspace;

/// Compiles it, static and without cargo, which would compile all that xtask needs for the guest as well.
pub(super) fn build(workspace: &Workspace, folder: &Path, machine: &Machine) -> Result<PathBuf> {
    let program = folder.join("burst");
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.current_dir(&workspace.root).args(["--edition", "2024", "--target", machine.triple]);
    // As `dist` does: Rust's own linker makes programs of every architecture.
    rustc.args(["-C", "linker=rust-lld", "-C", "opt-level=2", "-C", "strip=symbols", SOURCE, "-o"]);
    process::run(rustc.arg(&program))?;
    Ok(program)
}

const SOURCE: &str = "xtask/src/vm/burst.rs";
