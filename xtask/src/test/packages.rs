//! Every crate as it would be published, unpacked and compiled by the oldest Rust that the manifests promise.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::process::{self, Result};
use crate::workspace::Workspace;

/// What cargo has in its home that it may use: what was downloaded, how to get more, and where from.
const SHARED: [&str; 4] = ["registry/cache", "registry/index", "config.toml", "config"];

pub(super) fn check(workspace: &Workspace) -> Result {
    let folder = workspace.target.join("oldest");
    let _not_there = fs::remove_dir_all(&folder);
    let home = folder.join("home");
    lend(&process::cargo_home().ok_or("neither CARGO_HOME nor HOME is set")?, &home)?;
    let mut rustup = Command::new("rustup");
    rustup.current_dir(&workspace.root).args(["run", &workspace.product()?.rust_version, "cargo"]);
    rustup.args(["package", "--workspace", "--quiet", "--allow-dirty", "--offline", "--target-dir"]);
    rustup.arg(folder.join("target")).env("CARGO_HOME", home);
    let private = workspace.members.iter().filter(|package| !package.is_published);
    process::tell(rustup.args(private.flat_map(|package| ["--exclude", &package.name])))
}

/// Makes a home for cargo that shares what `from` has downloaded, but nothing that is unpacked.
///
/// Crates that are not published yet are unpacked in cargo's home too, in a folder that is named for the checkout's path,
/// and stay there: cargo would compile what an earlier run unpacked, for the version is the same.
fn lend(from: &Path, to: &Path) -> Result {
    let from = fs::canonicalize(from).map_err(|error| format!("{}: {error}", from.display()))?;
    fs::create_dir_all(to.join("registry"))?;
    for name in SHARED.into_iter().filter(|name| from.join(name).exists()) {
        symlink(from.join(name), to.join(name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_downloaded_is_shared_and_what_is_unpacked_is_not() {
        let folder = std::env::temp_dir().join(format!("nsntrace-home-{}", std::process::id()));
        let (from, to) = (folder.join("from"), folder.join("to"));
        for name in ["registry/cache/one", "registry/src/-overlay/nsntrace-sys-0.1.0"] {
            fs::create_dir_all(from.join(name)).unwrap();
        }
        lend(&from, &to).unwrap();
        assert!(to.join("registry/cache/one").exists());
        assert!(!to.join("registry/src").exists());
        assert!(!to.join("config.toml").exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
