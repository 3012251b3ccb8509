//! Packages of Debian that are not for this machine: of another architecture, or of another release.
//!
//! # Theory of operation
//! apt is given a state of its own, in our folder. So it knows packages of any architecture, and this machine's own
//! package lists, locks and dpkg stay as they are. apt checks signatures as ever.
//!
//! # References
//! apt.conf(5), apt-get(8), sources.list(5).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{self, Result};

/// apt with a state of its own.
pub(crate) struct Apt {
    settings: Vec<String>,
}

impl Apt {
    /// For packages of an architecture, as Debian names it: from where this machine has its own, or from releases of Debian.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(crate) fn new(folder: &Path, architecture: &str, releases: &[Release]) -> Result<Self> {
        let state = folder.join("apt/state");
        let cache = folder.join("apt/cache");
        fs::create_dir_all(state.join("lists/partial"))?;
        fs::create_dir_all(cache.join("archives/partial"))?;
        // No package is installed.
        fs::write(state.join("status"), "")?;
        let mut settings = vec![
            format!("APT::Architecture={architecture}"),
            format!("APT::Architectures={architecture}"),
            format!("Dir::State={}", state.display()),
            format!("Dir::State::status={}", state.join("status").display()),
            format!("Dir::Cache={}", cache.display()),
            "Acquire::Languages=none".to_owned(),
            // The user that apt would become may not write here.
            "APT::Sandbox::User=root".to_owned(),
        ];
        if !releases.is_empty() {
            let list = folder.join("apt/sources.list");
            fs::write(&list, releases.iter().map(Release::line).collect::<String>())?;
            settings.push(format!("Dir::Etc::SourceList={}", list.display()));
            settings.push("Dir::Etc::SourceParts=/dev/null".to_owned());
        }
        Ok(Self { settings })
    }

    /// `apt-get` or `apt-cache`, in that state.
    pub(crate) fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(self.settings.iter().flat_map(|setting| ["--option", setting])).args(arguments);
        command
    }

    /// Asks what there is.
    ///
    /// # Errors
    /// The archive cannot be reached.
    pub(crate) fn update(&self) -> Result {
        process::run(&mut self.command("apt-get", &["-qq", "update"]))
    }

    /// Fetches a package each, into a folder that is made anew.
    ///
    /// # Errors
    /// There is no such package.
    pub(crate) fn download(&self, names: &[&str], folder: &Path) -> Result<Vec<PathBuf>> {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder)?;
        let mut fetch = self.command("apt-get", &["-qq", "download"]);
        process::run(fetch.args(names).current_dir(folder))?;
        names.iter().map(|name| only_file(folder, |file| file.starts_with(&format!("{name}_")))).collect()
    }
}

/// A release of Debian, or what is added to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Release {
    /// The folder of the server.
    pub(crate) archive: &'static str,
    pub(crate) suite: &'static str,
}

impl Release {
    /// For sources.list(5).
    fn line(&self) -> String {
        let Self { archive, suite } = self;
        format!("deb [signed-by={KEYS}] http://deb.debian.org/{archive} {suite} main\n")
    }
}

/// The file of a folder that is meant, which must be the only one.
///
/// # Errors
/// There is none, or another.
pub(crate) fn only_file(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
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

/// Of debian-archive-keyring, which is in every Debian.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apt_is_told_the_architecture_and_a_state_of_its_own() {
        let folder = std::env::temp_dir().join(format!("nsntrace-apt-{}", std::process::id()));
        let apt = Apt::new(&folder, "arm64", &[]).unwrap();
        let words = process::words(&apt.command("apt-get", &["update"]));
        let release = Release { archive: "debian", suite: "trixie" };
        let elsewhere = Apt::new(&folder, "amd64", &[release]).unwrap();
        let list = fs::read_to_string(folder.join("apt/sources.list")).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert!(
            words.starts_with("apt-get --option APT::Architecture=arm64 --option APT::Architectures=arm64")
        );
        assert!(words.contains(&format!("Dir::State={}/apt/state", folder.display())), "{words}");
        assert!(words.ends_with(" update") && !words.contains("SourceList"), "{words}");
        assert!(list.ends_with("gpg] http://deb.debian.org/debian trixie main\n"), "{list}");
        let words = process::words(&elsewhere.command("apt-get", &["update"]));
        assert!(words.contains("SourceParts=/dev/null"), "{words}");
    }
}
