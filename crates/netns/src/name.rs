//! A namespace's name under /run/netns, by which `ip netns exec` finds it.
//!
//! # Theory of operation
//! `ip netns add` mounts the namespace on a file, which keeps it alive until somebody unmounts it: after a run that was killed the
//! wire would stay, too. So the name is a symbolic link to the descriptor of a living process, which leads nowhere once that is gone.
//! `ip netns` follows it as it opens it; nothing is mounted, so it takes no capability either.
//!
//! # Kernel interface
//! symlink(2) to `/proc/PID/fd/N`, unlink(2).
//!
//! # References
//! ip-netns(8), proc_pid_fd(5).

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::error::NetnsError;
use crate::namespace::Netns;

/// Shows `netns` as `/run/netns/NAME`, as `ip netns attach NAME` does, for as long as this process has it open.
///
/// # Errors
/// [`NetnsError::Name`]: `EEXIST` when the name is taken, `EROFS`, or `EACCES` for whoever may not write to /run.
pub fn show(netns: &Netns, name: &str) -> Result<(), NetnsError> {
    let path = path_of(name)?;
    let target = format!("/proc/{}/fd/{}", std::process::id(), netns.as_fd().as_raw_fd());
    link(&target, &path).map_err(|source| {
        remove_directory();
        NetnsError::Name { step: "make", path, source }
    })
}

/// Removes a name of ours, or one that a run left behind when it was killed, as `ip netns delete NAME` does. None is fine.
///
/// # Errors
/// [`NetnsError::Name`] when it is there and cannot be removed.
pub fn hide(name: &str) -> Result<(), NetnsError> {
    let path = path_of(name)?;
    match fs::remove_file(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(NetnsError::Name { step: "remove", path, source })
        }
        _ => {
            remove_directory();
            Ok(())
        }
    }
}

/// A name leads nowhere else, whoever has written it down.
fn path_of(name: &str) -> Result<PathBuf, NetnsError> {
    let path = Path::new(DIRECTORY).join(name);
    if matches!(name, "" | "." | "..") || name.contains('/') {
        return Err(NetnsError::Name { step: "use", path, source: io::ErrorKind::InvalidInput.into() });
    }
    Ok(path)
}

/// Another run may remove the directory, empty for a moment, between our two steps.
fn link(target: &str, path: &Path) -> io::Result<()> {
    loop {
        fs::create_dir_all(DIRECTORY)?;
        match symlink(target, path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            made => return made,
        }
    }
}

/// Ours if we made it; in use, or a mount point as `ip netns` makes it, it stays.
fn remove_directory() {
    let _ = fs::remove_dir(DIRECTORY);
}

/// Where ip-netns(8) looks.
const DIRECTORY: &str = "/run/netns";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_its_directory() {
        for name in ["", ".", "..", "../x", "/etc/passwd", "a/b"] {
            assert!(path_of(name).is_err(), "{name}");
        }
        assert_eq!(path_of("nsntrace-1").unwrap(), Path::new("/run/netns/nsntrace-1"));
    }
}
