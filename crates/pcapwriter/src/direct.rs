//! A file written past the page cache.
//!
//! # Theory of operation
//! With `O_DIRECT` the kernel moves pages of ours to the disk instead of copying them into its cache first, which is what writing costs most. In return
//! memory, offset and length must be multiples of the device's blocks. So records are collected in one aligned buffer of 1 MiB (2 MiB for
//! [`PastCache::Always`]), which is written when it is full. What is left when packets become few, or at the end, goes the usual way; the next piece then is as
//! much shorter as it takes to be aligned again. A file system that cannot do it, or changes its mind, gets the usual way from then on.
//!
//! # Kernel interface
//! fcntl(2) `F_SETFL` with `O_DIRECT`; write(2), writev(2), pwrite(2), ftruncate(2).
//!
//! # References
//! open(2), NOTES on `O_DIRECT`.

mod pace;
mod stage;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::time::Instant;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use self::pace::Pace;
pub use self::pace::PastCache;
use self::stage::{Stage, is_aligned};
use crate::output::Output;

/// A regular file that is written past the page cache, in large pieces, when that is the better way.
///
/// Dropped without [`finish`](Output::finish), it writes what it has taken, and nobody learns of a failure.
#[derive(Debug)]
pub struct DirectFile {
    file: File,
    /// The file system has not refused.
    can_direct: bool,
    /// The flag of the open file.
    is_direct: bool,
    pace: Pace,
    stage: Stage,
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
    pub fn new(mut file: File, when: PastCache) -> Result<Self, File> {
        let is_fit = file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() == 0)
            && file.stream_position().is_ok_and(|position| position == 0);
        if !is_fit || set_direct(&file, true).is_err() {
            return Err(file);
        }
        Ok(Self {
            file,
            can_direct: true,
            is_direct: true,
            pace: Pace::new(when, Instant::now()),
            stage: match when {
                PastCache::Always => Stage::huge(),
                PastCache::WhenFast => Stage::new(),
            },
            written: 0,
            ends: VecDeque::new(),
            kept: 0,
            has_failed: false,
        })
    }

    /// Collects records, and writes whatever makes a piece.
    fn collect(&mut self, slices: &[IoSlice<'_>], len: usize) -> io::Result<usize> {
        self.ends.push_back(self.written + (self.stage.bytes().len() + len) as u64);
        for slice in slices {
            let mut rest = &**slice;
            while !rest.is_empty() {
                if self.stage.is_empty() {
                    self.stage.begin(self.written);
                }
                rest = self.stage.fill(rest);
                if self.stage.is_full() {
                    self.write_piece()?;
                }
            }
        }
        Ok(len)
    }

    /// Writes what was collected, past the cache if it can be.
    fn write_piece(&mut self) -> io::Result<()> {
        let (len, start) = (self.stage.bytes().len(), Instant::now());
        let is_direct = self.can_direct && is_aligned(self.written, len);
        self.set_direct(is_direct)?;
        self.write_collected()?;
        if is_direct {
            self.pace.wrote_past(len, start, Instant::now());
        }
        Ok(())
    }

    fn write_collected(&mut self) -> io::Result<()> {
        let mut from = 0;
        while from < self.stage.bytes().len() {
            match self.file.write(&self.stage.bytes()[from..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    from += count;
                    self.written += count as u64;
                    self.keep_whole_records();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidInput && self.is_direct => {
                    self.can_direct = false;
                    self.set_direct(false)?;
                }
                Err(error) => return Err(error),
            }
        }
        self.stage.begin(self.written);
        Ok(())
    }

    fn keep_whole_records(&mut self) {
        while let Some(end) = self.ends.pop_front_if(|end| *end <= self.written) {
            self.kept = end;
        }
    }

    /// The usual way, behind all that was collected.
    fn write_through_cache(&mut self, slices: &[IoSlice<'_>], len: usize) -> io::Result<usize> {
        self.flush()?;
        let start = Instant::now();
        let count = self.file.write_vectored(slices)?;
        self.pace.wrote_through(count, start, Instant::now());
        self.written += count as u64;
        if count == len {
            self.kept = self.written;
        }
        Ok(count)
    }

    fn set_direct(&mut self, on: bool) -> io::Result<()> {
        if self.is_direct != on {
            set_direct(&self.file, on)?;
            self.is_direct = on;
        }
        Ok(())
    }

    /// Leaves whole records only. Gives the failure back, with the second one if there is one.
    fn cut(&mut self, failure: io::Error) -> io::Error {
        self.has_failed = true;
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
    /// Past the cache, it takes all of `slices`, whole records, or nothing.
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let len = slices.iter().map(|slice| slice.len()).sum();
        if self.pace.come(len, Instant::now()) && self.can_direct {
            self.collect(slices, len).map_err(|failure| self.cut(failure))
        } else {
            self.write_through_cache(slices, len)
        }
    }

    /// Of what went through the cache: nothing else is taken in part.
    fn take_back(&mut self, bytes: u64) -> io::Result<()> {
        let len = self.written.checked_sub(bytes).ok_or(io::ErrorKind::InvalidInput)?;
        self.file.set_len(len)?;
        self.file.seek(SeekFrom::Start(len))?;
        (self.written, self.kept) = (len, len);
        Ok(())
    }

    fn can_overwrite(&self) -> bool {
        true
    }

    /// In the file through the cache, whose page the next piece does not touch; in the buffer where it is not in the file yet.
    fn overwrite(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let in_file = usize::try_from(self.written.saturating_sub(at)).unwrap_or(usize::MAX).min(bytes.len());
        let (written, collected) = bytes.split_at(in_file);
        if !written.is_empty() {
            self.set_direct(false)?;
            self.file.write_all_at(written, at)?;
        }
        let place = usize::try_from(at.saturating_sub(self.written)).unwrap_or(usize::MAX);
        if self.stage.replace(place, collected) { Ok(()) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    fn kept(&self, taken: u64) -> u64 {
        if self.holds_back() || self.has_failed { self.kept.min(taken) } else { taken }
    }

    fn holds_back(&self) -> bool {
        !self.stage.is_empty() && !self.has_failed
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.has_failed {
            // `write` has said so.
            return Ok(());
        }
        let switched = self.set_direct(false);
        switched.and_then(|()| self.write_collected()).map_err(|failure| self.cut(failure))
    }

    fn finish(&mut self) -> io::Result<()> {
        self.flush()
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
