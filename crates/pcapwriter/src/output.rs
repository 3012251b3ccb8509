//! Where records go: regular files, which can give back what they took, and streams, which cannot.
//!
//! # Kernel interface
//! write(2), fstat(2), ftruncate(2), lseek(2), poll(2). No capability is needed.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use rustix::event::{PollFd, PollFlags, poll};

/// Where records go.
pub trait Output {
    /// Writes a part of `bytes`, as write(2) does, and says how many.
    ///
    /// # Errors
    /// Those of write(2). [`io::ErrorKind::Interrupted`] is asked again by the caller; any other ends the capture.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Makes the last `bytes` bytes unwritten, if this is an output that can. A stream does nothing.
    ///
    /// # Errors
    /// The output could, but failed: it still ends with the bytes.
    fn take_back(&mut self, bytes: u64) -> io::Result<()>;
}

impl<O: Output + ?Sized> Output for &mut O {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (**self).write(bytes)
    }

    fn take_back(&mut self, bytes: u64) -> io::Result<()> {
        (**self).take_back(bytes)
    }
}

/// An open file of any kind: regular, pipe, socket, terminal or device.
#[derive(Debug)]
pub struct OutputFile {
    file: File,
    is_regular: bool,
}

impl OutputFile {
    /// Takes `file` as it is: written from its current offset on, or at its end if it was opened with `O_APPEND`.
    ///
    /// # Errors
    /// Those of fstat(2).
    pub fn new(file: File) -> io::Result<Self> {
        let is_regular = file.metadata()?.is_file();
        Ok(Self { file, is_regular })
    }
}

impl Output for OutputFile {
    /// Waits where write(2) would say `EAGAIN`: whoever shares our standard output may have made it non-blocking.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.file.write(bytes) {
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
}

fn wait_until_writable(file: &File) -> io::Result<()> {
    poll(&mut [PollFd::new(file, PollFlags::OUT)], None)?;
    Ok(())
}
