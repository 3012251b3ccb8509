//! Why a directory, a lock or a lease could not be had.

use std::io;
use std::path::PathBuf;

/// Why a directory, a lock or a lease could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// A directory or file of ours could not be used. `EACCES` without root, `EROFS` where `/run` is read-only.
    #[error("cannot {step} {}", path.display())]
    File {
        /// What was tried, as a verb.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Somebody else could write to the directory that tells us what to restore, so nothing in it can be believed.
    #[error("{} {why}, so what it says cannot be trusted", path.display())]
    Untrusted {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A setting could not be read or written. `ENOENT` where its device is gone, `EROFS` where `/proc/sys` is read-only.
    #[error("cannot {step} the setting {key}")]
    Setting {
        /// `read` or `write`.
        step: &'static str,
        /// The path below `/proc/sys`.
        key: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The path of a setting has a part that leads elsewhere.
    #[error("'{key}' does not name a setting below /proc/sys")]
    BadKey {
        /// What was given.
        key: String,
    },
    /// A value, a scope or a note that does not fit where it is written down.
    #[error("'{text}' cannot be written down as {what}")]
    BadText {
        /// What it was meant to be.
        what: &'static str,
        /// What was given.
        text: String,
    },
    /// Another run leases the setting with a different value.
    #[error("another run keeps the setting {key} at {held}, and {wanted} is wanted")]
    Conflict {
        /// The path below `/proc/sys`.
        key: String,
        /// The value that the other run wants.
        held: String,
        /// The value that we want.
        wanted: String,
    },
}

impl LeaseError {
    /// Turns an errno from `step` on `path` into an error.
    pub(crate) fn file<E: Into<io::Error>>(
        step: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::File { step, path: path.into(), source: source.into() }
    }

    /// Turns an error from reading or writing a setting into one that names it.
    pub(crate) fn setting(step: &'static str, key: &str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Setting { step, key: key.to_owned(), source }
    }

    /// The setting's device is gone, and the setting with it.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Setting { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}
