//! Namespaces of threads.
//!
//! # Kernel interface
//! `unshare(CLONE_NEWNET)`, `unshare(CLONE_NEWNS)` (`CAP_SYS_ADMIN`), `SO_NETNS_COOKIE` (Linux 5.14).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::thread::UnshareFlags;

/// Moves the calling thread into a new network namespace, alone.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`; `ENOSPC` when `user.max_net_namespaces` is reached; `EINVAL` when the kernel has no
/// network namespaces. See unshare(2).
pub fn unshare_netns() -> io::Result<()> {
    // SAFETY: of all that unshare(2) can separate, only the network namespace is named here. It is a property of the
    // thread, no memory, file table or credential that other threads' Rust code relies on changes.
    Ok(unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }?)
}

/// Moves the calling thread, which must be its process' only one, into a mount namespace that starts as a copy.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`; `ENOSPC` when `user.max_mnt_namespaces` is reached. See unshare(2).
pub fn unshare_mounts() -> io::Result<()> {
    // SAFETY: CLONE_NEWNS also unshares the working directory and root (CLONE_FS) of the one thread that there is;
    // no memory or descriptor that Rust code relies on changes.
    Ok(unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?)
}

/// The number of the network namespace that a socket belongs to: unique from boot to shutdown.
///
/// # Errors
/// `ENOPROTOOPT` before Linux 5.14.
pub fn netns_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie: u64 = 0;
    let mut len: libc::socklen_t = 8;
    // SAFETY: the kernel writes at most `len` bytes to `cookie`, which has room for exactly that many.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    if done == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

/// include/uapi/asm-generic/socket.h; the libc crate has it for some targets only.
const SO_NETNS_COOKIE: libc::c_int = 71;
