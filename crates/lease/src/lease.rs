//! A setting of the host on loan.
//!
//! # Theory of operation
//! Each leased setting has a file. Its users hold a shared lock on it for as long as they live; it says what the value was
//! and what it is now ([`Record`](crate::record)), and was written before the setting was. Whoever can lock it alone is
//! the first user, the last user, or the healer of a setting whose users were all killed. A first user that finds an old
//! record takes over its original, for the value it reads itself is a dead run's. Since changing a shared lock into an
//! exclusive one is not atomic, all of these decisions are made under one mutex.
//!
//! A value that is no longer the leased one was changed by somebody with a right to, and stays.
//!
//! # References
//! flock(2), "Converting a lock".

use crate::lease_file::{self, LeaseFile, Share};
use crate::record::Record;
use crate::setting::Setting;
use crate::{LeaseError, RunDir};

/// A setting that keeps our value until the last lease on it ends. Dropping is releasing.
#[derive(Debug)]
pub struct Lease {
    dir: RunDir,
    setting: Setting,
    original: String,
    /// Nothing where the setting had the wanted value by itself.
    file: Option<LeaseFile>,
}

/// What became of a leased setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It has its original value again.
    Restored,
    /// Another run still leases it.
    StillLeased,
    /// Somebody else changed it meanwhile, and that value stays.
    ChangedByOthers,
    /// Its device is gone.
    Gone,
    /// It was never changed.
    Unchanged,
}

/// A setting whose users were all killed.
#[derive(Debug)]
pub struct Healed {
    /// The path below `/proc/sys`.
    pub key: String,
    /// What became of it; an error leaves it to the next run.
    pub outcome: Result<Outcome, LeaseError>,
}

impl Lease {
    /// Sets the setting `key`, a path such as `net/ipv4/conf/eth0/forwarding`, to `value`, and keeps it there until the
    /// last run that leased it is gone. Nothing is written where the value is there already and no run leases it.
    ///
    /// # Errors
    /// [`LeaseError::Setting`] with `ENOENT` if there is no such setting (or device), `EACCES` or `EROFS` if it cannot be
    /// written; [`LeaseError::Conflict`] if another run leases it with another value; [`LeaseError::BadKey`],
    /// [`LeaseError::BadText`] if key or value cannot be ones; [`LeaseError::File`] if the lease cannot be recorded.
    pub fn acquire(dir: &RunDir, key: &str, value: &str) -> Result<Self, LeaseError> {
        let setting = Setting::new(dir.settings_root(), key)?;
        if value != value.trim() || value.contains('\n') {
            return Err(LeaseError::BadText { what: "a value", text: value.to_owned() });
        }
        let _mutex = dir.settings_mutex()?;
        let (original, file) = match LeaseFile::create(dir, key)? {
            Share::First(file) => begin(file, &setting, value)?,
            Share::Further(file) => (join(&file, &setting, value)?, Some(file)),
        };
        Ok(Self { dir: dir.clone(), setting, original, file })
    }

    /// The value that the setting had before any run leased it.
    pub fn original(&self) -> &str {
        &self.original
    }

    /// The path of the setting below `/proc/sys`.
    pub fn key(&self) -> &str {
        self.setting.key()
    }

    /// Ends the lease. The last user gives the original value back, unless somebody else changed it meanwhile.
    ///
    /// # Errors
    /// [`LeaseError::Setting`] if the value cannot be given back; the next run tries again. [`LeaseError::File`] if the
    /// lease's file cannot be read or removed.
    pub fn release(mut self) -> Result<Outcome, LeaseError> {
        self.end()
    }

