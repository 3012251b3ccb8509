//! Making, entering and searching a namespace.
//!
//! # Kernel interface
//! `unshare(CLONE_NEWNET)`, setns(2): `CAP_SYS_ADMIN`. `/proc/thread-self/ns/net`. Who is inside is told by `/proc/PID/net/dev`: procfs
//! gives each namespace files of its own, and shows them to anybody, where `/proc/PID/ns/net` is for whoever may trace that process.
//!
//! # References
//! `get_proc_task_net()` in fs/proc/proc_net.c; `proc_alloc_inum()` in fs/proc/generic.c.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::fs::MetadataExt as _;
use std::path::Path;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::NetnsError;
use crate::settings::Settings;

/// A network namespace, kept alive by this descriptor.
#[derive(Debug)]
pub struct Netns {
    fd: OwnedFd,
    /// What procfs calls its table of devices: one namespace, one inode.
    devices: u64,
}

impl Netns {
    /// Makes a namespace and runs `inside` in it, on a thread that ends with it.
    ///
    /// The settings that an administrator may have changed for the caller's namespace and that decide what a program may do
    /// (`ping_group_range` and the like) are carried over.
    ///
    /// # Errors
    /// [`NetnsError::Unshare`], [`NetnsError::Thread`], [`NetnsError::Proc`].
    ///
    /// # Panics
    /// When `inside` panics.
    pub fn create<T: Send>(inside: impl FnOnce() -> T + Send) -> Result<(Self, T), NetnsError> {
        let carried = Settings::read();
        let unshared = || {
            nsntrace_sys::unshare_netns().map_err(NetnsError::Unshare)?;
            carried.write();
            Ok((Self::of_this_thread()?, inside()))
        };
        thread::scope(|scope| {
            let made = thread::Builder::new().name("nsntrace-netns".into()).spawn_scoped(scope, unshared);
            match made.map_err(NetnsError::Thread)?.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    fn of_this_thread() -> Result<Self, NetnsError> {
        // Not /proc/self: that is the process, whose namespace is its first thread's.
        let path = Path::new("/proc/thread-self/ns/net");
        let failed = |source| NetnsError::Proc { path: path.into(), source };
        let fd = File::open(path).map_err(failed)?.into();
        let table = Path::new("/proc/thread-self/net/dev");
        let devices = inode_of(table).map_err(|source| NetnsError::Proc { path: table.into(), source })?;
        Ok(Self { fd, devices })
    }

    /// Moves the calling thread into the namespace.
    ///
    /// # Errors
    /// [`NetnsError::Enter`]: `EPERM` without `CAP_SYS_ADMIN`.
    pub fn enter(&self) -> Result<(), NetnsError> {
        move_into_link_name_space(self.fd.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|errno| NetnsError::Enter(errno.into()))
    }

    /// The processes inside, whoever they belong to, by pid. Empty when procfs cannot be read.
    pub fn members(&self) -> Vec<i32> {
        let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
        processes
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| {
                let table = format!("/proc/{pid}/net/dev");
                inode_of(Path::new(&table)).is_ok_and(|inode| inode == self.devices)
            })
            .collect()
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The inode of the calling thread's network namespace: tells namespaces that exist at the same time apart.
///
/// # Errors
/// [`NetnsError::Proc`].
pub fn current_id() -> Result<u64, NetnsError> {
    let path = Path::new("/proc/thread-self/ns/net");
    inode_of(path).map_err(|source| NetnsError::Proc { path: path.into(), source })
}

fn inode_of(path: &Path) -> io::Result<u64> {
    Ok(fs::metadata(path)?.st_ino())
}
