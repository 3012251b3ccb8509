//! A kernel, its modules and a static busybox, out of Debian's archive.
//!
//! # Theory of operation
//! apt is given a state of its own, in our folder, in which the machine has the wanted architecture. So it knows packages of any
//! architecture, and this machine's own package lists, locks and dpkg stay as they are. apt checks signatures as ever.
//!
//! # References
//! apt.conf(5), apt-get(8), dpkg-deb(1).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::machine::Machine;
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
    let apt = Apt::new(folder, machine)?;
    println!("fetching a kernel for {}", machine.arch);
    process::run(&mut apt.command("apt-get", &["-qq", "update"]))?;
    let image = apt.kernel_package(machine)?;
    let packages = folder.join("packages");
    let _ = fs::remove_dir_all(&packages);
    fs::create_dir_all(&packages)?;
    let mut fetch = apt.command("apt-get", &["-qq", "download", &image, BUSYBOX]);
    process::run(fetch.current_dir(&packages))?;
    [format!("{image}_"), format!("{BUSYBOX}_")]
        .iter()
        .map(|start| only_file(&packages, |name| name.starts_with(start)))
        .collect()
}

struct Apt {
    settings: Vec<String>,
}

impl Apt {
    fn new(folder: &Path, machine: &Machine) -> Result<Self> {
        let state = folder.join("apt/state");
        let cache = folder.join("apt/cache");
        fs::create_dir_all(state.join("lists/partial"))?;
        fs::create_dir_all(cache.join("archives/partial"))?;
        // No package is installed.
        fs::write(state.join("status"), "")?;
        let debian = machine.debian;
        let settings = vec![
            format!("APT::Architecture={debian}"),
            format!("APT::Architectures={debian}"),
            format!("Dir::State={}", state.display()),
            format!("Dir::State::status={}", state.join("status").display()),
            format!("Dir::Cache={}", cache.display()),
            "Acquire::Languages=none".to_owned(),
            // The user that apt would become may not write here.
            "APT::Sandbox::User=root".to_owned(),
        ];
        Ok(Self { settings })
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(self.settings.iter().flat_map(|setting| ["--option", setting])).args(arguments);
        command
    }

    /// The newest kernel: what the package that is always named the same depends on.
    fn kernel_package(&self, machine: &Machine) -> Result<String> {
        let name = format!("linux-image-cloud-{}", machine.debian);
        let text = process::output(&mut self.command("apt-cache", &["depends", &name]))?;
        let found = dependency(&text, "linux-image-").map(str::to_owned);
        Ok(found.ok_or_else(|| format!("the archive has no {name}; is this Debian?"))?)
    }
}

/// The first dependency in what `apt-cache depends` prints that begins so.
fn dependency<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    let mut names = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names.find(|name| name.starts_with(start))
}

fn only_file(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let entries =
        fs::read_dir(folder).map_err(|error| format!("cannot list {}: {error}", folder.display()))?;
    let mut found = entries.flatten().filter(|entry| is_wanted(&entry.file_name().to_string_lossy()));
    match (found.next(), found.next()) {
        (Some(entry), None) => Ok(entry.path()),
        (first, _) => {
            let count = if first.is_some() { "more than one" } else { "none" };
            Err(format!("{} has {count} of the file that is wanted", folder.display()).into())
        }
    }
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

    #[test]
    fn apt_is_told_the_architecture_and_a_state_of_its_own() {
        let folder = std::env::temp_dir().join(format!("nsntrace-apt-{}", std::process::id()));
        let apt = Apt::new(&folder, &super::super::MACHINES[1]).unwrap();
        let words = process::words(&apt.command("apt-get", &["update"]));
        fs::remove_dir_all(&folder).unwrap();
        assert!(
            words.starts_with("apt-get --option APT::Architecture=arm64 --option APT::Architectures=arm64")
        );
        assert!(words.contains(&format!("Dir::State={}/apt/state", folder.display())), "{words}");
        assert!(words.ends_with(" update"));
    }
}
