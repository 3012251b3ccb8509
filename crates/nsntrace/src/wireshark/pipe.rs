//! The pipe that Wireshark reads: one that it opens itself, and that has no name any more.
//!
//! # Theory of operation
//! Wireshark has a process of its own read packets. A pipe that Wireshark were started with would stay open in its own hands when the user stops the
//! capture: we would write to nobody, and wait for ever. So Wireshark gets a descriptor that stands for the pipe and opens neither end, `O_PATH`, and the
//! process that reads opens it by its path under /proc/self/fd. When that process ends, the pipe has no reader, and the next write says so. Until it has
//! come, we stand in for it.
//!
//! # Kernel interface
//! mknod(2), fchown(2), open(2) with `O_PATH`, inotify(7): `IN_ACCESS` comes when somebody has read.

use std::env;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::PathBuf;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, mknodat, open, unlink};
use rustix::pipe::fcntl_setpipe_size;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::user::Identity;

/// A pipe that whoever has the right descriptor can open, and nobody else.
#[derive(Debug)]
pub(super) struct Pipe {
    /// Both ends, so that it has a reader and a writer as long as we want.
    both: OwnedFd,
    /// Neither end.
    place: OwnedFd,
}

impl Pipe {
    /// Makes it, to be read by `user` or else by us.
    ///
    /// # Errors
    /// Those of mknod(2) in the folder for temporary files, and `ESTALE` where somebody else has been quicker than we.
    pub(super) fn make(user: Option<&Identity>) -> io::Result<Self> {
        let mut random = [0; 8];
        getrandom(&mut random, GetRandomFlags::empty())?;
        let name = env::temp_dir().join(format!("nsntrace-{:016x}", u64::from_ne_bytes(random)));
        mknodat(CWD, &name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let both = open(&name, flags, Mode::empty());
        unlink(&name)?;
        let both = both?;
        let is_ours = FileType::from_raw_mode(fstat(&both)?.st_mode) == FileType::Fifo;
        if !is_ours {
            return Err(rustix::io::Errno::STALE.into());
        }
        user.map_or(Ok(()), |user| user.give(both.as_fd()))?;
        // As much as every user may have; with less, the ring waits sooner.
        let _smaller = fcntl_setpipe_size(&both, PIPE_LEN);
        let place = open(path_of(&both), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { both, place })
    }

    /// The end to write to, which blocks.
    pub(super) fn writer(&self) -> io::Result<File> {
        Ok(File::from(open(path_of(&self.both), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?))
    }

    /// What is to be handed down to whoever is to open it by its path.
    pub(super) fn place(&self) -> &OwnedFd {
        &self.place
    }

    /// Readable when somebody has read. Whoever has the descriptor open keeps watching.
    pub(super) fn watch(&self) -> io::Result<OwnedFd> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        inotify::add_watch(&inotify, path_of(&self.both), WatchFlags::ACCESS)?;
        Ok(inotify)
    }
}

/// Where a process finds what it has open.
pub(super) fn path_of(fd: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}

/// What every user may have (pipe(7), `pipe-max-size`).
const PIPE_LEN: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::{Read as _, Write as _};

    fn is_readable(fd: &OwnedFd) -> bool {
        !matches!(rustix::io::read(fd, &mut [0; 64]), Err(rustix::io::Errno::AGAIN))
    }

    #[test]
    fn it_has_a_reader_as_long_as_somebody_has_opened_it() {
        let pipe = Pipe::make(None).unwrap();
        let mut writer = pipe.writer().unwrap();
        let came = pipe.watch().unwrap();
        writer.write_all(b"head").unwrap();
        assert!(!is_readable(&came), "nobody has read");
        let mut reader = File::open(path_of(pipe.place())).unwrap();
        assert!(!is_readable(&came), "to open is not to read");
        let mut head = [0; 4];
        reader.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"head");
        assert!(is_readable(&came));
        let Pipe { both, place } = pipe;
        drop(both);
        writer.write_all(b"more").unwrap();
        drop(reader);
        assert_eq!(writer.write_all(b"gone").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        drop(place);
    }

    #[test]
    fn it_has_no_name() {
        let pipe = Pipe::make(None).unwrap();
        let name = fs::read_link(path_of(pipe.place())).unwrap();
        assert!(name.to_string_lossy().ends_with(" (deleted)"), "{}", name.display());
    }
}
