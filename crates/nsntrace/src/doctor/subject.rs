//! Whom and what a report is about.

use rustix::process::{getegid, geteuid};
use rustix::system::uname;

/// A user of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// The kernel's release: `uname -r`.
    pub(super) release: String,
    /// What it runs on: `uname -m`.
    pub(super) machine: String,
}

impl Subject {
    /// This user of this machine.
    pub(super) fn here() -> Self {
        let name = uname();
        Self {
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            release: name.release().to_string_lossy().into_owned(),
            machine: name.machine().to_string_lossy().into_owned(),
        }
    }
}
