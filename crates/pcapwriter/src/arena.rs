//! Records that wait in memory for their write, with the place where each ends.

use std::io;

use crate::output::Output;

/// Records that wait for their write.
pub(crate) struct Arena {
    bytes: Vec<u8>,
    /// Where each record ends in `bytes`, ascending.
    ends: Vec<usize>,
}

/// What became of the records of an arena.
pub(crate) struct Drained {
    /// How many are in the output, whole.
    pub(crate) whole: usize,
    /// How many are not.
    pub(crate) missing: usize,
    /// How many bytes of the first missing one are in the output.
    pub(crate) torn_bytes: usize,
    pub(crate) result: io::Result<()>,
}

impl Arena {
    /// An arena that takes `capacity` bytes without an allocation.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity), ends: Vec::with_capacity(capacity / TYPICAL_RECORD_LEN) }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds what `append` appends as one record, or nothing where it fails.
    pub(crate) fn push<E>(&mut self, append: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        append(&mut self.bytes)?;
        self.ends.push(self.bytes.len());
        Ok(())
    }

    /// Writes all records and forgets them, whether the output took them or not.
    pub(crate) fn drain_to(&mut self, output: &mut impl Output) -> Drained {
        let (taken, result) = write_all(output, &self.bytes);
        let whole = self.ends.partition_point(|&end| end <= taken);
        let whole_bytes = whole.checked_sub(1).map_or(0, |last| self.ends[last]);
        let drained =
            Drained { whole, missing: self.ends.len() - whole, torn_bytes: taken - whole_bytes, result };
        self.bytes.clear();
        self.ends.clear();
        drained
    }
}

/// Writes `bytes`, in as many pieces as the output likes, and says how many it took.
fn write_all(output: &mut impl Output, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut taken = 0;
    while taken < bytes.len() {
        match output.write(&bytes[taken..]) {
            Ok(0) => return (taken, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => taken += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (taken, Err(error)),
        }
    }
    (taken, Ok(()))
}

/// A bare TCP acknowledgement in pcapng, in bytes.
const TYPICAL_RECORD_LEN: usize = 110;
