//! Where things are tried out: what earlier checks have found and made, for later ones.

use nsntrace_capture::Tap;
use nsntrace_link::{RouteSocket, Veth};
use nsntrace_nat::Nat;
use nsntrace_netns::{Netns, user};

use super::check::Stop;
use crate::failure::Failure;
use crate::transport;

/// What checks have in common. It begins on the host, where they only look.
pub(super) struct Bench {
    /// The capabilities for making namespaces and networks are there.
    pub(super) is_privileged: bool,
    /// They count on the host, too: it may be told to forward.
    pub(super) may_nat: bool,
    /// They are there, or a user namespace has given them.
    pub(super) is_capable: bool,
    pub(super) host: Host,
    /// From the moment at which there are namespaces of our own.
    pub(super) scratch: Option<Scratch>,
}

/// What was seen of the host.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Host {
    /// There is IPv6 that leads somewhere.
    pub(super) has_ipv6: bool,
    /// It forwards IPv4 without being asked.
    pub(super) is_router: bool,
    /// A trace by NAT would have IPv6, for which settings must be written even on a router.
    pub(super) nat_has_ipv6: bool,
}

/// Namespaces of our own, in one of which this thread is by now: it stands for the host, or for the router of a proxy.
pub(super) struct Scratch {
    /// Stands for the namespace of a program.
    pub(super) program: Netns,
    pub(super) route: RouteSocket,
    pub(super) veth: Option<Veth>,
    pub(super) tap: Option<Tap>,
    /// The table of NAT, or why there is none though nf_tables are there.
    pub(super) table: Option<Result<Nat, Failure>>,
}

impl Bench {
    /// On the host, with what this process was started with.
    pub(super) fn new() -> Self {
        let is_privileged = transport::is_privileged();
        Self {
            is_privileged,
            may_nat: is_privileged && user::owns_netns(),
            is_capable: is_privileged,
            host: Host::default(),
            scratch: None,
        }
    }

    /// Things of the host that NAT alone needs are of no interest to whoever may not do NAT.
    pub(super) fn demand_nat(&self) -> Result<(), Stop> {
        if self.may_nat { Ok(()) } else { Err(Stop::since("it is for NAT alone")) }
    }

    /// The namespaces, for what cannot be tried outside of them.
    pub(super) fn scratch(&mut self) -> Result<&mut Scratch, Stop> {
        self.scratch.as_mut().ok_or_else(|| Stop::since("there is no network namespace to try it in"))
    }
}
