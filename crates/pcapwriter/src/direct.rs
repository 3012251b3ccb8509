//! A file written past the page cache.
//!
//! # Theory of operation
//! With `O_DIRECT` the kernel moves pages of ours to the disk instead of copying them into its cache first, which is what writing costs most. In return
//! memory, offset and length must be multiples of the device's blocks. So records are collected in one aligned buffer of 1 MiB,
//! which is written when it is full; the rest at the end goes the usual way. A file system that cannot do it, or changes its
//! mind, gets the usual way from then on.
//!
//! # Kernel interface
//! fcntl(2) `F_SETFL` with `O_DIRECT`; write(2).
//!
//! # References
//! open(2), NOTES on `O_DIRECT`.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice, Seek as _, Write as _};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::output::Output;

/// A regular file that is written past the page cache, in pieces of 1 MiB.
///
/// Dropped without [`finish`](Output::finish), it writes what it has taken, and nobody learns of a failure.
#[derive(Debug)]
pub struct DirectFile {
    file: File,
    /// Longer than the buffer, so that an aligned part of it can be the buffer.
    memory: Vec<u8>,
    /// Where the buffer begins in `memory`.
    start: usize,
    /// Bytes in the buffer.
    filled: usize,
    is_direct: bool,
    /// Bytes in the file.
    written: u64,
    /// Where the records that came together end, of those that are not all in the file.
    ends: VecDeque<u64>,
    /// Bytes of the file that are whole records.
    kept: u64,
    has_failed: bool,
}

impl DirectFile {
    /// Takes an empty regular file at its beginning.
    ///
    /// # Errors
    /// The file, untouched, where this is not possible: it is a pipe, or has bytes already, or its file system knows no `O_DIRECT`.
    pub fn new(mut file: File) -> Result<Self, File> {
        let is_fit = file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() == 0)
            && file.stream_position().is_ok_and(|position| position == 0);
        if !is_fit || set_direct(&file, true).is_err() {
            return Err(file);
        }
        let memory = vec![0; BUFFER_LEN + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        Ok(Self {
            file,
            memory,
            start,
            filled: 0,
            is_direct: true,
            written: 0,
            ends: VecDeque::new(),
            kept: 0,
            has_failed: false,
        })
    }

    fn buffer(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + BUFFER_LEN]
    }

    /// Puts bytes into the buffer, which is written whenever it is full.
    fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let filled = self.filled;
            let room = &mut self.buffer()[filled..];
            let (now, later) = bytes.split_at(bytes.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            self.filled += now.len();
            bytes = later;
            if self.filled == BUFFER_LEN {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Writes what is in the buffer.
    fn flush(&mut self) -> io::Result<()> {
        let mut from = self.start;
        let end = self.start + self.filled;
        while from < end {
            match self.file.write(&self.memory[from..end]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    from += count;
                    self.written += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidInput && self.is_direct => {
                    self.leave_direct()?;
                }
                Err(error) => return Err(error),
            }
        }
        self.filled = 0;
        while let Some(end) = self.ends.pop_front_if(|end| *end <= self.written) {
            self.kept = end;
        }
        Ok(())
    }

    fn leave_direct(&mut self) -> io::Result<()> {
        self.is_direct = false;
        Ok(set_direct(&self.file, false)?)
    }

    /// Leaves whole records only. Gives the failure back, with the second one if there is one.
    fn cut(&mut self, failure: io::Error) -> io::Error {
        self.has_failed = true;
        while let Some(end) = self.ends.pop_front_if(|end| *end <= self.written) {
            self.kept = end;
        }
        match self.file.set_len(self.kept) {
            Ok(()) => failure,
            Err(cut) => {
                let text = format!("{failure}; an incomplete record is left at the end ({cut})");
                io::Error::new(failure.kind(), text)
            }
        }
    }
}

impl Output for DirectFile {
    /// Takes all of `slices`, whole records, or nothing.
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let len: usize = slices.iter().map(|slice| slice.len()).sum();
        self.ends.push_back(self.written + (self.filled + len) as u64);
        match slices.iter().try_for_each(|slice| self.put(slice)) {
            Ok(()) => Ok(len),
            Err(failure) => Err(self.cut(failure)),
        }
    }

    /// Never needed: nothing is taken in part.
    fn take_back(&mut self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn kept(&self, taken: u64) -> u64 {
        self.kept.min(taken)
    }

    fn finish(&mut self) -> io::Result<()> {
        if self.has_failed {
            // `write` has said so.
            return Ok(());
        }
        let written = if self.is_direct { self.leave_direct() } else { Ok(()) };
        written.and_then(|()| self.flush()).map_err(|failure| self.cut(failure))
    }
}

impl Drop for DirectFile {
    fn drop(&mut self) {
        let _nobody_asks = self.finish();
    }
}

fn set_direct(file: &File, on: bool) -> rustix::io::Result<()> {
    let mut flags = fcntl_getfl(file)?;
    flags.set(OFlags::DIRECT, on);
    fcntl_setfl(file, flags)
}

/// Large enough that the disk is kept busy by one write at a time.
const BUFFER_LEN: usize = 1 << 20;
/// The size of a page, which is a multiple of the blocks of every device that has them.
const ALIGNMENT: usize = 4096;
