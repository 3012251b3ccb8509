//! The wire between the traced namespace and the host: a veth pair with addresses, and nothing on it but the program's packets.
//!
//! # Theory of operation
//! Its far end is the program's; its near end is in the host's namespace, or in the router's of a proxy. Each end knows the other's hardware address beforehand, and asks nobody for it. The wire is ready when the kernel has
//! acted on the carrier of both ends and takes in what comes for the program.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use nsntrace_link::block::{self, Block, IPV4_PREFIX_LEN, IPV6_PREFIX_LEN};
use nsntrace_link::{
    Carrier, IfAddress, IfIndex, IfName, Monitor, NextHop, Plan, Prefix, Route, RouteKind, RouteSocket, Veth,
    VethRequest, random_bits, table,
};
use nsntrace_netns::Netns;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

use crate::failure::Failure;

/// One side of the wire: where changes are made, and where they are heard of.
pub(crate) struct Side<'a> {
    pub(crate) route: &'a mut RouteSocket,
    pub(crate) monitor: &'a mut Monitor,
}

/// The veth pair and its addresses.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    pub(crate) veth: Veth,
    pub(crate) v4: Block<Ipv4Addr>,
    pub(crate) v6: Option<Block<Ipv6Addr>>,
}

/// The hardware addresses of its two ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Macs {
    pub(crate) near: [u8; 6],
    pub(crate) far: [u8; 6],
}

/// A wire to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WireRequest<'a> {
    /// The name of the near end; with `%d` in it, the kernel puts the lowest number that is free.
    pub(crate) name: &'a str,
    /// The longest packet, bytes.
    pub(crate) mtu: u32,
    pub(crate) has_ipv6: bool,
    /// What the addresses must keep clear of.
    pub(crate) occupied: &'a [Prefix],
}

impl Wire {
    /// Chooses addresses and makes the pair. Both ends are down.
    pub(crate) fn make(
        host: &mut RouteSocket,
        netns: &Netns,
        request: &WireRequest<'_>,
    ) -> Result<Self, Failure> {
        let v4 = block::choose_ipv4(request.occupied, random()?)?;
        let v6 = if request.has_ipv6 { Some(block::choose_ipv6(request.occupied, random()?)?) } else { None };
        let mut addresses = vec![if_address(v4.host.into(), IPV4_PREFIX_LEN)];
        addresses.extend(v6.map(|v6| if_address(v6.host.into(), IPV6_PREFIX_LEN)));
        let veth = host.create_veth(&VethRequest {
            name: &if_name(request.name),
            peer_name: &if_name(PEER_NAME),
            peer_netns: netns.as_fd(),
            mtu: request.mtu,
            addresses: &addresses,
        })?;
        Ok(Self { veth, v4, v6 })
    }

    /// Gives the program's end its addresses and routes, brings both ends up and waits until both are. Says in `notes` what did not come in time.
    pub(crate) fn connect(
        &self,
        host: Side<'_>,
        inside: Side<'_>,
        destinations: &[Prefix],
        no_offload: bool,
        notes: &mut Vec<String>,
    ) -> Result<Macs, Failure> {
        if no_offload {
            self.stop_offload(host.route, inside.route)?;
        }
        self.configure_inside(inside.route, destinations)?;
        let macs = self.introduce(host.route, inside.route)?;
        host.wait_until_active(self.veth.ifindex, None)?;
        if !inside.wait_until_active(self.veth.peer_ifindex, self.v6.map(|v6| v6.traced))? {
            notes.push("the kernel does not take in what comes by IPv6 yet".to_owned());
        }
        Ok(macs)
    }

    /// Leaves checksums and segmentation of either direction to nobody behind the tap.
    fn stop_offload(&self, host: &RouteSocket, inside: &RouteSocket) -> Result<(), Failure> {
        host.stop_offload(&self.veth.name)?;
        Ok(inside.stop_offload(&if_name(PEER_NAME))?)
    }

