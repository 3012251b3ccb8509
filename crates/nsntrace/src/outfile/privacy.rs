//! Who may read a file.
//!
//! # Kernel interface
//! fchmod(2): the file's owner, or `CAP_FOWNER`.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use rustix::process::geteuid;
use rustix::thread::{CapabilitySet, capabilities};

/// Who may read what is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Privacy {
    /// Whom umask lets.
    #[default]
    Usual,
    /// The owner alone.
    Secret,
}

impl Privacy {
    /// The mode of a file that is made.
    pub(super) fn mode(self) -> u32 {
        match self {
            Self::Usual => 0o666,
            Self::Secret => 0o600,
        }
    }

    /// Whether a file that was there before can be made so.
    pub(super) fn check(self, file: &File) -> io::Result<()> {
        let metadata = file.metadata()?;
        let may_change =
            || capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::FOWNER));
        let is_fit = !self.is_violated(file)? || metadata.uid() == geteuid().as_raw() || may_change();
        if is_fit {
            Ok(())
        } else {
            Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "it is somebody else's, and TLS keys are to be private",
            ))
        }
    }

    /// Makes a file so, before anything is written to it. A pipe has no readers but those who hold it.
    pub(super) fn impose(self, file: &File) -> io::Result<()> {
        if self.is_violated(file)? {
            file.set_permissions(Permissions::from_mode(self.mode()))
        } else {
            Ok(())
        }
    }

    fn is_violated(self, file: &File) -> io::Result<bool> {
        let metadata = file.metadata()?;
        Ok(self == Self::Secret && metadata.is_file() && metadata.mode() & 0o077 != 0)
    }
}
