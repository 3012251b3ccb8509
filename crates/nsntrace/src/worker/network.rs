//! The network between the traced namespace and the host: addresses, veth, routes, NAT, forwarding.
//!
//! # Theory of operation
//! Each step is made by the crate of its object; what is decided here is their order. Addresses are chosen and the veth is
//! made under a lock that all runs share, so that each run sees the addresses of the others among the host's routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use nsntrace_lease::{Presence, RunDir};
use nsntrace_link::block::{self, Block, IPV4_PREFIX_LEN, IPV6_PREFIX_LEN};
use nsntrace_link::{
    Carrier, Changes, IfAddress, IfIndex, IfName, IpFamily, Link, Monitor, NextHop, Plan as LinkPlan, Prefix,
    Route, RouteKind, RouteSocket, Veth, VethRequest, random_bits, table,
};
use nsntrace_nat::{Nat, Owner, Spec, conntrack};
use nsntrace_netns::{Name, Netns};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::Pid;
use rustix::time::Timespec;

use super::detour::Detour;
use super::heal;
use super::uplinks::{self, Ipv6Forwarding, Uplinks, VETH_PREFIX};
use crate::failure::Failure;
use crate::plan::Plan;
use crate::protocol::Report;

/// A network that is up. Fields are in the order in which they are to go.
pub(crate) struct Network {
    host: RouteSocket,
    monitor: Monitor,
    detour: Option<Detour>,
    veth: Veth,
    name: Option<Name>,
    uplinks: Uplinks,
    nat: Nat,
    addresses: Addresses,
    interface: String,
    notes: Vec<String>,
    _presence: Presence,
}

/// Both ends of the veth, by family.
#[derive(Clone, Copy)]
struct Addresses {
    v4: Block<Ipv4Addr>,
    v6: Option<Block<Ipv6Addr>>,
}

/// What IPv6 there can be.
#[derive(Default)]
struct Ipv6 {
    /// How it is forwarded; `None` for no IPv6.
    forwarding: Option<Ipv6Forwarding>,
    /// What the host can reach over IPv6, and hence the program.
    destinations: Vec<Prefix>,
}

impl Network {
    /// Makes the network between `netns`, which `inside` is a socket of, and the namespace of this thread.
    pub(crate) fn make(
        plan: &Plan,
        netns: &Netns,
        inside: (&mut RouteSocket, &mut Monitor),
        front: Pid,
    ) -> Result<Self, Failure> {
        let (inside, inside_monitor) = inside;
        let mut host = RouteSocket::open()?;
        let run_dir = heal::run_dir()?;
        heal::heal(&run_dir, &mut host);
        let mut presence = Presence::register(&run_dir, front.as_raw_nonzero().get().cast_unsigned())?;
        // Before the routes are read: no change of them is missed.
        let mut monitor = Monitor::open()?;
        let mut notes = Vec::new();
        let uplink = find_uplink(plan, &mut host)?;
        let ipv6 = find_ipv6(plan, &mut host, &mut notes)?;
        let (veth, addresses) = make_veth(&run_dir, &mut host, netns, uplink.as_ref(), &ipv6)?;
        let detour =
            plan.device.as_ref().map(|device| Detour::make(&mut host, (veth.ifindex, &veth.name), device));
        let detour = detour.transpose()?;
        let mut nat = install_nat(plan, front, &veth, addresses, &mut notes)?;
        uplinks::forward_from(&veth.name, ipv6.forwarding)?;
        configure_inside(inside, &veth, addresses, &ipv6.destinations)?;
        connect(&mut host, inside, &veth, addresses)?;
        wait_until_active(&mut host, &mut monitor, veth.ifindex)?;
        wait_until_active(inside, inside_monitor, veth.peer_ifindex)?;
        let mut uplinks =
            Uplinks::new(run_dir, ipv6.forwarding, plan.device.as_ref().map(|device| device.ifindex));
        uplinks.refresh(&mut host, &mut nat)?;
        let name = show(netns, front, &mut presence, &mut notes)?;
        let interface = uplink.map_or_else(|| "lo".into(), |link| link.name.to_string());
        Ok(Self {
            host,
            monitor,
            detour,
            veth,
            name,
            uplinks,
            nat,
            addresses,
            interface,
            notes,
            _presence: presence,
        })
    }

    /// The number of the program's end of the veth.
    pub(crate) fn peer_ifindex(&self) -> IfIndex {
        self.veth.peer_ifindex
    }

    /// What the user should know.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What front tells the user.
    pub(crate) fn ready(&self) -> Report {
        let v6 = self.addresses.v6.map(|block| block.traced);
        Report::Ready { interface: self.interface.clone(), v4: self.addresses.v4.traced, v6 }
    }

