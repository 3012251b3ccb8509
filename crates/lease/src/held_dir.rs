//! A directory that exists for as long as somebody holds it.
//!
//! # Theory of operation
//! Every holder has a shared lock on the directory itself. Who lets go tries to make its lock exclusive: that works for
//! the last one alone, which removes the directory. A newcomer that was waiting for its lock meanwhile finds that the
//! name leads elsewhere now, and starts over. So a directory never vanishes under a holder.
//!
//! # Kernel interface
//! `mkdir(2)`, `openat(2)` with `O_DIRECTORY | O_NOFOLLOW`, `flock(2)`, `fstat(2)`, `unlinkat(2)`. Linux 2.6.16.
//!
//! # References
//! flock(2); open(2).

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::LeaseError;
use crate::lock::Lock;

/// A directory of ours, locked against removal.
#[derive(Debug)]
pub(crate) struct HeldDir {
    path: PathBuf,
    lock: Lock,
    /// Files that mean nothing once nobody holds the directory.
    mutexes: &'static [&'static str],
}

impl HeldDir {
    /// Makes the directory if need be, and holds it. Its parent must exist.
    pub(crate) fn hold(path: &Path, mutexes: &'static [&'static str]) -> Result<Self, LeaseError> {
        // Each further turn means that another run removed the directory meanwhile, so somebody always gets on.
        loop {
            make(path)?;
            let Some(fd) = open(path)? else { continue };
            require_trust(path, &fd)?;
            let lock = Lock::shared(fd).map_err(LeaseError::file("lock", path))?;
            if leads_to(CWD, path, lock.file()).map_err(LeaseError::file("look at", path))? {
                return Ok(Self { path: path.to_owned(), lock, mutexes });
            }
        }
    }

    /// Opens a file in the directory, never through a symbolic link. Created files are their owner's alone.
    pub(crate) fn open_file(&self, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(self.lock.file(), name, flags, Mode::RUSR | Mode::WUSR)
    }

    /// Whether `name` still leads to this open file.
    pub(crate) fn is_linked(&self, name: &str, file: &File) -> Result<bool, Errno> {
        leads_to(self.lock.file(), Path::new(name), file)
    }

    /// Removes a file. One that is gone already is fine.
    pub(crate) fn unlink(&self, name: &str) -> Result<(), Errno> {
        match rustix::fs::unlinkat(self.lock.file(), name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            result => result,
        }
    }

    /// The names that begin with `prefix`, without it, in order.
    pub(crate) fn names(&self, prefix: &str) -> Result<Vec<String>, LeaseError> {
        let list = || -> Result<Vec<String>, Errno> {
            let mut names = Vec::new();
            for entry in Dir::read_from(self.lock.file())? {
                let entry = entry?;
                names.extend(
                    entry.file_name().to_str().ok().and_then(|n| n.strip_prefix(prefix)).map(str::to_owned),
                );
            }
            names.sort_unstable();
            Ok(names)
        };
        list().map_err(LeaseError::file("list", &self.path))
    }

    /// Where a file of the directory is, for messages.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Removes the directory if nobody else holds it and nothing is left in it.
    fn remove_if_last(&self) -> Result<(), Errno> {
        // Letting go of the shared lock and taking the exclusive one are two steps: in between, another last holder may
        // have removed the directory and a newcomer made it anew. Hence the second look at the name.
        if !self.lock.upgrade()? || !leads_to(CWD, &self.path, self.lock.file())? {
            return Ok(());
        }
        for mutex in self.mutexes {
            self.unlink(mutex)?;
        }
        match rustix::fs::rmdir(&self.path) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(()), // Left for the next run to heal.
            result => result,
        }
    }
}

impl Drop for HeldDir {
    fn drop(&mut self) {
        // An empty directory that stays hurts nobody, and nobody is left to tell.
        let _ = self.remove_if_last();
    }
}

fn make(path: &Path) -> Result<(), LeaseError> {
    match rustix::fs::mkdir(path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(LeaseError::file("create the directory", path)(errno)),
    }
}

/// Opens a directory; `None` if it has vanished since it was made.
fn open(path: &Path) -> Result<Option<OwnedFd>, LeaseError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT) => Ok(None),
        // O_DIRECTORY | O_NOFOLLOW says ENOTDIR of a link, and ELOOP is what open(2) promises.
        Err(Errno::LOOP | Errno::NOTDIR) => {
            Err(LeaseError::Untrusted { path: path.to_owned(), why: "is not a directory" })
        }
        Err(errno) => Err(LeaseError::file("open the directory", path)(errno)),
    }
}

/// Refuses a directory that anybody else could write to, or lock for ever.
fn require_trust(path: &Path, fd: impl AsFd) -> Result<(), LeaseError> {
    let stat = rustix::fs::fstat(fd).map_err(LeaseError::file("look at", path))?;
    let why = if stat.st_uid != rustix::process::geteuid().as_raw() {
        "belongs to another user"
    } else if Mode::from_raw_mode(stat.st_mode).intersects(Mode::RWXG | Mode::RWXO) {
        "is open to other users"
    } else {
        return Ok(());
    };
    Err(LeaseError::Untrusted { path: path.to_owned(), why })
}

/// Whether the name `path` in `dir` is the very file that is open.
fn leads_to(dir: impl AsFd, path: &Path, file: impl AsFd) -> Result<bool, Errno> {
    let identity = |stat: &Stat| (stat.st_dev, stat.st_ino);
    match rustix::fs::statat(dir, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) => Ok(identity(&named) == identity(&rustix::fs::fstat(file)?)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}
