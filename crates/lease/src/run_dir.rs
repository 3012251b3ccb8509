//! Where the runs of one network namespace meet.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

use crate::LeaseError;
use crate::held_dir::HeldDir;
use crate::lock::Lock;

/// The directory in which the runs of one network namespace meet. Clones share it; the last one to be dropped, of all
/// runs, removes it.
#[derive(Clone, Debug)]
pub struct RunDir {
    dirs: Arc<Dirs>,
    settings_root: PathBuf,
}

/// Dropped in this order: what is inside first.
#[derive(Debug)]
struct Dirs {
    scope: HeldDir,
    _base: HeldDir,
}

/// The mutex between runs, let go when dropped.
#[derive(Debug)]
#[must_use = "the mutex is let go as soon as the guard is dropped"]
pub struct Guard {
    _lock: Lock,
}

impl RunDir {
    /// Opens `base`/`scope`, making both (mode 0700) where they are missing. `base` is `/run/nsntrace`, `scope` names the
    /// network namespace of the host, as `net-4026531840` does: runs of two namespaces have no setting in common.
    ///
    /// # Errors
    /// [`LeaseError::Untrusted`] if either is a symbolic link, another user's or open to others;
    /// [`LeaseError::File`] with `EACCES` or `EROFS` if they cannot be made; [`LeaseError::BadText`] if `scope` is not one
    /// plain name.
    pub fn open(base: &Path, scope: &str) -> Result<Self, LeaseError> {
        if scope.is_empty() || scope.starts_with('.') || scope.contains(['/', '\0']) {
            return Err(LeaseError::BadText { what: "a scope", text: scope.to_owned() });
        }
        let held_base = HeldDir::hold(base, &[])?;
        let scope = HeldDir::hold(&base.join(scope), &[PLUMBING_MUTEX, SETTINGS_MUTEX])?;
        let dirs = Arc::new(Dirs { scope, _base: held_base });
        Ok(Self { dirs, settings_root: PathBuf::from("/proc/sys") })
    }

    /// The same directory for settings that live elsewhere than under `/proc/sys`.
    #[must_use]
    pub fn with_settings_root(self, root: impl Into<PathBuf>) -> Self {
        Self { settings_root: root.into(), ..self }
    }

    /// Waits until no other run holds the guard. It is held while addresses are chosen and devices made, so that runs
    /// which start at once see each other's; it is no lock on leases, which may be taken meanwhile.
    ///
    /// # Errors
    /// [`LeaseError::File`] if the lock file cannot be opened.
    pub fn exclusive(&self) -> Result<Guard, LeaseError> {
        self.mutex(PLUMBING_MUTEX).map(|lock| Guard { _lock: lock })
    }

    /// Waits until no other run looks at who leases what.
    pub(crate) fn settings_mutex(&self) -> Result<Lock, LeaseError> {
        self.mutex(SETTINGS_MUTEX)
    }

    /// The directory that the files of runs and leases are in.
    pub(crate) fn scope(&self) -> &HeldDir {
        &self.dirs.scope
    }

    /// `/proc/sys`, but for tests.
    pub(crate) fn settings_root(&self) -> &Path {
        &self.settings_root
    }

    // The file stays while anybody holds the directory, so it needs no second look after locking.
    fn mutex(&self, name: &str) -> Result<Lock, LeaseError> {
        let scope = self.scope();
        let fd =
            scope.open_file(name, OFlags::CREATE).map_err(LeaseError::file("open", scope.path_of(name)))?;
        Lock::exclusive(fd).map_err(LeaseError::file("lock", scope.path_of(name)))
    }
}

/// Held while a run chooses addresses and makes its devices.
const PLUMBING_MUTEX: &str = "plumbing.mutex";
/// Held while a run decides whether it is the first or last user of a setting.
const SETTINGS_MUTEX: &str = "settings.mutex";
