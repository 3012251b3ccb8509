//! A user namespace for a process that has no privilege: every capability over what is made in it, and none over the host.
//!
//! # Theory of operation
//! The process stays who it is: its own uid and gid are mapped to themselves and nobody else's to anything, so the files that it makes are
//! its user's, and a program that is exec'd sees the uid that it would see without us. The kernel allows such a map to anybody who has
//! given up setgroups(2).
//!
//! Who enters a user namespace gets a full bounding set and default securebits there (`set_cred_user_ns()` in
//! kernel/user_namespace.c). A program that is exec'd with uid 0, or has file capabilities, would get what it would not get
//! outside. [`Bounds`] remembers how it was, for the moment before the exec.
//!
//! # Kernel interface
//! `unshare(CLONE_NEWUSER)`; `/proc/self/setgroups`, `uid_map`, `gid_map`; prctl(2) `PR_CAPBSET_READ`, `PR_CAPBSET_DROP`,
//! `PR_GET_SECUREBITS`, `PR_SET_SECUREBITS`; ioctl `NS_GET_USERNS`.
//!
//! # References
//! user_namespaces(7), capabilities(7).

use std::fs;
use std::io;
use std::os::fd::AsFd as _;

use rustix::io::Errno;
use rustix::process::{getegid, geteuid};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, capabilities, capabilities_secure_bits,
    capability_is_in_bounding_set, remove_capability_from_bounding_set, set_capabilities_secure_bits,
};

use crate::barrier::{Barrier, Facts, Stage};
use crate::error::NetnsError;

/// What an exec could give to a process before it entered its user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    bounding: CapabilitySet,
    secure_bits: CapabilitiesSecureBits,
}

/// Moves this process into a user namespace of its own, in which it is the same user. Like `unshare --user` with both maps `ID ID 1`.
///
/// To be called before any thread is started, or after all have been joined.
///
/// # Errors
/// [`NetnsError::User`], with what is known to forbid it.
pub fn enter() -> Result<Bounds, NetnsError> {
    let bounds = Bounds::of_this_thread().map_err(|errno| NetnsError::Bounds(errno.into()))?;
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let is_root_without_setfcap = uid == 0 && !has_setfcap();
    nsntrace_sys::unshare_user().map_err(|error| refused("make a user namespace", Stage::Making, error))?;
    let stage = Stage::Mapping { is_root_without_setfcap };
    match fs::write("/proc/self/setgroups", "deny") {
        // Before Linux 3.19 nobody has to.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        denied => denied.map_err(|error| refused("give up setgroups in a user namespace", stage, error))?,
    }
    let map = |name: &str, id: u32| {
        fs::write(format!("/proc/self/{name}"), format!("{id} {id} 1"))
            .map_err(|error| refused("map the user into a user namespace", stage, error))
    };
    map("uid_map", uid)?;
    map("gid_map", gid)?;
    Ok(bounds)
}

/// Whether the capabilities of this thread count in its network namespace: that belongs to the thread's user namespace, or to one below.
pub fn owns_netns() -> bool {
    let Ok(netns) = fs::File::open("/proc/thread-self/ns/net") else { return false };
    match nsntrace_sys::owner_of_netns(netns.as_fd()) {
        Ok(_ours) => true,
        // Before Linux 4.9 nobody can tell; the first change will.
        Err(error) => Errno::from_io_error(&error) == Some(Errno::NOTTY),
    }
}

impl Bounds {
    fn of_this_thread() -> rustix::io::Result<Self> {
        let bounding = every_capability().filter(|&capability| is_bounded_in(capability)).collect();
        Ok(Self { bounding, secure_bits: capabilities_secure_bits()? })
    }

    /// Takes from this thread, for good, what an exec could not have given before. What the thread has already is lost with the exec.
    ///
    /// # Errors
    /// [`NetnsError::Bounds`]: `EPERM` without `CAP_SETPCAP`.
    pub fn impose(&self) -> Result<(), NetnsError> {
        self.cut().map_err(|errno| NetnsError::Bounds(errno.into()))
    }

    fn cut(&self) -> rustix::io::Result<()> {
        for capability in every_capability().filter(|&capability| is_bounded_in(capability)) {
            if !self.bounding.contains(capability) {
                remove_capability_from_bounding_set(capability)?;
            }
        }
        set_capabilities_secure_bits(self.secure_bits)
    }
}

/// False, too, for a number that is no capability of this kernel.
fn is_bounded_in(capability: CapabilitySet) -> bool {
    capability_is_in_bounding_set(capability).unwrap_or(false)
}

fn every_capability() -> impl Iterator<Item = CapabilitySet> {
    (0..u64::BITS).map(|number| CapabilitySet::from_bits_retain(1 << number))
}

fn has_setfcap() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SETFCAP))
}

fn refused(step: &'static str, stage: Stage, source: io::Error) -> NetnsError {
    let facts = Facts::of_this_machine();
    let barrier = Errno::from_io_error(&source).and_then(|errno| Barrier::behind(errno, stage, &facts));
    NetnsError::User { step, barrier, source }
}
