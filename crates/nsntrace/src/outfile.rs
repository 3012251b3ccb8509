//! The file that packets go to, or the files.

mod series;

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use nsntrace_pcapwriter::{Compression, Format};

use self::series::Series;
use crate::failure::Failure;
use crate::flags::Rotation;
use crate::report_file::ReportFile;

/// An output that can be written to. Nothing that was there before has been touched yet.
#[derive(Debug)]
pub(crate) struct Outfile {
    /// Worker's from the moment at which it takes it: what it has let go of is complete.
    first: RefCell<Option<File>>,
    files: RefCell<Files>,
    pub(crate) encoding: Encoding,
    /// Somebody reads while we write: packets are to arrive soon.
    pub(crate) is_stream: bool,
    /// Packets go to standard output, so the program's own words must not.
    pub(crate) is_stdout: bool,
    /// We made the file, so without a trace there is none.
    is_new: bool,
}

/// How packets are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoding {
    pub(crate) format: Format,
    pub(crate) compression: Compression,
}

impl Encoding {
    /// What was typed, else what the name says.
    fn of(path: &Path, format: Option<Format>) -> Self {
        let format = format.unwrap_or_else(|| Format::of_path(path));
        Self { format, compression: Compression::of_path(path) }
    }
}

/// The files that follow the first, where the user wants several.
#[derive(Debug, Default)]
pub(crate) struct Files(Option<Series>);

impl Files {
    /// Opens the next file of a series, empty.
    pub(crate) fn next(&mut self, timestamp_ns: u64) -> Option<io::Result<File>> {
        let file = self.0.as_mut()?.next(timestamp_ns);
        Some(file.and_then(|file| empty(&file).map(|()| file)))
    }
}

impl Outfile {
    /// Opens `path`, or standard output for `-`; with a rotation, the first of the files that are called after `path`.
    pub(crate) fn open(path: &Path, format: Option<Format>, rotation: Rotation) -> Result<Self, Failure> {
        let encoding = Encoding::of(path, format);
        if path == Path::new("-") {
            return Self::stdout(encoding, rotation);
        }
        let failed = |error| Failure::of(&format!("cannot write to '{}'", path.display()), &error);
        if rotation.is_on() {
            Self::series(path, encoding, rotation).map_err(failed)
        } else {
            Self::named(path, encoding).map_err(failed)
        }
    }

    fn stdout(encoding: Encoding, rotation: Rotation) -> Result<Self, Failure> {
        if io::stdout().is_terminal() {
            return Err(Failure::new("cannot write packets to a terminal")
                .hint("pipe them to a reader, as in: nsntrace -o - program | tshark -r -"));
        }
        if rotation.is_on() {
            return Err(
                Failure::new("cannot begin a new file on standard output").hint("name a file with -o")
            );
        }
        let copy = io::stdout().as_fd().try_clone_to_owned();
        let first = File::from(copy.map_err(|error| Failure::of("cannot use standard output", &error))?);
        let is_stream = !is_regular(&first);
        let (first, files) = (RefCell::new(Some(first)), RefCell::default());
        Ok(Self { first, files, encoding, is_stream, is_stdout: true, is_new: false })
    }

    fn named(path: &Path, encoding: Encoding) -> io::Result<Self> {
        let is_new =
            matches!(fs::symlink_metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound);
        // Truncated by `take`: a trace whose network cannot be made must not cost the last one.
        let first = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        let is_stream = !is_regular(&first);
        let (first, files) = (RefCell::new(Some(first)), RefCell::default());
        Ok(Self { first, files, encoding, is_stream, is_stdout: false, is_new })
    }

    fn series(path: &Path, encoding: Encoding, rotation: Rotation) -> io::Result<Self> {
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            // What would be called after a device or a pipe is not what was meant.
            return Err(io::Error::other("new files can be begun beside a regular file only"));
        }
        let mut series = Series::new(path, rotation.keep)?;
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let first = series.next(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX))?;
        let (first, files) = (RefCell::new(Some(first)), RefCell::new(Files(Some(series))));
        Ok(Self { first, files, encoding, is_stream: false, is_stdout: false, is_new: false })
    }

    /// Takes the files to write to them. One that was there before is emptied; standard output may hold somebody else's bytes, which
    /// stay.
    pub(crate) fn take(&self) -> io::Result<(File, Files)> {
        let first = self.first.take().ok_or(io::ErrorKind::NotFound)?;
        if !self.is_stream && !self.is_stdout {
            empty(&first)?;
        }
        Ok((first, self.files.take()))
    }

    /// Refuses a report in the midst of packets.
    pub(crate) fn check_apart_from(&self, report: &ReportFile) -> Result<(), Failure> {
        self.first.borrow().as_ref().map_or(Ok(()), |first| report.check_apart_from(first))
    }

    /// Whether it has room for what explains packets.
    pub(crate) fn explains(&self) -> bool {
        self.encoding.format == Format::PcapNg
    }

    /// Lets go of the file, which is another process's from now on. Who closes it last may wait for the disk.
    pub(crate) fn hand_over(&self) {
        drop(self.first.take());
    }

    /// Removes the file if it was made for a trace that is not to be.
    pub(crate) fn discard(&self, path: &Path) {
        match self.files.take().0 {
            Some(mut series) => series.discard(),
            // It stays behind then, with no packet in it, and the failure that brought us here is the one to tell of.
            None if self.is_new => {
                let _ = fs::remove_file(path);
            }
            None => {}
        }
    }
}

/// A file that was truncated, ext4 writes to the disk when it is closed: for one that is empty that is a wait for nothing.
fn empty(file: &File) -> io::Result<()> {
    if file.metadata()?.len() > 0 { file.set_len(0) } else { Ok(()) }
}

fn is_regular(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file())
}
