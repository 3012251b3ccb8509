//! A namespace's name under /run/netns, by which `ip netns exec` finds it.
//!
//! # Kernel interface
//! mount(2) `MS_BIND` of the namespace's descriptor over a file, umount2(2) `MNT_DETACH`. `CAP_SYS_ADMIN`.
//!
//! # References
//! ip-netns(8).

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::{Path, PathBuf};

use rustix::mount::{UnmountFlags, mount_bind, unmount};

use crate::error::NetnsError;
use crate::namespace::Netns;

/// A name that is taken back on drop. While it stands it keeps the namespace alive.
#[derive(Debug)]
pub struct Name {
    path: PathBuf,
}

impl Name {
    /// Shows `netns` as `/run/netns/NAME`, as `ip netns attach NAME` does.
    ///
    /// # Errors
    /// [`NetnsError::Name`]: `EEXIST` when the name is taken, `EROFS`, or `EPERM` without `CAP_SYS_ADMIN`.
    pub fn show(netns: &Netns, name: &str) -> Result<Self, NetnsError> {
        let path = Path::new(DIRECTORY).join(name);
        let failed = |step, source| NetnsError::Name { step, path: path.clone(), source };
        create(&path).map_err(|source| failed("make", source))?;
        let shown = Self { path: path.clone() };
        let source = format!("/proc/self/fd/{}", netns.as_fd().as_raw_fd());
        mount_bind(source, &path).map_err(|errno| failed("mount the network namespace on", errno.into()))?;
        Ok(shown)
    }

    /// Takes back a name that a run left behind when it was killed, as `ip netns delete NAME` does.
    ///
    /// # Errors
    /// [`NetnsError::Name`] when it is there and cannot be removed.
    pub fn take_back(name: &str) -> Result<(), NetnsError> {
        remove(&Path::new(DIRECTORY).join(name))
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // Nobody is left to tell; the next run finds the name and takes it back.
        let _ = remove(&self.path);
    }
}

/// Makes an empty file to mount on. Another run may remove the directory, empty for a moment, between our two steps.
fn create(path: &Path) -> io::Result<()> {
    loop {
        fs::create_dir_all(DIRECTORY)?;
        match fs::File::create_new(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            made => return made.map(drop),
        }
    }
}

fn remove(path: &Path) -> Result<(), NetnsError> {
    match unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        // INVAL: not a mount point, as when it was never mounted or an earlier clean-up was cut short.
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
        Err(errno) => {
            return Err(NetnsError::Name { step: "unmount", path: path.into(), source: errno.into() });
        }
    }
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(NetnsError::Name { step: "remove", path: path.into(), source })
        }
        _ => {
            // Ours if we made it; in use, or a mount point as `ip netns` makes it, it stays.
            let _ = fs::remove_dir(DIRECTORY);
            Ok(())
        }
    }
}

/// Where ip-netns(8) looks.
const DIRECTORY: &str = "/run/netns";
