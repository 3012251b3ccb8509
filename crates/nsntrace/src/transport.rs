//! How the program's packets get to the world, and what that takes.
//!
//! # Kernel interface
//! capget(2), ioctl_nsfs(2) `NS_GET_USERNS`.
//!
//! # References
//! capabilities(7), user_namespaces(7), docs/proxy.md.

use nsntrace_netns::user;
use rustix::thread::{CapabilitySet, capabilities};

/// The way from the traced namespace to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// The host forwards and masquerades.
    Nat,
    /// Sockets of the host say again what the program says.
    Proxy,
}

impl Transport {
    /// What was typed; else NAT for whoever may set it up.
    pub(crate) fn choose(typed: Option<Self>) -> Self {
        typed.unwrap_or_else(|| if is_privileged() && user::owns_netns() { Self::Nat } else { Self::Proxy })
    }

    /// The one that is typed so.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Nat, Self::Proxy].into_iter().find(|transport| transport.name() == name)
    }

    /// As it is typed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nat => "nat",
            Self::Proxy => "proxy",
        }
    }
}

/// Whether we have what it takes to make namespaces and what is in them. Where we have not, a user namespace gives it.
pub(crate) fn is_privileged() -> bool {
    let needed = CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW;
    capabilities(None).is_ok_and(|sets| sets.effective.contains(needed))
}
