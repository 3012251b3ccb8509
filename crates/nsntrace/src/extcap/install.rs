//! `--install-extcap`: a link to this program where Wireshark looks for others to capture with.
//!
//! # Theory of operation
//! Where that is, differs from version to version and from distribution to distribution, and tshark tells: `tshark -G folders`. Root links for everybody, a user for
//! himself. A link that is there already is replaced, anything else is somebody's.
//!
//! # References
//! tshark(1), `-G folders`. Up to Wireshark 4.0 a user's own extcaps are in a folder of the personal configuration, which is not told.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nsntrace_sys::Fork;
use rustix::fs::{Mode, OFlags, open};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitOptions, geteuid, waitpid};

use super::call::INTERFACE;
use crate::failure::Failure;
use crate::program;

/// Links this program into `folder`, or into that which Wireshark names if it is empty. Says where.
pub(crate) fn install(folder: &OsStr) -> Result<String, Failure> {
    let folder = if folder.is_empty() { ask()? } else { folder.into() };
    let link = folder.join(INTERFACE);
    let program =
        env::current_exe().map_err(|error| Failure::of("cannot find out where nsntrace is", &error))?;
    put(&program, &link)
        .map_err(|error| Failure::of(&format!("cannot link '{}'", link.display()), &error))?;
    Ok(format!("{} -> {}\n", link.display(), program.display()))
}

fn put(program: &Path, link: &Path) -> io::Result<()> {
    match fs::symlink_metadata(link) {
        Ok(metadata) if !metadata.is_symlink() => {
            return Err(io::Error::other("it is there already, and no link"));
        }
        Ok(_) => {}
        Err(_absent) => link.parent().map_or(Ok(()), fs::create_dir_all)?,
    }
    // Another that takes its place: at no moment there is none. Wireshark runs every file of the folder, but none that begins with a dot.
    let next = link.with_file_name(format!(".{INTERFACE}-{}", std::process::id()));
    symlink(program, &next)?;
    fs::rename(&next, link).inspect_err(|_error| {
        let _ = fs::remove_file(&next);
    })
}

/// Where Wireshark looks.
fn ask() -> Result<PathBuf, Failure> {
    let unknown = |why: String| {
        Failure::new(format!("cannot find out where Wireshark looks for extcaps: {why}")).hint(NAME_IT)
    };
    let said = said_by_tshark().map_err(|error| unknown(format!("tshark: {error}")))?;
    folder_in(&said, geteuid().is_root()).ok_or_else(|| unknown("tshark does not tell".into()))
}

fn said_by_tshark() -> io::Result<String> {
    let tshark = program::find(OsStr::new("tshark"))?;
    let (said, words) = pipe_with(PipeFlags::CLOEXEC)?;
    match nsntrace_sys::fork()? {
        Fork::Parent(pid) => {
            drop(words);
            let mut text = Vec::new();
            File::from(said).read_to_end(&mut text)?;
            waitpid(Some(pid), WaitOptions::empty())?;
            Ok(String::from_utf8_lossy(&text).into_owned())
        }
        Fork::Child => {
            let _error = become_it(&tshark, &words);
            nsntrace_sys::exit_now(1)
        }
    }
}

fn become_it(tshark: &Path, words: &OwnedFd) -> io::Error {
    let arranged = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).and_then(|null| {
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stderr(&null)?;
        rustix::stdio::dup2_stdout(words)
    });
    match arranged {
        Ok(()) => nsntrace_sys::exec(tshark.as_os_str(), ["-G", "folders"].map(OsStr::new), []),
        Err(errno) => errno.into(),
    }
}

fn folder_in(said: &str, is_for_all: bool) -> Option<PathBuf> {
    let folder = |name: &str| {
        let mut lines = said.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| *key == name).map(|(_, path)| PathBuf::from(path.trim()))
    };
    if is_for_all {
        return folder("Global Extcap path").or_else(|| folder("Extcap path"));
    }
    folder("Personal Extcap path").or_else(|| Some(folder("Personal configuration")?.join("extcap")))
}

const NAME_IT: &str =
    "install tshark, or name the folder: --install-extcap=FOLDER; Wireshark shows it in Help, About, Folders";

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str =
        "Temp:\t/tmp\nPersonal configuration:\t/home/u/.config/wireshark\nExtcap path:\t/usr/lib/w/extcap\n";
    const NEW: &str = "Personal configuration:\t/home/u/.config/wireshark\nPersonal Extcap path:\t/home/u/.local/lib/wireshark/extcap\n\
                       Global Extcap path:\t/usr/libexec/wireshark/extcap\n";

    #[test]
    fn folders_are_found_as_each_version_tells_them() {
        let found = |said, is_for_all| folder_in(said, is_for_all).map(|path| path.display().to_string());
        assert_eq!(found(OLD, true).as_deref(), Some("/usr/lib/w/extcap"));
        assert_eq!(found(OLD, false).as_deref(), Some("/home/u/.config/wireshark/extcap"));
        assert_eq!(found(NEW, true).as_deref(), Some("/usr/libexec/wireshark/extcap"));
        assert_eq!(found(NEW, false).as_deref(), Some("/home/u/.local/lib/wireshark/extcap"));
        assert_eq!(found("", false), None);
    }
}