    fn configure_inside(
        &self,
        inside: &mut RouteSocket,
        ipv6_destinations: &[Prefix],
    ) -> Result<(), Failure> {
        let oif = self.veth.peer_ifindex;
        inside.stop_address_generation(oif)?;
        let mut plan = Plan::new();
        // Up first: a device that comes up gets the networks of its addresses by what memory there is at the moment, and it is no error if there is none.
        plan.stop_arp(oif).set_up(oif);
        plan.add_address(oif, if_address(self.v4.traced.into(), IPV4_PREFIX_LEN));
        if let Some(v6) = self.v6 {
            plan.add_address(oif, if_address(v6.traced.into(), IPV6_PREFIX_LEN));
        }
        plan.add_route(&Route::default_by(self.v4.host.into(), oif));
        if let Some(v6) = self.v6 {
            let hop = NextHop { oif, gateway: Some(v6.host.into()) };
            for destination in ipv6_destinations {
                plan.add_route(&Route::new(*destination, table::MAIN, hop));
            }
        }
        Ok(inside.apply(&plan)?)
    }

    /// Brings the host's end up and tells each end the other's hardware address: no ARP, no neighbour discovery in the trace.
    fn introduce(&self, host: &mut RouteSocket, inside: &mut RouteSocket) -> Result<Macs, Failure> {
        let (near, far) = (self.veth.ifindex, self.veth.peer_ifindex);
        let (Some(near_mac), Some(far_mac)) = (host.link(near)?.mac, inside.link(far)?.mac) else {
            return Err(Failure::new("the veth has no hardware addresses"));
        };
        let macs = Macs { near: near_mac, far: far_mac };
        let (mut outer, mut inner) = (Plan::new(), Plan::new());
        outer.set_up(near).add_neighbour(near, self.v4.traced.into(), macs.far);
        inner.add_neighbour(far, self.v4.host.into(), macs.near);
        if let Some(v6) = self.v6 {
            outer.add_neighbour(near, v6.traced.into(), macs.far);
            inner.add_neighbour(far, v6.host.into(), macs.near);
        }
        host.apply(&outer)?;
        inside.apply(&inner)?;
        Ok(macs)
    }
}

impl Side<'_> {
    /// The same side, for as long as somebody else needs it.
    pub(crate) fn reborrow(&mut self) -> Side<'_> {
        Side { route: self.route, monitor: self.monitor }
    }

    /// Waits until the kernel has acted on the link's carrier, and takes in what comes for `address`; whether it does the latter.
    fn wait_until_active(mut self, ifindex: IfIndex, address: Option<Ipv6Addr>) -> Result<bool, Failure> {
        let deadline = Instant::now() + ACTIVATION;
        while !self.is_active(ifindex, address)? {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let is_up = self.is_active(ifindex, None)?;
                return if is_up { Ok(false) } else { Err(Failure::new("the veth does not come up")) };
            }
            let timeout = Timespec::try_from(left).ok();
            let _interrupted = poll(&mut [PollFd::new(&*self.monitor, PollFlags::IN)], timeout.as_ref());
            self.monitor.drain(|_change| {})?;
        }
        Ok(true)
    }

    /// Before it has a carrier, what is sent vanishes before anybody sees it: the link has no queue yet (`noop_qdisc`). From Linux 6.8 on asking is
    /// enough; before, its announcement is waited for. That an address of IPv6 is this machine's own the kernel notes later than it gives the
    /// address, when it finds the time (`addrconf_dad_work()` in net/ipv6/addrconf.c), and until then what comes vanishes.
    fn is_active(&mut self, ifindex: IfIndex, address: Option<Ipv6Addr>) -> Result<bool, Failure> {
        if self.route.link(ifindex)?.carrier != Carrier::Active {
            return Ok(false);
        }
        let Some(address) = address else { return Ok(true) };
        let own = Prefix::host(address.into());
        let routes = self.route.routes()?;
        // A kernel without CONFIG_IPV6_MULTIPLE_TABLES has them all in one table.
        Ok(routes.iter().any(|route| route.kind == RouteKind::Local && route.destination == own))
    }
}

fn random() -> Result<u128, Failure> {
    random_bits().map_err(|errno| Failure::of("cannot get random numbers", &errno))
}

fn if_address(address: IpAddr, prefix_len: u8) -> IfAddress {
    IfAddress::new(address, prefix_len).expect("31 and 127 fit their families")
}

fn if_name(name: &str) -> IfName {
    IfName::new(name).expect("a constant, and short")
}

/// What the names of our devices on the host begin with.
pub(crate) const NAME_PREFIX: &str = "nst";
/// What the program's end is called.
const PEER_NAME: &str = "eth0";

/// Many times what it takes on a machine where many traces start at once.
const ACTIVATION: Duration = Duration::from_secs(5);
