//! Who is alive, and what to undo for those who no longer are.
//!
//! # Theory of operation
//! A run has a file with an exclusive lock for as long as it lives, and writes into it what must be undone after it. A
//! file whose lock can be had is a dead run's. Process ids are reused and say nothing, locks do.
//!
//! # References
//! flock(2).

use std::fs::File;
use std::io::{Read as _, Write as _};

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::held_dir::HeldDir;
use crate::lock::Lock;
use crate::{LeaseError, RunDir};

/// The sign that a run is alive. Dropping it says that the run undid everything itself, unless it was [left](Self::leave).
#[derive(Debug)]
pub struct Presence {
    dir: RunDir,
    name: String,
    lock: Lock,
    notes: Vec<String>,
    is_left: bool,
}

/// A run that was killed before it could undo what it did. Ours to undo: no other healer gets it meanwhile.
#[derive(Debug)]
pub struct Stale {
    /// The id that the run's process had.
    pub pid: u32,
    /// What it noted, in order. A note comes before the deed, so the deed may not have been done.
    pub notes: Vec<String>,
    dir: RunDir,
    name: String,
    _lock: Lock,
}

impl Presence {
    /// Says that the run of process `pid` is alive.
    ///
    /// # Errors
    /// [`LeaseError::File`] if its file cannot be made or locked.
    pub fn register(dir: &RunDir, pid: u32) -> Result<Self, LeaseError> {
        // A file of the same id may be a dead run's, whose notes are still needed: leave it, count on.
        for attempt in 0.. {
            let name =
                if attempt == 0 { format!("{PREFIX}{pid}") } else { format!("{PREFIX}{pid}.{attempt}") };
            if let Some(lock) = create(dir.scope(), &name)? {
                return Ok(Self { dir: dir.clone(), name, lock, notes: Vec::new(), is_left: false });
            }
        }
        unreachable!("a directory does not hold 2^31 files")
    }

    /// Writes down what to undo if we are killed. Called before the deed.
    ///
    /// # Errors
    /// [`LeaseError::BadText`] if `note` is not one line, [`LeaseError::File`] if it cannot be written.
    pub fn note(&mut self, note: &str) -> Result<(), LeaseError> {
        if note.is_empty() || note.contains('\n') {
            return Err(LeaseError::BadText { what: "a note", text: note.to_owned() });
        }
        // One write of less than a page: killed or not, the line is there whole or not at all.
        let line = format!("{note}\n");
        self.lock
            .file()
            .write_all(line.as_bytes())
            .map_err(LeaseError::file("write", self.dir.scope().path_of(&self.name)))?;
        self.notes.push(note.to_owned());
        Ok(())
    }

    /// What was noted, in order.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Says that something could not be undone: the notes stay for the next run.
    pub fn leave(&mut self) {
        self.is_left = true;
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if !self.is_left {
            // What stays is an unlocked file, which the next run finds and forgets.
            let _ = self.dir.scope().unlink(&self.name);
        }
    }
}

impl RunDir {
    /// The runs that were killed and that no other healer is busy with.
    ///
    /// # Errors
    /// [`LeaseError::File`] if the directory or a file in it cannot be read.
    pub fn stale(&self) -> Result<Vec<Stale>, LeaseError> {
        let mut stale = Vec::new();
        for rest in self.scope().names(PREFIX)? {
            stale.extend(claim(self, &rest)?);
        }
        Ok(stale)
    }
}

impl Stale {
    /// Says that everything the run noted has been undone. A `Stale` that is only dropped is found again.
    ///
    /// # Errors
    /// [`LeaseError::File`] if its file cannot be removed.
    pub fn forget(self) -> Result<(), LeaseError> {
        self.dir
            .scope()
            .unlink(&self.name)
            .map_err(LeaseError::file("remove", self.dir.scope().path_of(&self.name)))
    }
}

/// Makes and locks a file that did not exist; `None` if it did, or if a healer was quicker than our lock.
fn create(dir: &HeldDir, name: &str) -> Result<Option<Lock>, LeaseError> {
    let fd = match dir.open_file(name, OFlags::CREATE | OFlags::EXCL) {
        Ok(fd) => fd,
        Err(Errno::EXIST) => return Ok(None),
        Err(errno) => return Err(LeaseError::file("create", dir.path_of(name))(errno)),
    };
    lock_linked(dir, name, fd.into())
}

/// Takes a run that is dead and not taken yet. `rest` is the name of its file behind the prefix.
fn claim(dir: &RunDir, rest: &str) -> Result<Option<Stale>, LeaseError> {
    let name = format!("{PREFIX}{rest}");
    let Some(pid) = rest.split('.').next().and_then(|pid| pid.parse().ok()) else { return Ok(None) };
    let fd = match dir.scope().open_file(&name, OFlags::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(LeaseError::file("open", dir.scope().path_of(&name))(errno)),
    };
    let Some(lock) = lock_linked(dir.scope(), &name, fd.into())? else { return Ok(None) };
    let notes = notes(lock.file()).map_err(LeaseError::file("read", dir.scope().path_of(&name)))?;
    Ok(Some(Stale { pid, notes, dir: dir.clone(), name, _lock: lock }))
}

/// Locks a file, unless somebody has it or its name is gone.
fn lock_linked(dir: &HeldDir, name: &str, file: File) -> Result<Option<Lock>, LeaseError> {
    let Ok(lock) = Lock::try_exclusive(file.into()).map_err(LeaseError::file("lock", dir.path_of(name)))?
    else {
        return Ok(None);
    };
    let is_linked =
        dir.is_linked(name, lock.file()).map_err(LeaseError::file("look at", dir.path_of(name)))?;
    Ok(is_linked.then_some(lock))
}

/// Reads the notes. A last line without an end was never acted upon.
fn notes(mut file: &File) -> std::io::Result<Vec<String>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect())
}

const PREFIX: &str = "run-";
