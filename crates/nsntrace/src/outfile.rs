//! The file that packets go to.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::path::Path;

use nsntrace_pcapwriter::Format;

use crate::failure::Failure;

/// An output that can be written to. Nothing in it has been touched yet.
#[derive(Debug)]
pub(crate) struct Outfile {
    /// Worker's from the moment at which it takes it: what it has let go of is complete.
    file: RefCell<Option<File>>,
    pub(crate) format: Format,
    /// Somebody reads while we write: packets are to arrive soon.
    pub(crate) is_stream: bool,
    /// Packets go to standard output, so the program's own words must not.
    pub(crate) is_stdout: bool,
    /// We made the file, so without a trace there is none.
    is_new: bool,
}

impl Outfile {
    /// Opens `path`, or standard output for `-`.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") { Self::stdout() } else { Self::named(path) }
    }

    fn stdout() -> Result<Self, Failure> {
        if io::stdout().is_terminal() {
            return Err(Failure::new("cannot write packets to a terminal")
                .hint("pipe them to a reader, as in: nsntrace -o - program | tshark -r -"));
        }
        let copy = io::stdout().as_fd().try_clone_to_owned();
        let file = File::from(copy.map_err(|error| Failure::of("cannot use standard output", &error))?);
        let is_stream = !is_regular(&file);
        let file = RefCell::new(Some(file));
        Ok(Self { file, format: Format::Pcap, is_stream, is_stdout: true, is_new: false })
    }

    fn named(path: &Path) -> Result<Self, Failure> {
        let failed = |error| Failure::of(&format!("cannot write to '{}'", path.display()), &error);
        let is_new =
            matches!(fs::symlink_metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound);
        // Truncated by `take`: a trace whose network cannot be made must not cost the last one.
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).map_err(failed)?;
        let is_stream = !is_regular(&file);
        let file = RefCell::new(Some(file));
        Ok(Self { file, format: Format::of_path(path), is_stream, is_stdout: false, is_new })
    }

    /// Takes the file to write to it. One that was there before is emptied; standard output may hold somebody else's bytes, which
    /// stay.
    pub(crate) fn take(&self) -> io::Result<File> {
        let file = self.file.take().ok_or(io::ErrorKind::NotFound)?;
        if !self.is_stream && !self.is_stdout {
            file.set_len(0)?;
        }
        Ok(file)
    }

    /// Removes the file if it was made for a trace that is not to be.
    pub(crate) fn discard(&self, path: &Path) {
        if self.is_new {
            // It stays behind then, with no packet in it, and the failure that brought us here is the one to tell of.
            let _ = fs::remove_file(path);
        }
    }
}

fn is_regular(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file())
}
