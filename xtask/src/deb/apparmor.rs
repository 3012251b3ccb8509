//! That AppArmor reads our profile: the parser of Debian 13, since that of Debian 12 is older than user namespaces in profiles.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::apt::{Apt, Release};
use crate::process::{self, Result};
use crate::workspace::Workspace;

/// Has the profile compiled, and not loaded. The parser is fetched once, and kept in the target folder under `apparmor`.
///
/// # Errors
/// It cannot be fetched, or does not like the profile.
pub(super) fn check(workspace: &Workspace) -> Result {
    let folder = workspace.target.join("apparmor");
    let root = folder.join("root");
    if !root.exists() {
        fetch(&folder, &root)?;
    }
    // As the package installs it.
    let profile = root.join("usr/share/nsntrace/apparmor");
    fs::create_dir_all(profile.parent().expect("it is below the root"))?;
    fs::copy(workspace.root.join("crates/nsntrace/debian/apparmor"), &profile)?;
    let parser = |arguments: &[&str]| {
        let mut chroot = Command::new("chroot");
        chroot.arg(&root).arg("/usr/sbin/apparmor_parser").args(arguments).arg("/etc/apparmor.d/nsntrace");
        process::output(&mut chroot)
    };
    parser(&["--skip-kernel-load", "--skip-cache"])?;
    let names = parser(&["--names"])?;
    if names == "nsntrace\n" { Ok(()) } else { Err(format!("AppArmor reads of {names:?}").into()) }
}

fn fetch(folder: &Path, root: &Path) -> Result {
    let architecture = process::output(Command::new("dpkg").arg("--print-architecture"))?;
    let apt = Apt::new(folder, architecture.trim_end(), &[RELEASE])?;
    apt.update()?;
    // Under its name only when it is whole.
    let partial = folder.join("root.partial");
    let _ = fs::remove_dir_all(&partial);
    for package in apt.download(&PACKAGES, &folder.join("packages"))? {
        process::run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&partial))?;
    }
    // Debian 13 has moved everything below /usr, and leaves those to another package.
    for name in ["lib", "lib64"] {
        symlink(Path::new("usr").join(name), partial.join(name))?;
    }
    symlink("/usr/share/nsntrace/apparmor", partial.join("etc/apparmor.d/nsntrace"))?;
    Ok(fs::rename(partial, root)?)
}

const RELEASE: Release = Release { archive: "debian", suite: "trixie" };
/// The parser and what it is linked to.
const PACKAGES: [&str; 4] = ["apparmor", "libc6", "libgcc-s1", "libstdc++6"];