    /// Readable when links, routes or forwarding of the host have changed.
    pub(crate) fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// Follows what has changed on the host. What cannot be followed is said, and does not end the trace.
    pub(crate) fn follow_host(&mut self) -> Result<(), Failure> {
        let changes = self.monitor.drain()?;
        if changes == Changes::default() {
            return Ok(());
        }
        if let Some(detour) = &mut self.detour {
            detour.follow(&mut self.host)?;
        }
        self.uplinks.refresh(&mut self.host, &mut self.nat)
    }

    /// Takes everything back, goes on past what fails. The slow part of a run: the user has the prompt by now.
    pub(crate) fn take_back(mut self) {
        drop(self.name.take());
        if let Some(detour) = &mut self.detour {
            detour.take_back(&mut self.host);
        }
        // It would go with the namespace, but that may have guests who stay.
        let _gone_already = self.host.delete_link(self.veth.ifindex);
        let Addresses { v4, v6 } = self.addresses;
        let _left = conntrack::forget(v4.traced.into());
        if let Some(v6) = v6 {
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

/// Finds out whether the program can have IPv6: the host has, and can forward it without harm.
fn find_ipv6(plan: &Plan, host: &mut RouteSocket, notes: &mut Vec<String>) -> Result<Ipv6, Failure> {
    let destinations = ipv6_destinations(plan, &host.routes()?);
    if destinations.is_empty() {
        return Ok(Ipv6::default());
    }
    let forwarding = Ipv6Forwarding::of_this_host();
    if forwarding == Ipv6Forwarding::Harmful {
        notes.push(NO_IPV6.into());
        return Ok(Ipv6::default());
    }
    Ok(Ipv6 { forwarding: Some(forwarding), destinations })
}

/// Everything if the host has a default route, else the networks that it has routes to.
fn ipv6_destinations(plan: &Plan, routes: &[Route]) -> Vec<Prefix> {
    let device = plan.device.as_ref().map(|device| device.ifindex);
    let leads_out = |route: &&Route| {
        let hop = route
            .next_hops
            .iter()
            .find(|hop| hop.oif != IfIndex::LOOPBACK && device.is_none_or(|only| only == hop.oif));
        let is_usable = route.kind == RouteKind::Unicast && !route.is_dead && route.table != table::LOCAL;
        is_usable && hop.is_some() && is_global(route.destination)
    };
    let mut destinations: Vec<_> = routes.iter().filter(leads_out).map(|route| route.destination).collect();
    if let Some(default) = destinations.iter().copied().find(|prefix| prefix.is_default()) {
        return vec![default];
    }
    destinations.sort_unstable();
    destinations.dedup();
    destinations
}

/// IPv6, neither link-local nor multicast.
fn is_global(prefix: Prefix) -> bool {
    match prefix.address() {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => !v6.is_unicast_link_local() && !v6.is_multicast(),
    }
}

/// Chooses addresses and makes the pair, alone among all runs.
fn make_veth(
    run_dir: &RunDir,
    host: &mut RouteSocket,
    netns: &Netns,
    uplink: Option<&Link>,
    ipv6: &Ipv6,
) -> Result<(Veth, Addresses), Failure> {
    use std::os::fd::AsFd as _;
    let random = || random_bits().map_err(|errno| Failure::of("cannot get random numbers", &errno));
    let _alone = run_dir.exclusive()?;
    let occupied = host.occupied()?;
    let v4 = block::choose_ipv4(&occupied, random()?)?;
    let v6 = ipv6.forwarding.map(|_how| random().and_then(|bits| Ok(block::choose_ipv6(&occupied, bits)?)));
    let v6 = v6.transpose()?;
    let mut own = vec![if_address(v4.host.into(), IPV4_PREFIX_LEN)];
    own.extend(v6.map(|v6| if_address(v6.host.into(), IPV6_PREFIX_LEN)));
    let request = VethRequest {
        name: &if_name(&format!("{VETH_PREFIX}%d")),
        peer_name: &if_name("eth0"),
        peer_netns: netns.as_fd(),
        mtu: uplink.map_or(DEFAULT_MTU, |link| link.mtu.min(MAX_MTU)),
        addresses: &own,
    };
    Ok((host.create_veth(&request)?, Addresses { v4, v6 }))
}

/// Gives the program's end its addresses and routes.
fn configure_inside(
    inside: &mut RouteSocket,
    veth: &Veth,
    addresses: Addresses,
    ipv6_destinations: &[Prefix],
) -> Result<(), Failure> {
    let oif = veth.peer_ifindex;
    inside.stop_address_generation(oif)?;
    let mut plan = LinkPlan::new();
    plan.stop_arp(oif);
    plan.add_address(oif, if_address(addresses.v4.traced.into(), IPV4_PREFIX_LEN));
    if let Some(v6) = addresses.v6 {
        plan.add_address(oif, if_address(v6.traced.into(), IPV6_PREFIX_LEN));
    }
    plan.set_up(oif);
    plan.add_route(&Route::default_by(addresses.v4.host.into(), oif));
    if let Some(v6) = addresses.v6 {
        let hop = NextHop { oif, gateway: Some(v6.host.into()) };
        for destination in ipv6_destinations {
            plan.add_route(&Route::new(*destination, table::MAIN, hop));
        }
    }
    Ok(inside.apply(&plan)?)
}

/// Brings the host's end up and tells each end the other's hardware address: no ARP, no neighbour discovery in the trace.
fn connect(
    host: &mut RouteSocket,
    inside: &mut RouteSocket,
    veth: &Veth,
    addresses: Addresses,
) -> Result<(), Failure> {
    let Addresses { v4, v6 } = addresses;
    let macs = (host.link(veth.ifindex)?.mac, inside.link(veth.peer_ifindex)?.mac);
    let (Some(host_mac), Some(peer_mac)) = macs else {
        return Err(Failure::new("a veth without hardware addresses"));
    };
    let (mut outer, mut inner) = (LinkPlan::new(), LinkPlan::new());
    outer.set_up(veth.ifindex);
    outer.add_neighbour(veth.ifindex, v4.traced.into(), peer_mac);
    inner.add_neighbour(veth.peer_ifindex, v4.host.into(), host_mac);
    if let Some(v6) = v6 {
        outer.add_neighbour(veth.ifindex, v6.traced.into(), peer_mac);
        inner.add_neighbour(veth.peer_ifindex, v6.host.into(), host_mac);
    }
    host.apply(&outer)?;
    inside.apply(&inner)?;
    Ok(())
}

/// Waits until the kernel has acted on the link's carrier. Until then what is sent vanishes before anybody sees it: the link has no
/// queue yet (`noop_qdisc`). From Linux 6.8 on asking is enough; before, its announcement is waited for.
fn wait_until_active(
    socket: &mut RouteSocket,
    monitor: &mut Monitor,
    ifindex: IfIndex,
) -> Result<(), Failure> {
    let deadline = Instant::now() + ACTIVATION;
    while socket.link(ifindex)?.carrier != Carrier::Active {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::new("the veth does not get a carrier"));
        }
        let timeout = Timespec::try_from(left).ok();
        let _interrupted = poll(&mut [PollFd::new(&*monitor, PollFlags::IN)], timeout.as_ref());
        monitor.drain()?;
    }
    Ok(())
}

fn install_nat(
    plan: &Plan,
    front: Pid,
    veth: &Veth,
    addresses: Addresses,
    notes: &mut Vec<String>,
) -> Result<Nat, Failure> {
    let pid = front.as_raw_nonzero().get().cast_unsigned();
    let nat = Nat::install(&Spec {
        owner: Owner { pid, start_time: heal::start_time(pid).unwrap_or(0) },
        device: veth.name.as_str(),
        device_prefix: VETH_PREFIX,
        ipv4: Some(addresses.v4.traced),
        ipv6: addresses.v6.map(|block| block.traced),
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
            notes.push(format!("ip netns will not know this trace: {}", crate::failure::chain(&error)));
            Ok(None)
        }
    }
}

fn if_address(address: IpAddr, prefix_len: u8) -> IfAddress {
    IfAddress::new(address, prefix_len).expect("31 and 127 fit their families")
}

fn if_name(name: &str) -> IfName {
    IfName::new(name).expect("a constant of this file, and short")
}

/// Ethernet's, where there is no uplink to ask.
const DEFAULT_MTU: u32 = 1500;
/// `ETH_MAX_MTU`, the most that a veth takes; loopback has 65536.
const MAX_MTU: u32 = 65_535;

/// Many times what it takes on a machine where many traces start at once.
const ACTIVATION: Duration = Duration::from_secs(5);

const NO_IPV6: &str = "this trace is IPv4 only: the host does not forward IPv6, and before Linux 6.17 that could only be \
    switched on for all devices, which would cost the host its advertised routes";
const NOT_OWNED: &str = "this kernel (before 5.12) does not remove the nftables table by itself if nsntrace is killed; \
    the next run does";
