//! That a package can be installed, run and removed, in a root that has busybox and dpkg's files, and nothing else.
//!
//! The profile is the point: AppArmor before 4.0 must not see it, a newer one must, whichever of the two packages comes first, and
//! a profile of somebody else's stays.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{self, Result};
use crate::tools;

/// Installs `package` once on an old AppArmor that becomes a new one, and once where there is a profile.
///
/// # Errors
/// dpkg fails, or what is there afterwards is not what should be.
pub(super) fn check(package: &Path, version: &str) -> Result {
    grows(&Root::make("grows")?, package, version)?;
    keeps(&Root::make("keeps")?, package)
}

fn grows(root: &Root, package: &Path, version: &str) -> Result {
    root.dpkg("--install", package)?;
    let said = process::output(Command::new("chroot").arg(&root.0).args(["/usr/bin/nsntrace", "--version"]))?;
    expect("the version", &said, &format!("nsntrace {version}\n"))?;
    let missing: Vec<_> = FILES.iter().copied().filter(|file| !root.0.join(file).exists()).collect();
    expect("what is missing", &missing.join(" "), "")?;
    expect("the profile with an old AppArmor", &root.profile(), "none")?;
    root.dpkg("--install", &root.newer_apparmor()?)?;
    expect("the profile with a new AppArmor", &root.profile(), OURS)?;
    root.dpkg("--remove", Path::new("nsntrace"))?;
    expect("the profile after removal", &root.profile(), "none")?;
    expect("the binary after removal", &root.0.join("usr/bin/nsntrace").exists().to_string(), "false")
}

fn keeps(root: &Root, package: &Path) -> Result {
    root.dpkg("--install", &root.newer_apparmor()?)?;
    root.dpkg("--install", package)?;
    expect("the profile where AppArmor is new", &root.profile(), OURS)?;
    let profile = root.0.join(PROFILE);
    fs::remove_file(&profile)?;
    fs::write(&profile, "somebody's")?;
    root.dpkg("--install", package)?;
    root.dpkg("--remove", Path::new("nsntrace"))?;
    expect("the profile of somebody", &root.profile(), "somebody's")
}

fn expect(what: &str, seen: &str, expected: &str) -> Result {
    if seen == expected { Ok(()) } else { Err(format!("{what}: {seen:?}, not {expected:?}").into()) }
}

/// A folder that is the root of a system, until this value ends.
struct Root(PathBuf);

impl Root {
    fn make(name: &str) -> Result<Self> {
        let root = Self(std::env::temp_dir().join(format!("nsntrace-deb-{}-{name}", std::process::id())));
        for folder in ["bin", "etc/apparmor.d/abi", "var/lib/dpkg/info", "var/lib/dpkg/updates"] {
            fs::create_dir_all(root.0.join(folder))?;
        }
        fs::write(root.0.join("var/lib/dpkg/status"), "")?;
        let busybox = tools::find("busybox").ok_or("there is no busybox")?;
        fs::copy(busybox, root.0.join("bin/busybox"))?;
        for name in ["sh", "ln", "rm", "readlink"] {
            std::os::unix::fs::symlink("busybox", root.0.join("bin").join(name))?;
        }
        Ok(root)
    }

    /// Its scripts run in this root.
    fn dpkg(&self, action: &str, what: &Path) -> Result {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg(format!("--root={}", self.0.display())).arg(action).arg(what);
        process::output(&mut dpkg).map(drop)
    }

    /// A package that has what matters to us of AppArmor 4: the file that says so, which is one that dpkg asks about.
    fn newer_apparmor(&self) -> Result<PathBuf> {
        let tree = self.0.join("tmp/apparmor");
        for (name, text) in [
            ("etc/apparmor.d/abi/4.0", ""),
            ("DEBIAN/conffiles", "/etc/apparmor.d/abi/4.0\n"),
            (
                "DEBIAN/control",
                "Package: apparmor\nVersion: 4.0\nArchitecture: all\nMaintainer: a <a@b>\nDescription: of it\n",
            ),
        ] {
            let path = tree.join(name);
            fs::create_dir_all(path.parent().expect("it is below the tree"))?;
            fs::write(path, text)?;
        }
        let package = self.0.join("tmp/apparmor.deb");
        process::output(
            Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(&tree).arg(&package),
        )?;
        Ok(package)
    }

    /// Where the profile leads, or what is in it.
    fn profile(&self) -> String {
        let path = self.0.join(PROFILE);
        match fs::read_link(&path) {
            Ok(target) => target.display().to_string(),
            Err(_no_link) => fs::read_to_string(&path).unwrap_or_else(|_none| "none".to_owned()),
        }
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // What stays is in the folder for such things, and nobody is left to tell.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Where man(1) and each shell look.
const FILES: [&str; 7] = [
    "usr/share/man/man1/nsntrace.1.gz",
    "usr/share/bash-completion/completions/nsntrace",
    "usr/share/zsh/vendor-completions/_nsntrace",
    "usr/share/fish/vendor_completions.d/nsntrace.fish",
    "usr/share/elvish/lib/nsntrace.elv",
    "usr/share/doc/nsntrace/copyright",
    "usr/share/doc/nsntrace/changelog.Debian.gz",
];
const PROFILE: &str = "etc/apparmor.d/nsntrace";
const OURS: &str = "/usr/share/nsntrace/apparmor";