    /// Lets the value stay when the last lease ends: somebody with a right to wants the same by now, who cannot be told
    /// apart from us by the value alone. Holds for every run that leases the setting.
    ///
    /// # Errors
    /// [`LeaseError::File`] if that cannot be written down.
    pub fn keep(&mut self) -> Result<(), LeaseError> {
        let Some(file) = &self.file else { return Ok(()) };
        let _mutex = self.dir.settings_mutex()?;
        if let Some(record) = file.record()? {
            file.write(&Record { original: record.wanted.clone(), ..record.clone() })?;
            self.original = record.wanted;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<Outcome, LeaseError> {
        let Some(file) = self.file.take() else { return Ok(Outcome::Unchanged) };
        let _mutex = self.dir.settings_mutex()?;
        if file.is_last_user()? { settle(&self.dir, &file) } else { Ok(Outcome::StillLeased) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // A lease that could not be ended is one that nobody uses: the next run heals it.
        let _ = self.end();
    }
}

impl RunDir {
    /// Gives back every setting whose users were all killed. Goes on past settings that cannot be given back.
    ///
    /// # Errors
    /// [`LeaseError::File`] if the directory cannot be read or the mutex not be locked.
    pub fn heal_leases(&self) -> Result<Vec<Healed>, LeaseError> {
        let _mutex = self.settings_mutex()?;
        let mut healed = Vec::new();
        for key in lease_file::keys(self)? {
            if let Some(file) = LeaseFile::orphan(self, &key)? {
                healed.push(Healed { outcome: settle(self, &file), key });
            }
        }
        Ok(healed)
    }
}

/// Becomes the first user: what was is written down, then the setting is changed. No file stays where there is nothing to
/// change.
fn begin(file: LeaseFile, setting: &Setting, value: &str) -> Result<(String, Option<LeaseFile>), LeaseError> {
    let orphan = file.record()?;
    let lent = lend(&file, setting, value, orphan.as_ref());
    match (&lent, orphan) {
        (Ok(Lent { is_ours: true, .. }), _) => file.share()?,
        // The setting is as a dead run left it, so what that run wrote down must be there for a later healer.
        (Err(error), Some(orphan)) if !error.is_gone() => file.write(&orphan)?,
        _ => file.remove()?,
    }
    lent.map(|lent| (lent.original, lent.is_ours.then_some(file)))
}

/// What a first user changed.
struct Lent {
    /// The value to give back.
    original: String,
    /// Whether there is anything to give back.
    is_ours: bool,
}

fn lend(
    file: &LeaseFile,
    setting: &Setting,
    value: &str,
    orphan: Option<&Record>,
) -> Result<Lent, LeaseError> {
    let current = setting.read()?;
    let original = match orphan {
        Some(record) if record.wanted == current => record.original.clone(),
        _ => current.clone(),
    };
    let is_ours = original != value || current != value;
    if is_ours {
        file.write(&Record {
            key: setting.key().to_owned(),
            original: original.clone(),
            wanted: value.to_owned(),
        })?;
    }
    if current != value {
        setting.write(value)?;
    }
    Ok(Lent { original, is_ours })
}

/// Becomes one more user, and returns what the last one will give back.
fn join(file: &LeaseFile, setting: &Setting, value: &str) -> Result<String, LeaseError> {
    let current = setting.read()?;
    let mut record = match file.record()? {
        Some(record) if record.wanted != value => {
            let (key, held, wanted) = (record.key, record.wanted, value.to_owned());
            return Err(LeaseError::Conflict { key, held, wanted });
        }
        Some(record) => record,
        // Its users have it locked and yet no record: somebody emptied the file. What is now is all that we know.
        None => Record { key: setting.key().to_owned(), original: current.clone(), wanted: value.to_owned() },
    };
    if current != value {
        // Somebody changed it under the other users, so that value is the one to give back.
        record.original = current;
        file.write(&record)?;
        setting.write(value)?;
    }
    Ok(record.original)
}

/// Gives a setting that nobody leases any more back, and forgets it.
fn settle(dir: &RunDir, file: &LeaseFile) -> Result<Outcome, LeaseError> {
    let outcome = match file.record()? {
        Some(record) => give_back(&Setting::new(dir.settings_root(), &record.key)?, &record)?,
        None => Outcome::Unchanged, // Killed before it was changed.
    };
    file.remove()?;
    Ok(outcome)
}

fn give_back(setting: &Setting, record: &Record) -> Result<Outcome, LeaseError> {
    let outcome = setting.read().and_then(|current| {
        if current == record.original {
            Ok(Outcome::Unchanged)
        } else if current == record.wanted {
            setting.write(&record.original).map(|()| Outcome::Restored)
        } else {
            Ok(Outcome::ChangedByOthers)
        }
    });
    match outcome {
        Err(error) if error.is_gone() => Ok(Outcome::Gone),
        outcome => outcome,
    }
}
