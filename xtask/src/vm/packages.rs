//! A kernel, its modules and a static busybox, out of Debian's archive.
//!
//! # References
//! apt-cache(8), dpkg-deb(1).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::machine::Machine;
use crate::apt::{Apt, only_file};
use crate::process::{self, Result};

/// What was unpacked.
#[derive(Debug)]
pub(super) struct System {
    /// The kernel's version, as `uname -r` says it.
    pub(super) release: String,
    pub(super) kernel: PathBuf,
    pub(super) busybox: PathBuf,
    /// Holds `lib/modules`.
    pub(super) root: PathBuf,
}

/// Unpacks what `machine` boots, in `folder`, fetched unless it is there.
///
/// # Errors
/// The archive cannot be reached, or has no such package.
pub(super) fn fetch(folder: &Path, machine: &Machine) -> Result<System> {
    let root = folder.join("root");
    if !root.exists() {
        // Under its name only when it is whole.
        let partial = folder.join("root.partial");
        let _ = fs::remove_dir_all(&partial);
        for package in download(folder, machine)? {
            process::run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&partial))?;
        }
        fs::rename(&partial, &root)?;
    }
    System::find(root)
}

impl System {
    fn find(root: PathBuf) -> Result<Self> {
        let kernel = only_file(&root.join("boot"), |name| name.starts_with("vmlinuz-"))?;
        let name = kernel.file_name().unwrap_or_default().to_string_lossy();
        let release = name.trim_start_matches("vmlinuz-").to_owned();
        let busybox = ["bin/busybox", "usr/bin/busybox"].map(|path| root.join(path));
        let busybox =
            busybox.into_iter().find(|path| path.exists()).ok_or("busybox-static has no busybox")?;
        Ok(Self { release, kernel, busybox, root })
    }

    /// The folder that depmod(8) and modprobe(8) work in.
    pub(super) fn modules(&self) -> PathBuf {
        let below = Path::new("lib/modules").join(&self.release);
        let folder = self.root.join(&below);
        // Debian 13 has moved it.
        if folder.exists() { folder } else { self.root.join("usr").join(below) }
    }
}

/// The one package of each kind, as files.
fn download(folder: &Path, machine: &Machine) -> Result<Vec<PathBuf>> {
    let apt = Apt::new(folder, machine.debian, &[])?;
    println!("fetching a kernel for {}", machine.arch);
    apt.update()?;
    let image = kernel_package(&apt, machine)?;
    apt.download(&[&image, BUSYBOX], &folder.join("packages"))
}

/// The newest kernel: what the package that is always named the same depends on.
fn kernel_package(apt: &Apt, machine: &Machine) -> Result<String> {
    let name = format!("linux-image-cloud-{}", machine.debian);
    let text = process::output(&mut apt.command("apt-cache", &["depends", &name]))?;
    let found = dependency(&text, "linux-image-").map(str::to_owned);
    Ok(found.ok_or_else(|| format!("the archive has no {name}; is this Debian?"))?)
}

/// The first dependency in what `apt-cache depends` prints that begins so.
fn dependency<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    let mut names = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names.find(|name| name.starts_with(start))
}

const BUSYBOX: &str = "busybox-static";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_what_the_meta_package_depends_on() {
        let text =
            "linux-image-cloud-arm64\n  Depends: linux-base\n  Depends: linux-image-6.1.0-56-cloud-arm64\n";
        assert_eq!(dependency(text, "linux-image-"), Some("linux-image-6.1.0-56-cloud-arm64"));
        assert_eq!(dependency("linux-image-cloud-arm64\n", "linux-image-"), None);
    }
}
