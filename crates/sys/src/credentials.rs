//! Who a thread is, and doing something as its user.
//!
//! # Kernel interface
//! `pidfd_open(PIDFD_THREAD)` (Linux 6.9), ioctl `PIDFD_GET_INFO` (Linux 6.13); setfsuid(2), setfsgid(2), which are of a thread alone.
//!
//! # References
//! include/uapi/linux/pidfd.h; pidfd_open(2); credentials(7).

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

/// What the kernel knows of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Its process.
    pub pid: u32,
    /// Its process's parent; 0 if that is outside of our pid namespace.
    pub parent: u32,
    /// Its effective user.
    pub uid: u32,
    /// The user and group that what it makes belongs to.
    pub file_user: (u32, u32),
    /// Its control group, where the kernel tells.
    pub cgroup: Option<u64>,
}

/// A descriptor of a thread, by its number.
///
/// # Errors
/// `EINVAL` before Linux 6.9; `ESRCH`: it is gone.
pub fn open_thread(tid: i32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open(2) takes two integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, tid, PIDFD_THREAD) };
    let fd = RawFd::try_from(fd).ok().filter(|&fd| fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

impl Credentials {
    /// Those of the thread of a descriptor.
    ///
    /// # Errors
    /// `ENOTTY` before Linux 6.13; `ESRCH`: it is gone.
    pub fn of(thread: BorrowedFd<'_>) -> io::Result<Self> {
        let mut info = PidfdInfo { mask: INFO_PID | INFO_CREDS | INFO_CGROUP, ..PidfdInfo::default() };
        // SAFETY: the kernel reads and writes one structure, whose size is part of the ioctl's number.
        let done = unsafe { libc::ioctl(thread.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        let cgroup = Some(info.cgroup).filter(|_| info.mask & INFO_CGROUP != 0);
        let PidfdInfo { tgid, ppid, euid, fsuid, fsgid, .. } = info;
        Ok(Self { pid: tgid, parent: ppid, uid: euid, file_user: (fsuid, fsgid), cgroup })
    }
}

/// Does something in this thread, so that what it makes belongs to another user and group. Without privilege it belongs to our own.
pub fn as_file_user<T>((uid, gid): (u32, u32), action: impl FnOnce() -> T) -> T {
    // SAFETY: both calls change the calling thread alone, and only whom files and sockets belong to that it makes: nothing that Rust
    // code relies on. They never fail; they give what was before.
    let before = unsafe { (libc::setfsgid(gid), libc::setfsuid(uid)) };
    let done = action();
    // SAFETY: as above.
    unsafe { (libc::setfsuid(before.1.cast_unsigned()), libc::setfsgid(before.0.cast_unsigned())) };
    done
}

/// include/uapi/linux/pidfd.h: `struct pidfd_info`, its first version.
#[repr(C)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    ruid: u32,
    rgid: u32,
    euid: u32,
    egid: u32,
    suid: u32,
    sgid: u32,
    fsuid: u32,
    fsgid: u32,
    exit_code: i32,
}

impl Default for PidfdInfo {
    fn default() -> Self {
        // SAFETY: a structure of numbers.
        unsafe { zeroed() }
    }
}

const INFO_PID: u64 = 1;
const INFO_CREDS: u64 = 2;
const INFO_CGROUP: u64 = 4;
/// `_IOWR(PIDFS_IOCTL_MAGIC, 11, struct pidfd_info)`.
#[expect(clippy::cast_possible_truncation, reason = "64 bytes")]
const PIDFD_GET_INFO: libc::Ioctl =
    ((3_u32 << 30) | ((size_of::<PidfdInfo>() as u32) << 16) | (0xff << 8) | 0x0b) as libc::Ioctl;
const PIDFD_THREAD: libc::c_int = libc::O_EXCL;

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_thread_is_known() {
        let thread = open_thread(rustix::thread::gettid().as_raw_nonzero().get());
        let credentials = thread.and_then(|thread| Credentials::of(thread.as_fd()));
        let credentials = match credentials {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOTTY)) => return,
            known => known.unwrap(),
        };
        assert_eq!(credentials.pid, std::process::id());
        assert_eq!(credentials.uid, rustix::process::geteuid().as_raw());
    }

    #[test]
    fn what_is_made_for_somebody_belongs_to_him() {
        let socket = as_file_user((7, 8), || std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
        let metadata = std::fs::File::from(OwnedFd::from(socket)).metadata().unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (7, 8));
    }
}
