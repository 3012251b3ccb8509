//! Where a thread is: what a socket of its takes from whoever makes it.
//!
//! # Kernel interface
//! `/proc/TID/ns/net` (for whoever may trace the thread), `cgroup`, `attr/current`.

use std::ffi::OsString;
use std::fs;

/// Network namespace, control groups, and what a security module calls it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    netns: OsString,
    cgroup: Vec<u8>,
    label: Vec<u8>,
}

impl Place {
    pub(crate) fn of_this_thread() -> Option<Self> {
        Self::of("thread-self")
    }

    /// That of `/proc/WHO`. None if it is gone, or none of our business.
    pub(crate) fn of(who: &str) -> Option<Self> {
        // A kernel without either says nothing of anybody.
        let text = |name: &str| fs::read(format!("/proc/{who}/{name}")).unwrap_or_default();
        let (cgroup, label) = (text("cgroup"), text("attr/current"));
        Some(Self { netns: netns(who)?, cgroup, label })
    }
}

/// The name of the network namespace of `/proc/WHO`, if it may be known.
pub(crate) fn netns(who: &str) -> Option<OsString> {
    fs::read_link(format!("/proc/{who}/ns/net")).ok().map(Into::into)
}
