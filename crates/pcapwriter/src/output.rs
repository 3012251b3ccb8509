//! Where a capture goes.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, IoSlice, Seek as _, SeekFrom, Write as _};
use std::ops::DerefMut;
use std::os::unix::fs::FileExt as _;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl};

/// Memory that somebody has no use for, for a while: he gets it back when it is dropped.
pub trait Memory: AsRef<[u8]> + AsMut<[u8]> + Debug + Send {}

impl<T: AsRef<[u8]> + AsMut<[u8]> + Debug + Send> Memory for T {}

/// Something that takes the bytes of a capture.
pub trait Output {
    /// Takes bytes from the front of `slices`, at least one, and says how many. May wait.
    ///
    /// # Errors
    /// As write(2). [`io::ErrorKind::Interrupted`] makes the writer try again; after any other nothing more is written.
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Lends memory for what is taken later, as often as there is some. It is kept for a while, at most until [`flush`](Self::flush).
    ///
    /// # Errors
    /// As [`flush`](Self::flush): what was taken is written when there is enough of it.
    fn lend(&mut self, _memory: Box<dyn Memory>) -> io::Result<()> {
        Ok(())
    }

    /// Removes the last `bytes` bytes taken, the beginning of a record whose rest was refused.
    ///
    /// An output that cannot, because a reader may have them already, does nothing and succeeds.
    ///
    /// # Errors
    /// The bytes are still there, and whoever reads the output will stumble over them.
    fn take_back(&mut self, bytes: u64) -> io::Result<()>;

    /// Whether bytes that were taken can still be replaced by others.
    fn can_overwrite(&self) -> bool {
        false
    }

    /// Replaces bytes that were taken, the first of them `at` bytes behind the beginning of the capture, by as many others.
    ///
    /// # Errors
    /// As pwrite(2); [`io::ErrorKind::Unsupported`] where it [cannot be](Self::can_overwrite).
    fn overwrite(&mut self, _at: u64, _bytes: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Of `taken` bytes taken so far, how many a reader finds whatever happens next. For an output that works behind the scenes and
    /// may fail later; the number never falls.
    fn kept(&self, taken: u64) -> u64 {
        taken
    }

    /// Whether something that was taken waits for more, and a reader does not see it yet.
    fn holds_back(&self) -> bool {
        false
    }

    /// Lets a reader see all that was taken, as nothing more is coming for a while.
    ///
    /// # Errors
    /// Not everything can be written: [`kept`](Self::kept) says how much.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Ends the output: waits until what was taken is kept, or will never be.
    ///
    /// # Errors
    /// Not everything is: [`kept`](Self::kept) says how much.
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Behind a pointer, `&mut O` or `Box<O>`, an output is one too.
impl<P: DerefMut<Target: Output>> Output for P {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        (**self).write(slices)
    }

    fn lend(&mut self, memory: Box<dyn Memory>) -> io::Result<()> {
        (**self).lend(memory)
    }

    fn take_back(&mut self, bytes: u64) -> io::Result<()> {
        (**self).take_back(bytes)
    }

    fn can_overwrite(&self) -> bool {
        (**self).can_overwrite()
    }

    fn overwrite(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        (**self).overwrite(at, bytes)
    }

    fn kept(&self, taken: u64) -> u64 {
        (**self).kept(taken)
    }

    fn holds_back(&self) -> bool {
        (**self).holds_back()
    }

    fn flush(&mut self) -> io::Result<()> {
        (**self).flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        (**self).finish()
    }
}

/// An open file of any kind: regular, pipe, socket, terminal or device.
#[derive(Debug)]
pub struct OutputFile {
    file: File,
    is_regular: bool,
    /// Where the capture begins in the file; none where nothing can be overwritten.
    start: Option<u64>,
}

impl OutputFile {
    /// Takes `file` as it is: written from its current offset on, or at its end if it was opened with `O_APPEND`.
    ///
    /// # Errors
    /// Those of fstat(2).
    pub fn new(mut file: File) -> io::Result<Self> {
        let is_regular = file.metadata()?.is_file();
        // With this flag pwrite(2) appends, whatever offset it is given.
        let appends = fcntl_getfl(&file)?.contains(OFlags::APPEND);
        let start = if is_regular && !appends { file.stream_position().ok() } else { None };
        Ok(Self { file, is_regular, start })
    }
}

impl Output for OutputFile {
    /// Waits where write(2) would say `EAGAIN`: whoever shares our standard output may have made it non-blocking.
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            match self.file.write_vectored(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait_until_writable(&self.file)?,
                result => return result,
            }
        }
    }

    /// Works from the current offset, which is right for `O_APPEND` and for a file that did not begin with us.
    fn take_back(&mut self, bytes: u64) -> io::Result<()> {
        if !self.is_regular {
            return Ok(());
        }
        let end = self.file.stream_position()?;
        if self.file.metadata()?.len() > end {
            return Err(io::Error::other("somebody else's bytes follow it"));
        }
        let length = end.checked_sub(bytes).ok_or(io::ErrorKind::InvalidInput)?;
        self.file.set_len(length)?;
        // The offset may be shared, as in `(nsntrace -o - ...; date) >file`: leave no hole.
        self.file.seek(SeekFrom::Start(length))?;
        Ok(())
    }

    fn can_overwrite(&self) -> bool {
        self.start.is_some()
    }

    fn overwrite(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let start = self.start.ok_or(io::ErrorKind::Unsupported)?;
        self.file.write_all_at(bytes, start + at)
    }
}

fn wait_until_writable(file: &File) -> io::Result<()> {
    poll(&mut [PollFd::new(file, PollFlags::OUT)], None)?;
    Ok(())
}
