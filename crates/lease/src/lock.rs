//! `flock(2)` on a file, let go when dropped.
//!
//! A lock belongs to the open file, which a fork shares: closing our descriptor would leave it with a child that has
//! yet to exec. So it is let go by name (`LOCK_UN`), never by closing alone.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, retry_on_intr};

/// An open file with a lock on it.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Waits for a lock that excludes all others.
    pub(crate) fn exclusive(fd: OwnedFd) -> Result<Self, Errno> {
        take(&fd, FlockOperation::LockExclusive).map(|()| Self { file: fd.into() })
    }

    /// Waits for a lock that others may share.
    pub(crate) fn shared(fd: OwnedFd) -> Result<Self, Errno> {
        take(&fd, FlockOperation::LockShared).map(|()| Self { file: fd.into() })
    }

    /// Takes a lock that excludes all others, or hands the file back when anybody has one.
    pub(crate) fn try_exclusive(fd: OwnedFd) -> Result<Result<Self, OwnedFd>, Errno> {
        match take(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Ok(Self { file: fd.into() })),
            Err(Errno::WOULDBLOCK) => Ok(Err(fd)),
            Err(errno) => Err(errno),
        }
    }

    /// Makes the lock exclusive if nobody shares it. If somebody does, the lock is lost: the kernel converts by letting
    /// go first (flock(2)).
    pub(crate) fn upgrade(&self) -> Result<bool, Errno> {
        match take(&self.file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Lets others share an exclusive lock. Not atomic either, so the caller holds a mutex.
    pub(crate) fn downgrade(&self) -> Result<(), Errno> {
        take(&self.file, FlockOperation::LockShared)
    }

    /// The locked file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // It fails on a bad descriptor alone, and `file` is a good one.
        let _ = take(&self.file, FlockOperation::Unlock);
    }
}

fn take(fd: impl AsFd, operation: FlockOperation) -> Result<(), Errno> {
    retry_on_intr(|| flock(&fd, operation))
}
