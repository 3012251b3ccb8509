//! The network between the traced namespace and the host: wire, detour, NAT, forwarding, a name.
//!
//! # Theory of operation
//! Each part is made by the crate or module of its object; what is decided here is their order, and the order in which they go.

use nsntrace_lease::Presence;
use nsntrace_link::{IfIndex, IpFamily, Link, Monitor, RouteSocket};
use nsntrace_nat::{Nat, Owner, Spec, conntrack};
use nsntrace_netns::{Name, Netns};
use rustix::process::Pid;

use super::detour::Detour;
use super::heal;
use super::ipv6::Ipv6;
use super::uplinks::Uplinks;
use super::wire::{NAME_PREFIX, Side, Wire};
use crate::failure::{Failure, chain};
use crate::plan::Plan;
use crate::protocol::Report;

/// A network that is up. Dropped, it goes in the order of its fields.
pub(crate) struct Network {
    name: Option<Name>,
    detour: Option<Detour>,
    wire: Wire,
    uplinks: Uplinks,
    nat: Nat,
    host: RouteSocket,
    monitor: Monitor,
    interface: String,
    notes: Vec<String>,
    /// Last: as long as it stands, nobody heals what is still to be taken back.
    _presence: Presence,
}

impl Network {
    /// Makes the network between `netns`, which `inside` is a side of, and the namespace of this thread.
    pub(crate) fn make(plan: &Plan, netns: &Netns, inside: Side<'_>, front: Pid) -> Result<Self, Failure> {
        let mut host = RouteSocket::open()?;
        let run_dir = heal::run_dir()?;
        heal::heal(&run_dir, &mut host);
        let mut presence = Presence::register(&run_dir, number(front))?;
        // Before the routes are read: no change of them is missed.
        let mut monitor = Monitor::open()?;
        let mut notes = Vec::new();
        let only = plan.device.as_ref().map(|device| device.ifindex);
        let uplink = find_uplink(plan, &mut host)?;
        if uplink.is_none() {
            notes.push(NO_DEFAULT_ROUTE.into());
        }
        let mtu = uplink.as_ref().map_or(DEFAULT_MTU, |link| link.mtu.min(MAX_MTU));
        let ipv6 = Ipv6::find(&host.routes()?, only, mtu, &mut notes);
        let wire = Wire::make(&run_dir, &mut host, netns, mtu, &ipv6)?;
        let detour = make_detour(plan, &wire, &mut presence)?;
        let mut nat = install_nat(plan, front, &wire, &mut notes)?;
        let has_ipv6 = ipv6.forwarding.is_some();
        let mut uplinks = Uplinks::new(run_dir, &wire.veth, has_ipv6, only)?;
        let outside = Side { route: &mut host, monitor: &mut monitor };
        if plan.options.no_offload {
            wire.stop_offload(outside.route, inside.route)?;
        }
        wire.connect(outside, inside, &ipv6.destinations)?;
        uplinks.refresh(&mut host, &mut nat)?;
        let name = show(netns, front, &mut presence, &mut notes)?;
        let interface = uplink.map_or_else(|| "lo".into(), |link| link.name.to_string());
        Ok(Self { name, detour, wire, uplinks, nat, host, monitor, interface, notes, _presence: presence })
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
        Report::Ready { interface: self.interface.clone(), v4: self.wire.v4.traced, v6 }
    }

    /// Readable when links, routes or forwarding of the host have changed.
    pub(crate) fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// Follows what has changed on the host, but for what other runs do. What cannot be followed is said, and does not end the trace.
    pub(crate) fn follow_host(&mut self) -> Result<(), Failure> {
        let (mut is_ours, bystanders) = (false, self.uplinks.bystanders());
        self.monitor.drain(|change| is_ours |= bystanders.is_ours(&change))?;
        if !is_ours {
            return Ok(());
        }
        if let Some(detour) = &mut self.detour {
            detour.follow()?;
        }
        self.uplinks.refresh(&mut self.host, &mut self.nat)
    }

    /// Takes everything back, goes on past what fails. The slow part of a run: the user has the prompt by now.
    pub(crate) fn take_back(mut self) {
        drop(self.name);
        drop(self.detour);
        // It would go with the namespace, but that may have guests who stay.
        let _gone_already = self.host.delete_link(self.wire.veth.ifindex);
        let _left = conntrack::forget(self.wire.v4.traced.into());
        if let Some(v6) = self.wire.v6 {
            let _left = conntrack::forget(v6.traced.into());
        }
        drop(self.uplinks);
        let _gone_with_its_socket = self.nat.remove();
    }
}

/// The link that packets leave by: the one of `--device`, or that of the default route.
fn find_uplink(plan: &Plan, host: &mut RouteSocket) -> Result<Option<Link>, Failure> {
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

fn make_detour(plan: &Plan, wire: &Wire, presence: &mut Presence) -> Result<Option<Detour>, Failure> {
    let Some(device) = &plan.device else { return Ok(None) };
    presence.note(&heal::table_note(Detour::table_of(&wire.veth)))?;
    Detour::make(&wire.veth, device).map(Some)
}

fn install_nat(plan: &Plan, front: Pid, wire: &Wire, notes: &mut Vec<String>) -> Result<Nat, Failure> {
    let pid = number(front);
    let nat = Nat::install(&Spec {
        owner: Owner { pid, start_time: heal::start_time(pid).unwrap_or(0) },
        device: wire.veth.name.as_str(),
        device_prefix: NAME_PREFIX,
        ipv4: Some(wire.v4.traced),
        ipv6: wire.v6.map(|block| block.traced),
        only_via: plan.device.as_ref().map(|device| device.name.as_str()),
        guarded: &[],
    })?;
    if !nat.is_owned() {
        notes.push(NOT_OWNED.into());
    }
    Ok(nat)
}

/// Lets `ip netns exec nsntrace-PID` look inside. A machine where that is not possible is no reason not to trace.
fn show(
    netns: &Netns,
    front: Pid,
    presence: &mut Presence,
    notes: &mut Vec<String>,
) -> Result<Option<Name>, Failure> {
    let name = format!("nsntrace-{front}");
    presence.note(&heal::name_note(&name))?;
    match Name::show(netns, &name) {
        Ok(shown) => Ok(Some(shown)),
        Err(error) => {
            notes.push(format!("ip netns will not know this trace: {}", chain(&error)));
            Ok(None)
        }
    }
}

fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().cast_unsigned()
}

/// Ethernet's, where there is no uplink to ask.
const DEFAULT_MTU: u32 = 1500;
/// `ETH_MAX_MTU`, the most that a veth takes; loopback has 65536.
const MAX_MTU: u32 = 65_535;

const NO_DEFAULT_ROUTE: &str =
    "this host has no default route: the program reaches what the host does, and no more";
const NOT_OWNED: &str = "this kernel (before 5.12) does not remove the nftables table by itself if nsntrace is killed; \
    the next run does";
