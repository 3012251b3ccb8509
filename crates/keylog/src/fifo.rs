//! The file that programs log to: a pipe with a name, in a file system that nobody else has.
//!
//! # Theory of operation
//! The pipe lies in a tmpfs that is mounted for the traced program alone, so it goes with the program's mount namespace, whoever is killed. The tmpfs is made
//! first and mounted later, by another process: whoever inherits the descriptors can read, and nobody who opens the pipe waits for a reader as long as
//! one of them lives. For the place of the mount a folder is needed that is on every machine and has nothing in it that anybody could miss.
//!
//! # Kernel interface
//! fsopen(2), fsmount(2), move_mount(2) (Linux 5.2): `CAP_SYS_ADMIN` over the mount namespace. mkfifo(3), symlink(2), rename(2), `F_SETPIPE_SZ`.
//!
//! # References
//! `proc_tty_init()` in fs/proc/proc_tty.c: the folder is kept, empty, for programs that look for it. fifo(7).

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::AtFlags;
use rustix::fs::{CWD, FileType, Mode, OFlags, chmodat, mknodat, openat, renameat, symlinkat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen, move_mount,
};
use rustix::pipe::fcntl_setpipe_size;

/// A pipe with a name, in a tmpfs of its own.
#[derive(Debug)]
pub struct Fifo {
    /// The root of the tmpfs.
    folder: OwnedFd,
    /// Open for both ends, so that it never is at its end.
    pipe: OwnedFd,
}

impl Fifo {
    /// Where programs find it.
    pub const PATH: &str = "/proc/tty/ldisc/keys";

    /// Makes it, in no place yet.
    ///
    /// # Errors
    /// Those of fsopen(2) and fsmount(2): `EPERM` without `CAP_SYS_ADMIN`, `ENOSYS` before Linux 5.2; of mknod(2) and open(2).
    pub fn make() -> io::Result<Self> {
        let tmpfs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (key, value) in [("mode", "755"), ("size", "64k")] {
            fsconfig_set_string(tmpfs.as_fd(), key, value)?;
        }
        fsconfig_create(tmpfs.as_fd())?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let folder = fsmount(tmpfs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
        // Whoever sees it may write, and nobody read: the program may change its user. Umask would take from that.
        let mode = Mode::from_raw_mode(0o622);
        mknodat(&folder, NAME, FileType::Fifo, mode, 0)?;
        chmodat(&folder, NAME, mode, AtFlags::empty())?;
        let pipe = openat(&folder, NAME, OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
        // Less does, too; then a writer may have to wait for us.
        let _smaller = fcntl_setpipe_size(&pipe, PIPE_LEN);
        Ok(Self { folder, pipe })
    }

    /// Puts it to its place in the mount namespace of this process, which has to be its own.
    ///
    /// # Errors
    /// Those of move_mount(2): `ENOENT` without procfs, `EPERM` without `CAP_SYS_ADMIN`.
    pub fn mount(&self) -> io::Result<()> {
        let place = Path::new(Self::PATH).parent().unwrap_or(Path::new("/"));
        Ok(move_mount(self.folder.as_fd(), "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
    }

    /// The end to read from, which does not block.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn reader(&self) -> io::Result<OwnedFd> {
        self.pipe.try_clone()
    }

    /// Has whoever opens it from now on write to `file` instead, if he may: nobody is left to read.
    ///
    /// # Errors
    /// Those of symlink(2) and rename(2).
    pub fn lead_to(&self, file: &Path) -> io::Result<()> {
        symlinkat(file, &self.folder, NEXT_NAME)?;
        Ok(renameat(&self.folder, NEXT_NAME, &self.folder, NAME)?)
    }

    /// The same once more, for another process.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { folder: self.folder.try_clone()?, pipe: self.pipe.try_clone()? })
    }
}

const NAME: &str = "keys";
const NEXT_NAME: &str = "next";
/// What every user may have (pipe(7), `pipe-max-size`): the keys of a thousand connections.
const PIPE_LEN: usize = 1 << 20;
