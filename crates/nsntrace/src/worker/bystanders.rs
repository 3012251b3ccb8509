//! Telling what concerns this run from what other runs do beside it.
//!
//! # Theory of operation
//! A run that comes or goes announces some thirty changes of its own veth. Were each run to look at all links and routes again for each
//! of them, runs that start at once would cost the cube of their number: a hundred spent 6 s on it (docs/benchmarks.md). So announcements are
//! read, and what is about another run's veth is left alone: the link by its name, routes by the number that the link's own
//! announcement, which comes first, went with. Flags of a device matter only where we rely on them; a device that is new announces itself as
//! a link, too. In doubt a change concerns us: to look once too often is no mistake.
//!
//! # References
//! `rtnl_configure_link()` in net/core/rtnetlink.c: a link is announced before anybody can give it addresses.

use nsntrace_link::{Change, IfIndex, Link, PROTOCOL, Route, table};

use super::wire::NAME_PREFIX;

/// The devices of the host, as far as this run has to tell them apart.
#[derive(Debug)]
pub(crate) struct Bystanders {
    /// Our veth, and the device of `--device`: never a bystander, whatever its name.
    own: Vec<IfIndex>,
    /// Those whose flags we rely on, our veth aside.
    used: Vec<IfIndex>,
    /// The veths of other runs.
    others: Vec<IfIndex>,
}

impl Bystanders {
    /// Knows nobody yet.
    pub(crate) fn new(veth: IfIndex, only: Option<IfIndex>) -> Self {
        let own = std::iter::once(veth).chain(only).collect();
        Self { own, used: Vec::new(), others: Vec::new() }
    }

    /// Learns who is there: all links, and those that packets leave and come back by.
    pub(crate) fn learn(&mut self, links: &[Link], used: impl Iterator<Item = IfIndex>) {
        self.used = used.collect();
        self.others = links.iter().filter(|link| self.is_others(link)).map(|link| link.ifindex).collect();
    }

    /// Whether a change concerns this run. To be told of every change, in order.
    pub(crate) fn is_ours(&mut self, change: &Change) -> bool {
        match change {
            Change::Link(link) if self.is_others(link) => {
                if !self.others.contains(&link.ifindex) {
                    self.others.push(link.ifindex);
                }
                false
            }
            Change::LinkGone(link) if self.is_others(link) => {
                self.forget(link);
                false
            }
            Change::Link(link) => {
                // It had another name before.
                self.forget(link);
                true
            }
            Change::Route(route) => !self.is_route_of_others(route),
            Change::Flags(Some(ifindex)) => self.own.contains(ifindex) || self.used.contains(ifindex),
            _ => true,
        }
    }

    fn forget(&mut self, link: &Link) {
        self.others.retain(|other| *other != link.ifindex);
    }

    fn is_others(&self, link: &Link) -> bool {
        link.name.as_str().starts_with(NAME_PREFIX) && !self.own.contains(&link.ifindex)
    }

    /// Out of another run's veth; or a copy that a run with `--device` made of a route of the host, whose own changes are heard.
    fn is_route_of_others(&self, route: &Route) -> bool {
        let is_copy = route.protocol == PROTOCOL && route.table != table::MAIN;
        let mut hops = route.next_hops.iter();
        is_copy || (hops.len() > 0 && hops.all(|hop| self.others.contains(&hop.oif)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nsntrace_link::{Carrier, IfName, NextHop, Prefix};

    fn number(ifindex: u32) -> IfIndex {
        IfIndex::new(ifindex).unwrap()
    }

    fn link(ifindex: u32, name: &str) -> Link {
        Link {
            ifindex: number(ifindex),
            name: IfName::new(name).unwrap(),
            mtu: 1500,
            is_up: true,
            carrier: Carrier::Active,
            is_loopback: false,
            kind: Some("veth".into()),
            mac: None,
        }
    }

    fn route(oifs: &[u32]) -> Change {
        Change::Route(host_route(oifs))
    }

    fn host_route(oifs: &[u32]) -> Route {
        let hop = |&oif: &u32| NextHop { oif: number(oif), gateway: None };
        let destination = Prefix::host("192.0.2.1".parse().unwrap());
        let next_hops = oifs.iter().map(hop).collect();
        Route { next_hops, protocol: 4, ..Route::new(destination, table::MAIN, hop(&1)) }
    }

    /// Our veth has number 10, another run's 11, the uplink 2; 3 is a device that no route leads out of.
    fn bystanders() -> Bystanders {
        let mut bystanders = Bystanders::new(number(10), None);
        let links = [link(2, "up0"), link(3, "spare"), link(10, "nst0"), link(11, "nst1")];
        bystanders.learn(&links, std::iter::once(number(2)));
        bystanders
    }

    #[track_caller]
    fn check(bystanders: &mut Bystanders, change: &Change, expected: bool) {
        assert_eq!(bystanders.is_ours(change), expected, "{change:?}");
    }

    #[test]
    fn another_runs_life_passes_by() {
        let mut all = bystanders();
        for change in [
            Change::Flags(Some(number(12))),
            Change::Link(link(12, "nst2")),
            route(&[12]),
            Change::Flags(Some(number(12))),
            Change::LinkGone(link(12, "nst2")),
            Change::Link(link(11, "nst1")),
            route(&[11]),
            route(&[11, 11]),
        ] {
            check(&mut all, &change, false);
        }
    }

    #[test]
    fn what_is_ours_or_the_hosts_does_not() {
        let mut all = bystanders();
        for change in [
            Change::Link(link(10, "nst0")),
            Change::LinkGone(link(10, "nst0")),
            Change::Flags(Some(number(10))),
            Change::Link(link(2, "up0")),
            Change::LinkGone(link(2, "up0")),
            Change::Link(link(20, "up1")),
            Change::Flags(Some(number(2))),
            Change::Flags(None),
            route(&[2]),
            route(&[]),
            route(&[11, 2]),
            Change::Anything,
        ] {
            check(&mut all, &change, true);
        }
        // The flags of a device that no packet of ours comes in by.
        check(&mut all, &Change::Flags(Some(number(3))), false);
    }

    #[test]
    fn a_number_is_another_runs_only_as_long_as_the_link_has_it() {
        let mut all = bystanders();
        check(&mut all, &Change::Link(link(11, "renamed")), true);
        check(&mut all, &route(&[11]), true);
        check(&mut all, &Change::Link(link(11, "nst1")), false);
        check(&mut all, &Change::LinkGone(link(11, "nst1")), false);
        check(&mut all, &route(&[11]), true);
    }

    #[test]
    fn copies_for_a_detour_are_no_news() {
        let mut all = bystanders();
        let ours = Route { protocol: PROTOCOL, ..host_route(&[2]) };
        check(&mut all, &Change::Route(Route { table: 1_234_567, ..ours.clone() }), false);
        // What a trace around this one gave the host.
        check(&mut all, &Change::Route(ours), true);
    }

    #[test]
    fn the_device_that_was_asked_for_is_no_bystander() {
        let mut all = Bystanders::new(number(10), Some(number(11)));
        all.learn(&[link(10, "nst0"), link(11, "nst1")], std::iter::empty());
        check(&mut all, &Change::Link(link(11, "nst1")), true);
        check(&mut all, &route(&[11]), true);
        check(&mut all, &Change::Flags(Some(number(11))), true);
    }
}
