//! The file that packets go to, or the files.

mod privacy;
mod series;

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use nsntrace_pcapwriter::{Compression, Format};

pub(crate) use self::privacy::Privacy;
use self::series::Series;
use crate::failure::Failure;
use crate::flags::Rotation;
use crate::text_file::TextFile;

/// An output that can be written to. Nothing that was there before has been touched yet.
#[derive(Debug)]
pub(crate) struct Outfile {
    /// Worker's from the moment at which it takes it: what it has let go of is complete.
    first: RefCell<Option<File>>,
    files: RefCell<Files>,
    pub(crate) encoding: Encoding,
    privacy: Privacy,
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
        Self { format: format_of(path, format), compression: Compression::of_path(path) }
    }
}

/// The format that was typed, else what the name says.
pub(crate) fn format_of(path: &Path, format: Option<Format>) -> Format {
    format.unwrap_or_else(|| Format::of_path(path))
}

/// The files that follow the first, where the user wants several.
#[derive(Debug, Default)]
pub(crate) struct Files {
    series: Option<Series>,
    privacy: Privacy,
}

impl Files {
    /// Opens the next file of a series, empty.
    pub(crate) fn next(&mut self, timestamp_ns: u64) -> Option<io::Result<File>> {
        let file = self.series.as_mut()?.next(timestamp_ns);
        Some(file.and_then(|file| {
            self.privacy.impose(&file)?;
            empty(&file).map(|()| file)
        }))
    }
}

impl Outfile {
    /// Opens `path`, or standard output for `-`; with a rotation, the first of the files that are called after `path`.
    pub(crate) fn open(
        path: &Path,
        format: Option<Format>,
        rotation: Rotation,
        privacy: Privacy,
    ) -> Result<Self, Failure> {
        let encoding = Encoding::of(path, format);
        if path == Path::new("-") {
            return Self::stdout(encoding, rotation, privacy);
        }
        let failed = |error| Failure::of(&format!("cannot write to '{}'", path.display()), &error);
        if rotation.is_on() {
            Self::series(path, encoding, rotation, privacy).map_err(failed)
        } else {
            Self::named(path, encoding, privacy).map_err(failed)
        }
    }

    /// A pipe that somebody will read.
    pub(crate) fn pipe(pipe: File, format: Format) -> Self {
        let encoding = Encoding { format, compression: Compression::None };
        let (first, files) = (RefCell::new(Some(pipe)), RefCell::default());
        let privacy = Privacy::Usual;
        Self { first, files, encoding, privacy, is_stream: true, is_stdout: false, is_new: false }
    }

    fn stdout(encoding: Encoding, rotation: Rotation, privacy: Privacy) -> Result<Self, Failure> {
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
        let failed = |error| Failure::of("cannot use standard output", &error);
        let first = File::from(copy.map_err(failed)?);
        privacy.check(&first).map_err(failed)?;
        let is_stream = !is_regular(&first);
        let (first, files) = (RefCell::new(Some(first)), RefCell::default());
        Ok(Self { first, files, encoding, privacy, is_stream, is_stdout: true, is_new: false })
    }

    fn named(path: &Path, encoding: Encoding, privacy: Privacy) -> io::Result<Self> {
        let is_new =
            matches!(fs::symlink_metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound);
        // Truncated by `take`: a trace whose network cannot be made must not cost the last one.
        let mut options = OpenOptions::new();
        let first = options.write(true).create(true).truncate(false).mode(privacy.mode()).open(path)?;
        privacy.check(&first)?;
        let is_stream = !is_regular(&first);
        let (first, files) = (RefCell::new(Some(first)), RefCell::default());
        Ok(Self { first, files, encoding, privacy, is_stream, is_stdout: false, is_new })
    }

    fn series(path: &Path, encoding: Encoding, rotation: Rotation, privacy: Privacy) -> io::Result<Self> {
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            // What would be called after a device or a pipe is not what was meant.
            return Err(io::Error::other("new files can be begun beside a regular file only"));
        }
        let mut series = Series::new(path, rotation.keep, privacy.mode())?;
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let first = series.next(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX))?;
        privacy.check(&first)?;
        let files = Files { series: Some(series), privacy };
        let (first, files) = (RefCell::new(Some(first)), RefCell::new(files));
        Ok(Self { first, files, encoding, privacy, is_stream: false, is_stdout: false, is_new: false })
    }

    /// Takes the files to write to them. One that was there before is emptied; standard output may hold somebody else's bytes, which
    /// stay.
    pub(crate) fn take(&self) -> io::Result<(File, Files)> {
        let first = self.first.take().ok_or(io::ErrorKind::NotFound)?;
        self.privacy.impose(&first)?;
        if !self.is_stream && !self.is_stdout {
            empty(&first)?;
        }
        Ok((first, self.files.take()))
    }

    /// What tells that nobody reads any more, for a stream.
    pub(crate) fn stream(&self) -> io::Result<Option<File>> {
        let first = self.first.borrow();
        first.as_ref().filter(|_file| self.is_stream).map(File::try_clone).transpose()
    }

    /// Refuses what `option` writes in the midst of packets.
    pub(crate) fn check_apart_from(&self, text: &TextFile, what: &str, option: &str) -> Result<(), Failure> {
        self.first.borrow().as_ref().map_or(Ok(()), |first| text.check_apart_from(first, what, option))
    }

    /// Whether it has room for what explains packets.
    pub(crate) fn explains(&self) -> bool {
        self.encoding.format == Format::PcapNg
    }

    /// Whether what comes late finds a place before what it explains: in a file whose bytes can be replaced.
    pub(crate) fn has_room(&self) -> bool {
        !self.is_stream && self.encoding.compression == Compression::None
    }

    /// Lets go of the file, which is another process's from now on. Who closes it last may wait for the disk.
    pub(crate) fn hand_over(&self) {
        drop(self.first.take());
    }

    /// Lets go of the folder of further files, too, in a process that begins none: nobody could unmount what it is on.
    pub(crate) fn let_go(&self) {
        self.hand_over();
        drop(self.files.take());
    }

    /// Removes the file if it was made for a trace that is not to be.
    pub(crate) fn discard(&self, path: &Path) {
        match self.files.take().series {
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
