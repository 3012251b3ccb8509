//! Where text goes that was asked for, the report or lines: a file of its own, or what standard output or standard error go to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use crate::failure::Failure;

/// A place that can be written to. What was there before has not been touched yet.
#[derive(Debug)]
pub(crate) struct TextFile {
    file: File,
    /// Others write to it too, so what they have written stays.
    is_shared: bool,
    /// We made it, so without a trace there is none.
    is_new: bool,
}

impl TextFile {
    /// Opens `path`, or standard output for `-`.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |error| Failure::of(&format!("cannot write to '{}'", path.display()), &error);
        let (stdout, stderr) = (io::stdout(), io::stderr());
        if path == Path::new("-") {
            return Self::shared(stdout.as_fd()).map_err(failed);
        }
        // A terminal may be somebody else's, and a socket cannot be opened: but it is open already.
        if path == Path::new(STDERR) {
            return Self::shared(stderr.as_fd()).map_err(failed);
        }
        let is_new =
            matches!(fs::symlink_metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound);
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = opened.map_err(failed)?;
        // Opened again, /dev/stdout is the same file from its beginning, and would write over what is in it.
        for stream in [stdout.as_fd(), stderr.as_fd()] {
            if is_same(file.as_fd(), stream) {
                return Self::shared(stream).map_err(failed);
            }
        }
        Ok(Self { file, is_shared: false, is_new })
    }

    fn shared(stream: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self { file: stream.try_clone_to_owned()?.into(), is_shared: true, is_new: false })
    }

    /// Refuses to write where packets go.
    pub(crate) fn check_apart_from(
        &self,
        packets: &impl AsFd,
        what: &str,
        option: &str,
    ) -> Result<(), Failure> {
        if !is_same(self.file.as_fd(), packets.as_fd()) {
            return Ok(());
        }
        Err(Failure::new(format!("packets and {what} cannot go to the same file"))
            .hint(format!("name one for each, with -o and {option}")))
    }

    /// Refuses to write over another text. What is shared anyway gets one behind the other.
    pub(crate) fn check_apart_from_text(&self, other: &Self) -> Result<(), Failure> {
        let is_same = is_same(self.file.as_fd(), other.file.as_fd());
        if !is_same || self.is_shared && other.is_shared {
            return Ok(());
        }
        Err(Failure::new("the report and lines of packets cannot go to the same file")
            .hint("name one for each, with --report and --print="))
    }

    /// Whether somebody sits there.
    pub(crate) fn is_terminal(&self) -> bool {
        self.file.is_terminal()
    }

    /// To be written to, in the place of what was there before.
    pub(crate) fn emptied(self) -> io::Result<File> {
        if !self.is_shared && self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        Ok(self.file)
    }

    /// Writes all there is, in the place of what was there before.
    pub(crate) fn write(self, text: &str) -> io::Result<()> {
        self.emptied()?.write_all(text.as_bytes())
    }

    /// Removes the file if it was made for a trace that is not to be.
    pub(crate) fn discard(&self, path: &Path) {
        if self.is_new {
            // It stays behind then, empty, and the failure that brought us here is the one to tell of.
            let _ = fs::remove_file(path);
        }
    }
}

/// Whether what is written to one is mixed with what is written to the other. A device, such as /dev/null, takes it as it comes.
fn is_same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    let metadata = |fd: BorrowedFd<'_>| File::from(fd.try_clone_to_owned().ok()?).metadata().ok();
    let (Some(one), Some(other)) = (metadata(one), metadata(other)) else { return false };
    !one.file_type().is_char_device() && (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// What it is called where there is no better way to name it.
pub(crate) const STDERR: &str = "/dev/stderr";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_emptied_when_it_is_written_and_not_before() {
        let path = std::env::temp_dir().join(format!("nsntrace-report-{}", std::process::id()));
        fs::write(&path, "an older and longer report").unwrap();
        let report = TextFile::open(&path).unwrap();
        report.discard(&path);
        assert_eq!(fs::read_to_string(&path).unwrap(), "an older and longer report");
        assert!(report.check_apart_from(&File::open(&path).unwrap(), "the report", "--report").is_err());
        assert!(report.check_apart_from(&File::open("/dev/null").unwrap(), "the report", "--report").is_ok());
        report.write("a report").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a report");
        fs::remove_file(&path).unwrap();
        TextFile::open(&path).unwrap().discard(&path);
        assert!(!path.exists());
        let null = TextFile::open(Path::new("/dev/null")).unwrap();
        assert!(null.check_apart_from(&File::open("/dev/null").unwrap(), "the report", "--report").is_ok());
    }

    #[test]
    fn what_others_have_written_stays() {
        let path = std::env::temp_dir().join(format!("nsntrace-shared-{}", std::process::id()));
        let mut log = File::create(&path).unwrap();
        log.write_all(b"said before\n").unwrap();
        TextFile::shared(log.as_fd()).unwrap().write("a report\n").unwrap();
        log.write_all(b"said behind\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "said before\na report\nsaid behind\n");
        fs::remove_file(&path).unwrap();
    }
}
