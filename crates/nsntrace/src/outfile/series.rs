//! The files of a trace that begins new ones: their names, and which of them are kept.
//!
//! # Theory of operation
//! A name with a `%` goes through strftime(3), as tcpdump does it; a file that would have the name of an earlier one of the trace
//! gets a number behind it. Any other name gets a number and the time before its extension, as dumpcap does it, so that
//! names sort and Wireshark knows the set. The folder is held by a descriptor: what worker's own folder is does not matter, nor
//! that somebody renames ours.

use std::collections::VecDeque;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use nsntrace_sys::format_local_time;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, statat, unlinkat};

/// The files that one trace makes, one after the other.
#[derive(Debug)]
pub(crate) struct Series {
    folder: OwnedFd,
    names: Names,
    /// Those of this trace that are there, oldest first. Of numbered ones that all stay only the last.
    made: VecDeque<OsString>,
    keep: Option<usize>,
    /// Of files that are made.
    mode: Mode,
}

/// How the next file is called.
#[derive(Debug)]
enum Names {
    /// `trace_%H%M.pcap`.
    Template { template: CString, last: OsString, repeats: u32 },
    /// `trace_00001_20261124011500.pcap`.
    Numbered { stem: OsString, extension: OsString, number: u32 },
}

impl Series {
    /// The files called after `path`, of which the newest `keep` stay. Those that are made have `mode`, less umask.
    ///
    /// # Errors
    /// There is no such folder, or `path` does not name a file.
    pub(crate) fn new(path: &Path, keep: Option<usize>, mode: u32) -> io::Result<Self> {
        let ends_with_slash = path.as_os_str().as_bytes().ends_with(b"/");
        let name = path.file_name().filter(|_| !ends_with_slash).ok_or(io::ErrorKind::IsADirectory)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = openat(CWD, folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self {
            folder,
            names: Names::of(name)?,
            made: VecDeque::new(),
            keep,
            mode: Mode::from_raw_mode(mode),
        })
    }

    /// Opens the next file, which begins at a time in nanoseconds since the epoch, after removing what is one too many. A name with
    /// a `%` may be that of an older file, whose bytes are still there.
    ///
    /// # Errors
    /// Those of open(2); `EINVAL` when the time cannot be put into the name.
    pub(crate) fn next(&mut self, timestamp_ns: u64) -> io::Result<File> {
        while self.keep.is_some_and(|keep| self.made.len() >= keep) {
            self.remove_oldest();
        }
        loop {
            let name = self.names.next(timestamp_ns).ok_or(io::ErrorKind::InvalidInput)?;
            if self.made.contains(&name) {
                // Its number comes next.
                continue;
            }
            match self.open(&name) {
                // Of another trace that began in the same second.
                Err(rustix::io::Errno::EXIST) => {}
                result => {
                    let file = File::from(result?);
                    self.remember(name);
                    // Nobody's pipe or device, whatever lies in the folder.
                    return if file.metadata()?.is_file() {
                        Ok(file)
                    } else {
                        Err(io::ErrorKind::AlreadyExists.into())
                    };
                }
            }
        }
    }

    fn remember(&mut self, name: OsString) {
        if self.keep.is_none() && matches!(self.names, Names::Numbered { .. }) {
            self.made.clear();
        }
        self.made.push_back(name);
    }

    /// Removes the file that was opened last if it is empty: no packet of anybody is lost with it.
    pub(crate) fn discard(&mut self) {
        let Some(last) = self.made.pop_back() else { return };
        if statat(&self.folder, &last, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|status| status.st_size == 0) {
            let _ = unlinkat(&self.folder, &last, AtFlags::empty());
        }
    }

    fn remove_oldest(&mut self) {
        if let Some(oldest) = self.made.pop_front() {
            // Somebody else has moved it, perhaps to keep it.
            let _ = unlinkat(&self.folder, &oldest, AtFlags::empty());
        }
    }

