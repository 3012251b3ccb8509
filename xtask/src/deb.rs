//! `deb`: a Debian package around each static binary, checked, in `target/dist`.
//!
//! # Theory of operation
//! What goes where is in crates/nsntrace/Cargo.toml, and cargo-deb packs it. Manual, completions, list of parts and licences are those of
//! the archive that `dist` made: they are laid beside the binary, where cargo-deb looks. lintian judges the package, dpkg
//! installs and removes it in a root of its own, and the parser of a newer AppArmor reads the profile.
//!
//! # References
//! <https://github.com/kornelski/cargo-deb>; deb(5), dpkg(1), lintian(1), apparmor.d(5).

mod apparmor;
mod copyright;
mod install;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::dist::{self, Parcel};
use crate::process::{self, Result};
use crate::workspace::{PRODUCT, Workspace};
use crate::{completions, manual};

/// Makes what `dist` makes, and packages of it.
pub(crate) fn run() -> Result {
    check_tool()?;
    let _native = dist::run()?;
    make()
}

/// Makes packages of what `dist` has made, and checks them.
///
/// # Errors
/// Something is missing, or a check fails.
pub(crate) fn make() -> Result {
    let workspace = Workspace::load()?;
    let parcels = dist::parcels(&workspace)?;
    for parcel in &parcels {
        let package = pack(&workspace, parcel)?;
        // Of an architecture that is not this machine's, too.
        process::run(Command::new("lintian").args(LINTIAN).arg(&package))?;
        if parcel.arch == std::env::consts::ARCH {
            install::check(&package, &workspace.product()?.version)?;
        }
        println!("{} {} bytes", package.display(), fs::metadata(&package)?.len());
    }
    apparmor::check(&workspace)
}

/// # Errors
/// Says how to get what packs.
pub(crate) fn check_tool() -> Result {
    let cargo_deb = process::output(&mut process::cargo(Path::new("/"), ["deb", "--version"]));
    match cargo_deb {
        Ok(_version) => Ok(()),
        Err(_none) => {
            let hint = format!("cargo install cargo-deb --locked --version {CARGO_DEB}");
            Err(format!("packing needs cargo-deb\nhint: {hint}").into())
        }
    }
}

fn pack(workspace: &Workspace, parcel: &Parcel) -> Result<PathBuf> {
    let beside = workspace.target.join(parcel.triple).join("release/debian");
    let _ = fs::remove_dir_all(&beside);
    fs::create_dir_all(&beside)?;
    for (from, name) in parts() {
        fs::copy(parcel.tree.join(&from), beside.join(name))
            .map_err(|error| format!("cannot copy {from}: {error}"))?;
    }
    fs::write(beside.join("copyright"), copyright::text(workspace, &parcel.tree.join("licences"))?)?;
    process::run(Command::new("gzip").arg("-9n").arg(beside.join(manual::NAME)))?;
    let folder = workspace.target.join("dist");
    let debian = parcel.debian;
    let package = folder.join(format!("{PRODUCT}_{}-{REVISION}_{debian}.deb", workspace.product()?.version));
    let mut cargo =
        process::cargo(&workspace.root, ["deb", "--quiet", "--no-build", "--no-strip", "--locked"]);
    cargo.args(["--package", PRODUCT, "--target", parcel.triple, "--deb-revision", REVISION, "--output"]);
    process::run(cargo.arg(&package).env("CARGO_TARGET_DIR", &workspace.target))?;
    Ok(package)
}

/// Files of the archive that are files of the package, and what they are called there.
fn parts() -> impl Iterator<Item = (String, &'static str)> {
    let scripts = completions::NAMES.map(|name| (format!("completions/{name}"), name));
    [(format!("man/man1/{}", manual::NAME), manual::NAME), ("sbom.cdx.json".to_owned(), "sbom.cdx.json")]
        .into_iter()
        .chain(scripts)
}

/// The version that CI installs.
const CARGO_DEB: &str = "3.8.0";
/// Of the package, while the version of the program stays.
const REVISION: &str = "1";
/// Errors and warnings fail. What is left aside: that the binary is static, which is the point of it, and then needs neither libraries nor
/// packages; and bugs of Debian's own that a first upload closes.
const LINTIAN: [&str; 5] = [
    "--allow-root",
    "--fail-on",
    "error,warning",
    "--suppress-tags",
    "empty-field,initial-upload-closes-no-bugs,shared-library-lacks-prerequisites,statically-linked-binary",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    #[test]
    fn the_changelog_ends_with_the_version_that_is_packed() {
        let workspace = Workspace::load().unwrap();
        let text = workspace::read(&workspace.root, "crates/nsntrace/debian/changelog").unwrap();
        let version = &workspace.product().unwrap().version;
        assert!(text.starts_with(&format!("{PRODUCT} ({version}-{REVISION}) ")), "{text}");
    }

    /// CI installs it before anything is built.
    #[test]
    fn ci_installs_this_cargo_deb() {
        let workspace = Workspace::load().unwrap();
        let script = workspace::read(&workspace.root, ".ci/run").unwrap();
        assert!(script.contains(&format!("cargo install cargo-deb --locked --version {CARGO_DEB}\n")));
    }

    #[test]
    fn every_part_is_named_in_the_manifest() {
        let workspace = Workspace::load().unwrap();
        let manifest = workspace::read(&workspace.root, "crates/nsntrace/Cargo.toml").unwrap();
        for (_, name) in parts() {
            assert!(manifest.contains(&format!("\"target/release/debian/{name}")), "{name}");
        }
    }
}
