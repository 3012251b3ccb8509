//! Letting go of inherited descriptors.
//!
//! # Kernel interface
//! `close_range` (Linux 5.9), else `close` on what `/proc/self/fd` lists.

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// Closes every descriptor of this process but `kept` and the three standard ones.
///
/// A process that outlives what the shell waits for must not hold other people's pipes open: their readers would wait.
///
/// To be called right after `fork`, in the child, before anything else is opened: values of the parent that
/// own descriptors not listed in `kept` must have been forgotten or never be dropped.
pub fn close_all_but(kept: &[BorrowedFd<'_>]) {
    let mut kept: Vec<RawFd> = kept.iter().map(AsRawFd::as_raw_fd).collect();
    kept.sort_unstable();
    let mut first = FIRST_AFTER_STDERR;
    for fd in kept.into_iter().filter(|&fd| fd >= FIRST_AFTER_STDERR) {
        if fd > first {
            close_range(first, fd - 1);
        }
        first = fd + 1;
    }
    close_range(first, RawFd::MAX);
}

const FIRST_AFTER_STDERR: RawFd = 3;

fn close_range(first: RawFd, last: RawFd) {
    // SAFETY: a plain system call on integers. The caller of `close_all_but` promised that nobody in this process
    // still owns what is closed, so no descriptor number is pulled from under a live owner.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if done != 0 {
        close_listed(first, last);
    }
}

/// What `close_range` does, for kernels before 5.9.
fn close_listed(first: RawFd, last: RawFd) {
    let Ok(listing) = fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> =
        listing.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| (first..=last).contains(fd)) {
        // SAFETY: as above; closing the listing's own descriptor, gone by now, fails with EBADF and does nothing.
        unsafe { libc::close(fd) };
    }
}
