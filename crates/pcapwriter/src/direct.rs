//! A file written past the page cache.
//!
//! # Theory of operation
//! With `O_DIRECT` the kernel moves pages of ours to the disk instead of copying them into its cache first, which is what writing costs most. In return
//! memory, offset and length must be multiples of the device's blocks. To sleep for a write and to be woken costs as much as to write a mebibyte, so
//! some are written at once; for which there is memory enough, without any of our own: blocks of the ring whose packets have been recorded
//! are kept as the place where the records of the next ones are collected, and go back when those are written. What is left when packets become
//! few, or at the end, goes the usual way, and so does what is missing to the next page where one begins again. A file system that cannot do it,
//! or changes its mind, gets the usual way from then on.
//!
//! # Kernel interface
//! fcntl(2) `F_SETFL` with `O_DIRECT`; writev(2), pwrite(2), ftruncate(2).
//!
//! # References
//! open(2), NOTES on `O_DIRECT`.

mod pace;
mod stage;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use self::pace::Pace;
pub use self::pace::PastCache;
use self::stage::{Stage, whole_pages};
use crate::output::{Memory, Output};

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
    /// How often memory may be lent before what was collected is written.
    max_lent: usize,
    /// How often it was since the last time, and when that was.
    lent: usize,
    since: Instant,
    /// Bytes in the file.
    written: u64,
    /// Where the records that came together end, of those that are not all in the file.
    ends: VecDeque<u64>,
    /// Bytes of the file that are whole records.
    kept: u64,
    has_failed: bool,
}

impl DirectFile {
    /// Takes an empty regular file at its beginning. Of the memory that it is [lent](Output::lend), it gives back the oldest when it was lent another
    /// `max_lent` times.
    ///
    /// # Errors
    /// The file, untouched, where this is not possible: it is a pipe, or has bytes already, or its file system knows no `O_DIRECT`.
    pub fn new(mut file: File, when: PastCache, max_lent: usize) -> Result<Self, File> {
        let is_fit = file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() == 0)
            && file.stream_position().is_ok_and(|position| position == 0);
        if !is_fit || set_direct(&file, true).is_err() {
            return Err(file);
        }
        let now = Instant::now();
        Ok(Self {
            file,
            can_direct: true,
            is_direct: true,
            pace: Pace::new(when, now),
            stage: Stage::default(),
            max_lent,
            lent: 0,
            since: now,
            written: 0,
            ends: VecDeque::new(),
            kept: 0,
            has_failed: false,
        })
    }

    /// Collects records; writes them when there is no more room.
    fn collect(&mut self, slices: &[IoSlice<'_>], len: usize) -> io::Result<usize> {
        self.ends.push_back(self.written + (self.stage.len() + len) as u64);
        for slice in slices {
            let mut rest = self.stage.fill(slice);
            while !rest.is_empty() {
                self.write_pages()?;
                // Full, it ended with a page: all of it is written.
                self.stage.begin(self.written);
                rest = self.stage.fill(rest);
            }
        }
        Ok(len)
    }

    /// Writes what was collected up to the last whole page, past the cache if it can be. Gives how much that is.
    fn write_pages(&mut self) -> io::Result<usize> {
        let (len, start) = (self.stage.len(), Instant::now());
        let head = self.stage.to_page();
        let pages = whole_pages(len - head);
        self.write_collected(0, head, false)?;
        self.write_collected(head, pages, self.can_direct)?;
        self.pace.wrote_past(pages, start, Instant::now());
        // The memory that is kept is the first.
        (self.lent, self.since) = (1, Instant::now());
        Ok(head + pages)
    }

    /// Writes a part of what was collected.
    fn write_collected(&mut self, from: usize, len: usize, is_direct: bool) -> io::Result<()> {
        let mut done = 0;
        while done < len {
            self.set_direct(is_direct && self.can_direct)?;
            match self.file.write_vectored(&self.stage.slices(from + done, len - done)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    done += count;
                    self.written += count as u64;
                    self.keep_whole_records();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if self.is_direct && is_refusal(&error) => self.can_direct = false,
                Err(error) => return Err(error),
            }
        }
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
        self.set_direct(false)?;
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
        // Nothing is written any more, and whoever lent memory may wait for it.
        self.stage.give_back();
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
        let goes_past = self.pace.come(len, Instant::now()) && self.can_direct;
        if goes_past && self.stage.has_memory() {
            self.collect(slices, len).map_err(|failure| self.cut(failure))
        } else {
            self.write_through_cache(slices, len)
        }
    }

    /// What goes through the cache needs no memory.
    fn lend(&mut self, memory: Box<dyn Memory>) -> io::Result<()> {
        let is_of_use = self.pace.goes_past() && self.can_direct && !self.has_failed;
        if !is_of_use || !self.stage.takes((*memory).as_ref()) {
            return Ok(());
        }
        if !self.stage.has_memory() {
            self.stage.begin(self.written);
            (self.lent, self.since) = (0, Instant::now());
        }
        self.lent += 1;
        if self.lent > self.max_lent || self.since.elapsed() > MAX_WAIT {
            let written = self.write_pages().map_err(|failure| self.cut(failure))?;
            self.stage.move_to(memory, self.written, written);
        } else {
            self.stage.lend(memory);
        }
        Ok(())
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
        self.stage.len() > 0 && !self.has_failed
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.has_failed {
            // `write` has said so.
            return Ok(());
        }
        let result = self.write_collected(0, self.stage.len(), false);
        self.stage.give_back();
        result.map_err(|failure| self.cut(failure))
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

/// Whether an error says that it cannot be done this way: the file system's, or that of a kernel which cannot give this memory to a device.
fn is_refusal(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::FAULT))
}

/// Whoever looks at the file meanwhile sees what came up to then.
const MAX_WAIT: Duration = Duration::from_millis(250);
