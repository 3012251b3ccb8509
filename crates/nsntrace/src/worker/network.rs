//! The network of the traced namespace: a wire, and a way from its other end to the world.
//!
//! # Theory of operation
//! There are two ways. With [`nat`] the wire ends in the host's namespace, and the host forwards; with [`proxy`] it ends in a namespace of
//! our own, and what the program says is said again by sockets of the host. What is the same for both is here.

mod attendant;
mod firewall;
mod nat;
mod proxy;

use std::os::fd::BorrowedFd;
use std::time::Instant;

use nsntrace_link::{IfIndex, IpFamily, Link, RouteSocket};
use nsntrace_netns::Netns;
use rustix::process::Pid;

pub(crate) use self::firewall::Knocks;
use super::privilege;
use super::wire::{Side, Wire};
use crate::failure::Failure;
use crate::plan::Plan;
use crate::protocol::Report;
use crate::transport::Transport;

/// A network that is up.
pub(crate) struct Network {
    /// Before the wire, which it uses.
    way: Box<dyn Way>,
    wire: Wire,
    transport: Transport,
    interface: String,
    notes: Vec<String>,
}

/// What a way out waits for: nothing, changes of the host, the end of a thread.
pub(crate) type Watched<'a> = [Option<BorrowedFd<'a>>; 2];

/// How packets get from the wire to the world, and back.
///
/// Dropped, it takes everything back, and goes on past what fails.
trait Way {
    /// Readable when there is something to [follow](Self::follow).
    fn watched(&self) -> Watched<'_>;

    /// Follows what has changed. What cannot be followed is said, and does not end the trace.
    fn follow(&mut self) -> Result<(), Failure>;

    /// When to [look](Self::look), if that is of use.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// Looks whether packets still get through, or, when nothing comes by the wire any more, whether all have. That they do not is
    /// said, once.
    fn look(&mut self, _is_last: bool) -> Result<(), Failure> {
        Ok(())
    }
}

impl Network {
    /// Makes the network between `netns`, which `inside` is a side of, and the namespace of this thread. Where NAT does not work and
    /// the user has not insisted on it, a proxy does.
    pub(crate) fn make(
        plan: &Plan,
        netns: &Netns,
        mut inside: Side<'_>,
        knocks: Knocks,
        front: Pid,
    ) -> Result<Self, Failure> {
        if plan.transport == Transport::Proxy {
            return proxy::make(plan, netns, inside);
        }
        let obstacle = match nat::make(plan, netns, inside.reborrow(), knocks, front) {
            Ok(network) => {
                privilege::keep(privilege::needed(Transport::Nat, plan))?;
                return Ok(network);
            }
            Err(failure) if plan.options.net.is_some() => return Err(failure),
            Err(failure) => failure.message,
        };
        remove_wire(inside.route)?;
        let mut network = proxy::make(plan, netns, inside)?;
        network.notes.push(format!("going by proxy, since NAT does not work here: {obstacle}"));
        Ok(network)
    }

    /// How packets get to the world.
    pub(crate) fn transport(&self) -> Transport {
        self.transport
    }

    /// The number of the program's end of the wire.
    pub(crate) fn peer_ifindex(&self) -> IfIndex {
        self.wire.veth.peer_ifindex
    }

    /// What the user should know.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What front tells the user.
    pub(crate) fn ready(&self) -> Report {
        let v6 = self.wire.v6.map(|block| block.traced);
        Report::Ready {
            interface: self.interface.clone(),
            transport: self.transport,
            v4: self.wire.v4.traced,
            v6,
        }
    }

    /// Readable when there is something to follow.
    pub(crate) fn watched(&self) -> Watched<'_> {
        self.way.watched()
    }

    /// Follows what has changed around us. What cannot be followed is said, and does not end the trace.
    pub(crate) fn follow(&mut self) -> Result<(), Failure> {
        self.way.follow()
    }

    /// When to look whether packets still get through, if that is of use.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.way.due()
    }

    /// Looks. That they do not get through is said, and does not end the trace.
    pub(crate) fn look(&mut self, is_last: bool) -> Result<(), Failure> {
        self.way.look(is_last)
    }

    /// Takes everything back, goes on past what fails. The slow part of a run: the user has the prompt by now.
    pub(crate) fn take_back(self) {
        drop(self.way);
    }
}

/// Removes the wire that another way has left, both ends.
fn remove_wire(inside: &mut RouteSocket) -> Result<(), Failure> {
    for link in inside.links()?.into_iter().filter(|link| link.ifindex != IfIndex::LOOPBACK) {
        inside.delete_link(link.ifindex)?;
    }
    Ok(())
}

/// What packets leave the host by: the device of `--device`, or that of the default route.
struct Uplink {
    name: String,
    /// The longest packet that the wire is to carry, bytes.
    mtu: u32,
}

impl Uplink {
    fn find(plan: &Plan, host: &mut RouteSocket, notes: &mut Vec<String>) -> Result<Self, Failure> {
        let Some(link) = find_link(plan, host)? else {
            notes.push(NO_DEFAULT_ROUTE.into());
            return Ok(Self { name: "lo".into(), mtu: DEFAULT_MTU });
        };
        Ok(Self { name: link.name.to_string(), mtu: link.mtu.min(MAX_MTU) })
    }
}

fn find_link(plan: &Plan, host: &mut RouteSocket) -> Result<Option<Link>, Failure> {
    if let Some(device) = &plan.device {
        return Ok(Some(device.clone()));
    }
    for family in IpFamily::ALL {
        if let Some(uplink) = host.default_uplink(family)? {
            return Ok(Some(host.link(uplink.ifindex)?));
        }
    }
    Ok(None)
}

/// Ethernet's, where there is no uplink to ask.
const DEFAULT_MTU: u32 = 1500;
/// `ETH_MAX_MTU`, the most that a veth takes; loopback has 65536.
const MAX_MTU: u32 = 65_535;

const NO_DEFAULT_ROUTE: &str =
    "this host has no default route: the program reaches what the host does, and no more";
