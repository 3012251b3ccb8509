//! The file that programs log to: a pipe with a name, in a file system that nobody else has.
//!
//! # Theory of operation
//! The pipe lies in a tmpfs that is mounted for the traced program alone, so it goes with the program's mount namespace, whoever is killed.
//! For the place of the mount a folder is needed that is on every machine and has nothing in it that anybody could miss.
//!
//! # Kernel interface
//! mount(2) tmpfs (`CAP_SYS_ADMIN` in the mount namespace's owner), mkfifo(3), `F_SETPIPE_SZ`.
//!
//! # References
//! `proc_tty_init()` in fs/proc/proc_tty.c: the folder is kept, empty, for programs that look for it. fifo(7).

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use rustix::mount::{MountFlags, mount};
use rustix::pipe::fcntl_setpipe_size;

/// A pipe with a name.
#[derive(Debug)]
pub struct Fifo;

impl Fifo {
    /// Where programs find it.
    pub const PATH: &str = "/proc/tty/ldisc/keys";

    /// Makes it in the mount namespace of this process, which has to be its own, and opens it for reading, without blocking. As long as the descriptor lives
    /// no writer waits for a reader.
    ///
    /// # Errors
    /// Those of mount(2): `ENOENT` without procfs, `EPERM` without `CAP_SYS_ADMIN`; of open(2).
    pub fn make() -> io::Result<OwnedFd> {
        let folder = Path::new(Self::PATH).parent().unwrap_or(Path::new("/"));
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("tmpfs", folder, "tmpfs", flags, c"mode=755,size=64k")?;
        // Whoever sees it may write, and nobody read: the program may change its user.
        mknodat(CWD, Self::PATH, FileType::Fifo, Mode::from_raw_mode(0o622), 0)?;
        rustix::fs::chmod(Self::PATH, Mode::from_raw_mode(0o622))?;
        let pipe = open(Self::PATH, OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
        // Less does, too; then a writer may have to wait for us.
        let _smaller = fcntl_setpipe_size(&pipe, PIPE_LEN);
        Ok(pipe)
    }
}

/// What every user may have (pipe(7), `pipe-max-size`): the keys of a thousand connections.
const PIPE_LEN: usize = 1 << 20;
