//! One setting under `/proc/sys`.
//!
//! # Kernel interface
//! Reads and writes of `/proc/sys/...`; what is below `net` is that of the thread's own network namespace.
//! `CAP_NET_ADMIN` over the namespace suffices for `net`.
//!
//! # References
//! proc_sys(5); net/sysctl_net.c.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Component, Path, PathBuf};

use crate::LeaseError;

/// A setting, by its path below the root.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    key: String,
    path: PathBuf,
}

impl Setting {
    /// Names the setting `key` below `root`. The key is a path, for names of devices contain dots.
    pub(crate) fn new(root: &Path, key: &str) -> Result<Self, LeaseError> {
        let is_plain = Path::new(key).components().all(|part| matches!(part, Component::Normal(_)));
        // `components` overlooks doubled slashes and single dots, which would give one setting two names.
        let is_canonical =
            key.split('/').all(|part| !matches!(part, "" | "." | "..")) && !key.contains(['\0', '\n']);
        if !is_plain || !is_canonical {
            return Err(LeaseError::BadKey { key: key.to_owned() });
        }
        Ok(Self { key: key.to_owned(), path: root.join(key) })
    }

    /// The path below the root.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The value, without the newline at its end.
    pub(crate) fn read(&self) -> Result<String, LeaseError> {
        let text = fs::read_to_string(&self.path).map_err(LeaseError::setting("read", &self.key))?;
        let value = text.trim();
        if value.contains('\n') {
            let source = io::Error::new(io::ErrorKind::InvalidData, "it has several lines");
            return Err(LeaseError::Setting { step: "read", key: self.key.clone(), source });
        }
        Ok(value.to_owned())
    }

    /// Sets the value, as `sysctl -w KEY=VALUE` does.
    pub(crate) fn write(&self, value: &str) -> Result<(), LeaseError> {
        let write = || {
            // One write: the kernel parses each one by itself.
            let mut file = OpenOptions::new().write(true).truncate(true).open(&self.path)?;
            file.write_all(format!("{value}\n").as_bytes())
        };
        write().map_err(LeaseError::setting("write", &self.key))
    }
}
