//! The way past a firewall: a queue that the packets of the wire are handed over to before it sees them, and a thread that gives
//! each back with the order to look no further.
//!
//! # Theory of operation
//! It ends with the queue's socket and the table, and hence with worker, however that ends. In between packets of the wire are lost and
//! nothing else.

use std::os::fd::BorrowedFd;

use nsntrace_nat::Nat as Table;
use nsntrace_nfqueue::{Queue, QueueError};
use rustix::thread::CapabilitySet;

use super::super::attendant::Attendant;
use crate::failure::Failure;

/// A bypass that is open. Dropped, it is closed.
pub(crate) struct Bypass(Attendant<QueueError>);

impl Bypass {
    /// Opens it: first the reader, then the rules that hand packets over to it.
    pub(super) fn make(table: &mut Table) -> Result<Self, Failure> {
        let mut queue = Queue::bind()?;
        let number = queue.number();
        let bypass = Self(Attendant::start("nsntrace-bypass", CapabilitySet::NET_ADMIN, move |stop| {
            queue.serve(stop)
        })?);
        table.hand_over(number)?;
        Ok(bypass)
    }

    /// Readable when it has closed though nobody wanted it to.
    pub(crate) fn closed(&self) -> Option<BorrowedFd<'_>> {
        self.0.ended()
    }

    /// Says why it has closed, if it has.
    pub(crate) fn outcome(&mut self) -> Result<(), Failure> {
        self.0.outcome()
    }
}
