//! Whether the program can have IPv6, and what of it.
//!
//! # Theory of operation
//! The program gets what the host has: a default route if the host has one, else the networks that it has routes to, else no IPv6 at all.
//! An address that leads nowhere would make programs try, and wait a second before they fail.
//!
//! # References
//! RFC 8200 section 5 (the least MTU); Documentation/networking/ip-sysctl.rst: `conf/all/forwarding`, `force_forwarding`.

use std::net::IpAddr;

use nsntrace_link::{IfIndex, Prefix, Route, RouteKind, table};

use super::sysctl;

/// What IPv6 there is to be.
#[derive(Debug, Default)]
pub(crate) struct Ipv6 {
    /// How it is forwarded; `None` for no IPv6.
    pub(crate) forwarding: Option<Forwarding>,
    /// What the host can reach over IPv6, and hence the program.
    pub(crate) destinations: Vec<Prefix>,
}

/// How this host forwards IPv6 for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forwarding {
    /// It forwards already.
    On,
    /// Device by device, with router advertisements still accepted.
    PerDevice,
}

impl Ipv6 {
    /// Finds out what there can be, given the host's routes, the only device that may be used and the wire's MTU. What the host has
    /// and the program cannot have is noted.
    pub(crate) fn find(routes: &[Route], only: Option<IfIndex>, mtu: u32, notes: &mut Vec<String>) -> Self {
        let destinations = Self::destinations(routes, only, mtu, notes);
        if destinations.is_empty() {
            return Self::default();
        }
        let forwarding = Forwarding::of_this_host();
        if forwarding.is_none() {
            notes.push(NOT_FORWARDED.into());
            return Self::default();
        }
        Self { forwarding, destinations }
    }

    /// What the host can reach, and hence the program if nobody has to forward. What the wire is too narrow for is noted.
    pub(crate) fn destinations(
        routes: &[Route],
        only: Option<IfIndex>,
        mtu: u32,
        notes: &mut Vec<String>,
    ) -> Vec<Prefix> {
        let destinations = destinations(routes, only);
        if destinations.is_empty() || mtu >= LEAST_MTU {
            return destinations;
        }
        notes.push(format!("this trace is IPv4 only: the uplink's MTU of {mtu} is too small for IPv6"));
        Vec::new()
    }
}

impl Forwarding {
    /// Reads what this host does and what its kernel can. `None`: only by becoming a router altogether, which would cost it the routes
    /// that it learnt from advertisements.
    pub(crate) fn of_this_host() -> Option<Self> {
        match sysctl::read("net/ipv6/conf/all/forwarding") {
            Some(value) if value != "0" => Some(Self::On),
            _ => sysctl::exists("net/ipv6/conf/all/force_forwarding").then_some(Self::PerDevice),
        }
    }
}

/// Everything if the host has a default route, else the networks that it has routes to.
fn destinations(routes: &[Route], only: Option<IfIndex>) -> Vec<Prefix> {
    let leads_out = |route: &&Route| {
        let is_way_out = |oif: IfIndex| oif != IfIndex::LOOPBACK && only.is_none_or(|only| only == oif);
        let is_usable = route.kind == RouteKind::Unicast && !route.is_dead && route.table != table::LOCAL;
        is_usable && is_global(route.destination) && route.next_hops.iter().any(|hop| is_way_out(hop.oif))
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

/// `IPV6_MIN_MTU`.
const LEAST_MTU: u32 = 1280;

const NOT_FORWARDED: &str = "this trace is IPv4 only: the host does not forward IPv6, and before Linux 6.17 that could only be \
    switched on for all devices, which would cost the host its advertised routes";

#[cfg(test)]
mod tests {
    use super::*;
    use nsntrace_link::NextHop;

    fn route(destination: &str, oif: u32) -> Route {
        let (address, prefix_len) = destination.split_once('/').unwrap();
        let destination = Prefix::new(address.parse().unwrap(), prefix_len.parse().unwrap()).unwrap();
        Route::new(destination, table::MAIN, NextHop { oif: IfIndex::new(oif).unwrap(), gateway: None })
    }

    #[track_caller]
    fn check(routes: &[Route], only: Option<u32>, expected: &[&str]) {
        let found = destinations(routes, only.and_then(IfIndex::new));
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_default_route_is_all_there_is_to_say() {
        check(&[route("2001:db8:1::/64", 2), route("::/0", 2)], None, &["::/0"]);
    }

    #[test]
    fn without_one_the_program_gets_the_hosts_networks() {
        let routes = [route("fd00:2::/64", 3), route("fd00:1::/64", 2), route("fd00:1::/64", 3)];
        check(&routes, None, &["fd00:1::/64", "fd00:2::/64"]);
        check(&routes, Some(2), &["fd00:1::/64"]);
    }

    #[test]
    fn what_every_host_has_is_nothing() {
        let local = Route { table: table::LOCAL, ..route("2001:db8:1::1/128", 2) };
        let dead = Route { is_dead: true, ..route("::/0", 2) };
        let refused = Route { kind: RouteKind::Refused, ..route("::/0", 2) };
        check(
            &[route("fe80::/64", 2), route("ff00::/8", 2), route("::/0", 1), local, dead, refused],
            None,
            &[],
        );
        check(&[route("0.0.0.0/0", 2)], None, &[]);
    }
}