    /// In a folder that others may write to, a link of theirs is not followed, and a file of the same number is not ours.
    fn open(&self, name: &OsStr) -> rustix::io::Result<OwnedFd> {
        let how = match self.names {
            Names::Template { .. } => OFlags::NOFOLLOW | OFlags::NONBLOCK,
            Names::Numbered { .. } => OFlags::EXCL,
        };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | how;
        openat(&self.folder, name, flags, self.mode)
    }
}

impl Names {
    fn of(name: &OsStr) -> io::Result<Self> {
        if name.as_bytes().contains(&b'%') {
            let template = CString::new(name.as_bytes())?;
            return Ok(Self::Template { template, last: OsString::new(), repeats: 0 });
        }
        let (stem, extension) = split_extension(name.as_bytes());
        let [stem, extension] = [stem, extension].map(|part| OsStr::from_bytes(part).to_owned());
        Ok(Self::Numbered { stem, extension, number: 0 })
    }

    fn next(&mut self, timestamp_ns: u64) -> Option<OsString> {
        let seconds = i64::try_from(timestamp_ns / 1_000_000_000).ok()?;
        match self {
            Self::Template { template, last, repeats } => {
                let name = OsString::from_vec(format_local_time(template, seconds)?);
                *repeats = if name == *last { *repeats + 1 } else { 0 };
                last.clone_from(&name);
                Some(if *repeats == 0 { name } else { join(&[&name, repeats.to_string().as_ref()]) })
            }
            Self::Numbered { stem, extension, number } => {
                *number += 1;
                let time = OsString::from_vec(format_local_time(c"%Y%m%d%H%M%S", seconds)?);
                Some(join(&[stem, format!("_{number:05}_").as_ref(), &time, extension]))
            }
        }
    }
}

/// Splits before the extension, of which `.gz` is only a part. A name that begins with its only dot has none.
fn split_extension(name: &[u8]) -> (&[u8], &[u8]) {
    let inner = name.strip_suffix(b".gz").unwrap_or(name);
    let dot = inner.iter().rposition(|&byte| byte == b'.').filter(|&dot| dot > 0);
    name.split_at(dot.unwrap_or(inner.len()))
}

fn join(parts: &[&OsStr]) -> OsString {
    parts.iter().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(name: &str, seconds: &[u64]) -> Vec<String> {
        let mut names = Names::of(name.as_ref()).unwrap();
        let next = |seconds: &u64| names.next(seconds * 1_000_000_000).unwrap().into_string().unwrap();
        seconds.iter().map(next).collect()
    }

    /// What date(1) says, since the zone is this machine's.
    fn date(seconds: u64) -> String {
        let output = std::process::Command::new("date")
            .args([&format!("--date=@{seconds}"), "+%Y%m%d%H%M%S"])
            .output()
            .expect("date(1) is needed");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn names_are_dumpcaps_or_tcpdumps() {
        let (first, second) = (date(1_700_000_000), date(1_700_000_060));
        assert_eq!(
            names("a.pcapng", &[1_700_000_000, 1_700_000_060]),
            [format!("a_00001_{first}.pcapng"), format!("a_00002_{second}.pcapng")]
        );
        assert_eq!(names("a.b.pcap.gz", &[1_700_000_000]), [format!("a.b_00001_{first}.pcap.gz")]);
        assert_eq!(names("a.gz", &[1_700_000_000]), [format!("a_00001_{first}.gz")]);
        assert_eq!(names("a", &[1_700_000_000]), [format!("a_00001_{first}")]);
        assert_eq!(names(".a", &[1_700_000_000]), [format!(".a_00001_{first}")]);
        let [minute, next] = [first, second].map(|date| format!("a_{}.pcap", &date[10..12]));
        assert_eq!(
            names("a_%M.pcap", &[1_700_000_000, 1_700_000_000, 1_700_000_001, 1_700_000_060]),
            [minute.clone(), format!("{minute}1"), format!("{minute}2"), next]
        );
    }
}
