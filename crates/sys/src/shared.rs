//! Numbers that two processes share, one of which was forked from the other.
//!
//! # Kernel interface
//! mmap(2) with `MAP_SHARED` and `MAP_ANONYMOUS`: such memory is copied by no fork, and ends with the last process that has it.

use std::io;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Numbers that whoever is forked from now on shares with us, 0 at first.
#[derive(Debug)]
pub struct SharedNumbers<const N: usize>(NonNull<[AtomicU64; N]>);

// SAFETY: the mapping belongs to the process, not to a thread, and what is in it is atomic.
unsafe impl<const N: usize> Send for SharedNumbers<N> {}
// SAFETY: as above.
unsafe impl<const N: usize> Sync for SharedNumbers<N> {}

impl<const N: usize> SharedNumbers<N> {
    /// Takes a page for them.
    ///
    /// # Errors
    /// `ENOMEM` and its like.
    pub fn new() -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel picks the place, so no existing mapping is replaced; `SharedNumbers` alone knows the address.
        let start = unsafe { mmap_anonymous(null_mut(), Self::BYTES, access, MapFlags::SHARED)? };
        // The kernel never places a mapping at address 0 unasked.
        NonNull::new(start.cast()).map(Self).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// Sets them, one after the other.
    pub fn store(&self, numbers: [u64; N]) {
        for (shared, number) in self.shared().iter().zip(numbers) {
            shared.store(number, Ordering::Relaxed);
        }
    }

    /// What they are. Some may be newer than others.
    pub fn load(&self) -> [u64; N] {
        self.shared().each_ref().map(|shared| shared.load(Ordering::Relaxed))
    }

    fn shared(&self) -> &[AtomicU64; N] {
        // SAFETY: the mapping is as large as this, begins with a page, was all zero, and lasts as long as `self`.
        unsafe { self.0.as_ref() }
    }

    const BYTES: usize = size_of::<[AtomicU64; N]>();
}

impl<const N: usize> Drop for SharedNumbers<N> {
    fn drop(&mut self) {
        // SAFETY: this is what `new` has mapped, and nobody has a reference into it any more.
        // Nothing could be done about an error, and the mapping ends with the process anyway.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), Self::BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That a child's numbers are its parent's is seen by tests/progress.rs: tests have threads, and so cannot fork.
    #[test]
    fn what_is_stored_is_loaded() {
        let numbers = SharedNumbers::new().unwrap();
        assert_eq!(numbers.load(), [0, 0, 0]);
        numbers.store([1, u64::MAX, 3]);
        assert_eq!(numbers.load(), [1, u64::MAX, 3]);
    }
}
