//! Namespaces of threads.
//!
//! # Kernel interface
//! `unshare(CLONE_NEWNET)`, `unshare(CLONE_NEWNS)` (`CAP_SYS_ADMIN`), `unshare(CLONE_NEWUSER)`, `unshare(0)`, ioctl `NS_GET_USERNS` (Linux 4.9),
//! `SO_NETNS_COOKIE` (Linux 5.14).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::thread::UnshareFlags;

use crate::process::wait_until_single_threaded;

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

/// Moves the calling thread into a mount namespace that starts as a copy. Its working directory and root are its own from then on.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`; `ENOSPC` when `user.max_mnt_namespaces` is reached. See unshare(2).
pub fn unshare_mounts() -> io::Result<()> {
    // SAFETY: CLONE_NEWNS also unshares the working directory and root (CLONE_FS) of this thread, which others do not see then;
    // no memory or descriptor that Rust code relies on changes.
    Ok(unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?)
}

/// Moves this process into a new user namespace, in which it has every capability and nobody is mapped yet.
///
/// To be called before any thread is started, or after all have been joined.
///
/// # Errors
/// `ENOSPC` at `user.max_user_namespaces` or below 32 levels (`EUSERS` before Linux 4.9); `EPERM` in a chroot, or where an administrator, a
/// security module or a seccomp filter forbids it; `EINVAL` when the kernel has no user namespaces. See user_namespaces(7). In words:
/// another thread has not ended within 2 s.
pub fn unshare_user() -> io::Result<()> {
    wait_until_single_threaded()?;
    // SAFETY: CLONE_NEWUSER also unshares the working directory and root (CLONE_FS) of the one thread that there is, and replaces its
    // credentials; no memory or descriptor that Rust code relies on changes.
    Ok(unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER) }?)
}

/// Whether a filter on system calls keeps this thread from calling unshare(2) at all, as container engines do: with nothing to separate, every
/// kernel allows it to everybody, and it does nothing.
pub fn is_unshare_filtered() -> bool {
    // SAFETY: no flag is given, so nothing of this thread is changed.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::empty()) }.is_err()
}

/// The user namespace that a network namespace belongs to: who has `CAP_NET_ADMIN` in it has that capability over the network namespace.
///
/// # Errors
/// `EPERM` when it is neither the caller's user namespace nor one below it. See ioctl_nsfs(2).
pub fn owner_of_netns(netns: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: the request takes no argument and gives a new descriptor.
    let fd = unsafe { libc::ioctl(netns.as_raw_fd(), NS_GET_USERNS) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us, nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
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
/// include/uapi/linux/nsfs.h: `_IO(0xb7, 1)`. The type of ioctl's second argument is not the same in all C libraries.
const NS_GET_USERNS: libc::Ioctl = 0xb701;
