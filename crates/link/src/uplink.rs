//! Which link packets to the internet leave by.
//!
//! # Theory of operation
//! `ip route get 192.0.2.1` would ask the kernel for one packet of ours, with our mark and our user: with
//! policy routing that is not the way that another program's packet takes, let alone a forwarded one. So the
//! routes are read instead: of the routes for everything the one with the lowest metric, in the main table
//! first, and else in the table with the lowest number.
//!
//! VPN clients like OpenVPN (`redirect-gateway def1`) leave the default route alone and cover it with two
//! halves. A half that is routed outranks a default route in its table, as it does in the kernel.
//!
//! Routes that refuse (`unreachable`, `blackhole`, `prohibit`) are no way out, nor are those whose link is
//! down.

use std::net::IpAddr;

use crate::{IfIndex, IpFamily, LinkError, Route, RouteKind, RouteSocket, route::table};

/// A way to the internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uplink {
    /// The link; of several that share the traffic, the first.
    pub ifindex: IfIndex,
    /// Who forwards, where that is not the link itself.
    pub gateway: Option<IpAddr>,
    /// The table of its route.
    pub table: u32,
    /// The metric of its route.
    pub metric: u32,
}

impl RouteSocket {
    /// The link that packets to the internet leave by; `None` where no route leads there.
    ///
    /// # Errors
    /// [`LinkError::Netlink`].
    pub fn default_uplink(&mut self, family: IpFamily) -> Result<Option<Uplink>, LinkError> {
        Ok(choose(&self.routes_of(family)?))
    }
}

fn choose(routes: &[Route]) -> Option<Uplink> {
    let best = routes.iter().filter(|route| leads_out(route)).min_by_key(|route| rank(route))?;
    let next_hop = best.next_hops.first()?;
    Some(Uplink { ifindex: next_hop.oif, gateway: next_hop.gateway, table: best.table, metric: best.metric })
}

fn leads_out(route: &Route) -> bool {
    let has_way_out = route.kind == RouteKind::Unicast && !route.is_dead;
    let is_by_loopback = route.next_hops.first().is_none_or(|next_hop| next_hop.oif == IfIndex::LOOPBACK);
    has_way_out && !is_by_loopback && route.destination.prefix_len() <= HALF
}

/// The lowest is the best: main before others, longer before shorter, then the metric.
fn rank(route: &Route) -> (bool, u32, u8, u32) {
    (route.table != table::MAIN, route.table, HALF - route.destination.prefix_len(), route.metric)
}

/// The prefix length of half of all addresses.
const HALF: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NextHop, Prefix};

    fn route(destination: &str, prefix_len: u8, table: u32, metric: u32, oif: u32) -> Route {
        let destination = Prefix::new(destination.parse().unwrap(), prefix_len).unwrap();
        let next_hop = NextHop { oif: IfIndex::new(oif).unwrap(), gateway: None };
        Route { metric, ..Route::new(destination, table, next_hop) }
    }

    #[track_caller]
    fn check(routes: &[Route], expected: Option<u32>) {
        assert_eq!(choose(routes).map(|uplink| uplink.ifindex.get()), expected);
    }

    #[test]
    fn the_lowest_metric_of_main_wins() {
        check(&[], None);
        check(&[route("10.0.0.0", 8, 254, 0, 2)], None);
        check(
            &[
                route("0.0.0.0", 0, 100, 0, 2),
                route("0.0.0.0", 0, 254, 600, 3),
                route("0.0.0.0", 0, 254, 100, 4),
            ],
            Some(4),
        );
    }

    #[test]
    fn other_tables_count_where_main_has_none() {
        check(&[route("0.0.0.0", 0, 900, 0, 2), route("0.0.0.0", 0, 100, 50, 3)], Some(3));
    }

    #[test]
    fn refusing_and_dead_routes_are_no_way_out() {
        let refused = Route { kind: RouteKind::Refused, ..route("::", 0, 254, 1, 2) };
        let dead = Route { is_dead: true, ..route("::", 0, 254, 1, 3) };
        let nowhere = Route { next_hops: Vec::new(), ..route("::", 0, 254, 1, 3) };
        check(&[refused.clone(), dead.clone(), nowhere.clone()], None);
        check(&[route("::", 0, 254, 0, 1)], None);
        check(&[refused, dead, nowhere, route("::", 0, 254, 1024, 4)], Some(4));
    }

    #[test]
    fn a_routed_half_outranks_the_default_route() {
        check(
            &[
                route("0.0.0.0", 0, 254, 0, 2),
                route("0.0.0.0", 1, 254, 0, 3),
                route("128.0.0.0", 1, 254, 0, 3),
            ],
            Some(3),
        );
    }
}
