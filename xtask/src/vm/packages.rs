//! A kernel, its modules and a static busybox, out of Debian's archive.
//!
//! # References
//! dpkg-deb(1).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::kernels::Kernel;
use crate::apt::{Apt, only_file};
use crate::process::{self, Result};

/// What was unpacked.
#[derive(Debug)]
pub(super) struct System {
    /// The kernel's version, as `uname -r` says it.
    pub(super) release: String,
    pub(super) kernel: PathBuf,
    pub(super) busybox: PathBuf,
    /// The folder whose `lib/modules` depmod(8) works in.
    pub(super) base: PathBuf,
    /// For what is made of it.
    pub(super) folder: PathBuf,
}

/// Unpacks a kernel and what else is booted, in `folder`, fetched unless it is there. `None` if the server has no image of the series.
///
/// # Errors
/// A package cannot be unpacked, or is not what it should be.
pub(super) fn fetch(folder: &Path, kernel: &Kernel, apt: &Apt) -> Result<Option<System>> {
    let root = folder.join("root");
    if !root.exists() {
        println!("fetching Linux {}", kernel.series);
        let Some(packages) = download(&folder.join("packages"), kernel, apt) else { return Ok(None) };
        // Under its name only when it is whole.
        let partial = folder.join("root.partial");
        let _ = fs::remove_dir_all(&partial);
        for package in packages {
            process::run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&partial))?;
        }
        fs::rename(&partial, &root)?;
    }
    System::find(folder, &root).map(Some)
}

/// The newest image of a series that the server still has. apt says of each other what was wrong.
fn download(folder: &Path, kernel: &Kernel, apt: &Apt) -> Option<Vec<PathBuf>> {
    let mut images = kernel.images.iter();
    images.find_map(|packages| {
        let names: Vec<_> = packages.iter().map(String::as_str).chain([BUSYBOX]).collect();
        let found = apt.download(&names, folder);
        found.inspect_err(|_said| println!("{} is passed over", packages[0])).ok()
    })
}

impl System {
    fn find(folder: &Path, root: &Path) -> Result<Self> {
        // Debian 13 has moved them.
        let base = if root.join("lib/modules").exists() { root.to_owned() } else { root.join("usr") };
        let modules = only_file(&base.join("lib/modules"), |_| true)?;
        let release = modules.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Debian 14 has the kernel there, too.
        let kernels = [modules.join("vmlinuz"), root.join(format!("boot/vmlinuz-{release}"))];
        let kernel = kernels.into_iter().find(|path| path.exists()).ok_or("the package has no kernel")?;
        let busybox = ["bin/busybox", "usr/bin/busybox"].map(|path| root.join(path));
        let busybox =
            busybox.into_iter().find(|path| path.exists()).ok_or("busybox-static has no busybox")?;
        Ok(Self { release, kernel, busybox, base, folder: folder.to_owned() })
    }

    /// Whether it is older than Linux `major.minor`.
    pub(super) fn is_before(&self, major: u32, minor: u32) -> bool {
        let mut numbers = self.release.split('.').map(|number| number.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < (major, minor)
    }

    /// The folder that the modules and their indices are in.
    pub(super) fn modules(&self) -> PathBuf {
        self.base.join("lib/modules").join(&self.release)
    }
}

const BUSYBOX: &str = "busybox-static";
