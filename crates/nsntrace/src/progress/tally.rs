//! How much has been recorded: said by worker, which records, and read by front, which has the terminal, at any time.

use nsntrace_sys::SharedNumbers;

use crate::failure::Failure;

/// The count that both see.
#[derive(Debug)]
pub(crate) struct Tally(SharedNumbers<4>);

/// What has been recorded so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// In the files.
    pub(crate) packets: u64,
    /// So long the files are, before compression.
    pub(crate) bytes: u64,
    /// Flows of TCP and UDP.
    pub(crate) connections: u64,
    /// Packets that the kernel had no room for.
    pub(crate) dropped: u64,
}

impl Tally {
    /// For us and those who are forked from us.
    pub(crate) fn new() -> Result<Self, Failure> {
        SharedNumbers::new().map(Self).map_err(|error| Failure::of("cannot share memory", &error))
    }

    pub(crate) fn set(&self, counts: &Counts) {
        self.0.store([counts.packets, counts.bytes, counts.connections, counts.dropped]);
    }

    pub(crate) fn get(&self) -> Counts {
        let [packets, bytes, connections, dropped] = self.0.load();
        Counts { packets, bytes, connections, dropped }
    }
}
