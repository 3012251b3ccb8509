//! `--device`: packets of the traced program leave through one device, whatever the host's routes prefer.
//!
//! # Theory of operation
//! A rule sends what comes in by our veth to a table of our own. In it stand copies of the host's routes out of that device,
//! and of those that refuse, followed by a refusal of everything else: what the device does not reach is unreachable, and does not leave by
//! another one. The copies follow the host's routes. Rule and routes bear our protocol number, by which the next run finds
//! them if this one is killed.
//!
//! # References
//! ip-rule(8), ip-route(8).

use nsntrace_link::{
    IfIndex, IfName, IpFamily, Link, NextHop, PROTOCOL, Plan, Prefix, Route, RouteKind, RouteSocket, Rule,
    Veth, table,
};

use crate::failure::Failure;

/// A detour that is in place. Dropped, it is taken back.
pub(crate) struct Detour {
    host: RouteSocket,
    device: IfIndex,
    table: u32,
    rules: Vec<Rule>,
    routes: Vec<Route>,
}

impl Detour {
    /// The table for `veth`: it has the number of the veth, which is random and no other link's.
    pub(crate) fn table_of(veth: &Veth) -> u32 {
        veth.ifindex.get()
    }

    /// Sends what comes in by `veth` out of `device`.
    pub(crate) fn make(veth: &Veth, device: &Link) -> Result<Self, Failure> {
        let table = Self::table_of(veth);
        let host = RouteSocket::open()?;
        let mut detour = Self { host, device: device.ifindex, table, rules: Vec::new(), routes: Vec::new() };
        detour.follow()?;
        detour.add_rules(&veth.name)?;
        Ok(detour)
    }

    fn add_rules(&mut self, veth: &IfName) -> Result<(), Failure> {
        for family in self.families() {
            let iif = Some(veth.clone());
            let rule = Rule { family, priority: PRIORITY, table: self.table, iif, protocol: PROTOCOL };
            self.host.add_rule(&rule)?;
            self.rules.push(rule);
        }
        Ok(())
    }

    /// The families that the table has routes of: IPv4, and IPv6 where the kernel has it.
    fn families(&self) -> Vec<IpFamily> {
        let has = |family: &IpFamily| self.routes.iter().any(|route| route.destination.family() == *family);
        IpFamily::ALL.into_iter().filter(has).collect()
    }

    /// Makes the table's routes those that the host has out of the device now.
    pub(crate) fn follow(&mut self) -> Result<(), Failure> {
        let wanted = {
            let routes = self.host.routes()?;
            self.wanted(&routes)
        };
        let (kept, gone): (Vec<_>, Vec<_>) = self.routes.drain(..).partition(|route| wanted.contains(route));
        self.routes = kept;
        for route in gone {
            // The kernel may have removed it together with its gateway or address.
            let _gone_already = self.host.delete_route(&route);
        }
        for route in wanted {
            if !self.routes.contains(&route) {
                self.add(route)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, route: Route) -> Result<(), Failure> {
        match self.host.apply(Plan::new().add_route(&route)) {
            Ok(()) => {
                self.routes.push(route);
                Ok(())
            }
            // Changing at this moment, or IPv6 is off: the next change of routes brings us here again.
            Err(error) if error.errno().is_some() && is_optional(&route) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn wanted(&self, routes: &[Route]) -> Vec<Route> {
        let is_hosts =
            |route: &&Route| route.table != table::LOCAL && route.protocol != PROTOCOL && !route.is_dead;
        let mut wanted: Vec<_> =
            routes.iter().filter(is_hosts).filter_map(|route| self.copy(route)).collect();
        // Connected networks first: gateways are looked for on them.
        wanted.sort_by_key(|route| route.next_hops.iter().any(|hop| hop.gateway.is_some()));
        wanted.dedup_by(|one, other| one == other);
        wanted.extend(IpFamily::ALL.map(|family| self.refusal(family)));
        wanted
    }

    /// A route of the host for our table: one out of the device, or one of the main table that refuses.
    fn copy(&self, route: &Route) -> Option<Route> {
        let ours = Route { table: self.table, protocol: PROTOCOL, ..route.clone() };
        match route.kind {
            RouteKind::Unicast => {
                let hop = route.next_hops.iter().copied().find(|hop| hop.oif == self.device)?;
                // The host reaches the gateway by the device, whatever addresses the device has.
                Some(Route { next_hops: vec![hop], is_onlink: hop.gateway.is_some(), ..ours })
            }
            RouteKind::Refused if route.table == table::MAIN => Some(Route { next_hops: Vec::new(), ..ours }),
            _ => None,
        }
    }

    fn refusal(&self, family: IpFamily) -> Route {
        let hop = NextHop { oif: IfIndex::LOOPBACK, gateway: None };
        let route = Route::new(Prefix::default_of(family), self.table, hop);
        Route { kind: RouteKind::Refused, next_hops: Vec::new(), metric: u32::MAX, scope: 0, ..route }
    }
}

impl Drop for Detour {
    /// Removes rules, then routes. What is gone already is no failure, and what stays the next run finds.
    fn drop(&mut self) {
        for rule in self.rules.drain(..) {
            let _left = self.host.delete_rule(&rule);
        }
        for route in self.routes.drain(..) {
            let _left = self.host.delete_route(&route);
        }
    }
}

/// All but the refusal of IPv4, without which packets could leave elsewhere.
fn is_optional(route: &Route) -> bool {
    route.kind != RouteKind::Refused || route.destination.family() == IpFamily::V6
}

/// Right behind the local table's rule, before anybody else's: it concerns packets of our veth alone.
const PRIORITY: u32 = 1;
