//! The list of checks. They are performed in this order, and later ones build upon what earlier ones have found and made: first a look at the
//! host, then namespaces of our own, then what is tried in them.

mod devices;
mod forwarding;
mod names;
mod namespaces;
mod packets;
mod privilege;
mod proxying;
mod routes;
mod rules;
mod sockets;

use super::bench::Bench;
use super::check::{Answer, Check, Group, Lost};

/// Everything that is looked at.
pub(super) static CHECKS: &[Check] = &[
    check("capabilities", "capabilities", Group::Privilege, Lost::Nat, privilege::capabilities),
    check("host-network", "host's network", Group::Privilege, Lost::Nat, privilege::host_network),
    check("user-namespace", "user namespace", Group::Privilege, Lost::Both, privilege::user_namespace),
    check("route-ipv4", "IPv4 default route", Group::Host, NARROW_IPV4, routes::ipv4),
    check("route-ipv6", "IPv6 default route", Group::Host, NO_IPV6, routes::ipv6),
    check("name-servers", "name servers", Group::Host, NO_NAMES, names::servers),
    check("ping-sockets", "ping sockets", Group::Host, NO_PINGS, sockets::ping),
    check("forwarding-ipv4", "IPv4 forwarding", Group::Host, Lost::Nat, forwarding::ipv4),
    check("forwarding-ipv6", "IPv6 forwarding", Group::Host, NO_IPV6_BY_NAT, forwarding::ipv6),
    check("run-directory", "/run", Group::Host, Lost::Nat, forwarding::run_directory),
    check("firewall", "firewall", Group::Host, Lost::Nat, forwarding::firewall),
    check("network-namespace", "network namespace", Group::Namespaces, Lost::Both, namespaces::network),
    check("mount-namespace", "mount namespace", Group::Namespaces, Lost::Both, namespaces::mounts),
    check("settings", "/proc/sys", Group::Namespaces, Lost::Both, namespaces::settings),
    check("veth", "veth pair", Group::Kernel, Lost::Both, devices::veth),
    check("address-ipv4", "IPv4 addresses", Group::Kernel, Lost::Both, devices::ipv4_address),
    check("address-ipv6", "IPv6 addresses", Group::Kernel, NO_IPV6, devices::ipv6_address),
    check("packet-socket", "packet socket", Group::Kernel, Lost::Both, packets::socket),
    check("packet-ring", "packet ring", Group::Kernel, Lost::Both, packets::ring),
    check("socket-list", "list of sockets", Group::Kernel, NO_LINGERING, sockets::list),
    check("nf-tables", "nf_tables", Group::Kernel, Lost::Both, rules::nf_tables),
    check("masquerading", "masquerading", Group::Kernel, Lost::Nat, rules::masquerading),
    check("packet-counters", "packet counters", Group::Kernel, Lost::Nat, rules::counters),
    check("packet-queue", "packet queue", Group::Kernel, NO_WAY_PAST, rules::queue),
    check("table-owner", "owned tables", Group::Kernel, TABLE_STAYS, rules::owner),
    check(
        "connection-tracking",
        "connection tracking",
        Group::Kernel,
        ENTRIES_STAY,
        rules::connection_tracking,
    ),
    check("tproxy", "TPROXY", Group::Kernel, Lost::Proxy, proxying::tproxy),
    check(
        "transparent-sockets",
        "transparent sockets",
        Group::Kernel,
        Lost::Proxy,
        proxying::transparent_sockets,
    ),
    check("local-routes", "local routes", Group::Kernel, Lost::Proxy, proxying::local_routes),
];

const fn check(
    name: &'static str,
    title: &'static str,
    group: Group,
    lost: Lost,
    attempt: fn(&mut Bench) -> Answer,
) -> Check {
    Check { name, title, group, lost, attempt }
}

const NARROW_IPV4: Lost = Lost::part("over IPv4 a program reaches the host's own networks alone");
const NO_IPV6: Lost = Lost::part("a program has no IPv6");
const NO_IPV6_BY_NAT: Lost = Lost::part("by NAT, a program has no IPv6");
const NO_NAMES: Lost = Lost::part("a program cannot resolve names");
const NO_PINGS: Lost = Lost::part("by proxy, a program cannot ping");
const NO_LINGERING: Lost = Lost::part("connections that still close when the program ends are cut off");
const NO_WAY_PAST: Lost = Lost::part("where a firewall drops what is forwarded, there is no trace by NAT");
const TABLE_STAYS: Lost = Lost::part("the table of a trace that is killed stays until the next trace");
const ENTRIES_STAY: Lost = Lost::part("tracked connections stay until they expire by themselves");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_check_has_a_name_of_its_own() {
        let names: BTreeSet<_> = CHECKS.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), CHECKS.len());
        let titles: BTreeSet<_> = CHECKS.iter().map(|check| check.title).collect();
        assert_eq!(titles.len(), CHECKS.len());
        assert!(
            names
                .iter()
                .all(|name| name.chars().all(|c| c == '-' || c.is_ascii_lowercase() || c.is_ascii_digit()))
        );
    }

    /// The report sorts by group, and what is tried first is what is read first.
    #[test]
    fn groups_come_one_after_the_other() {
        let groups: Vec<_> =
            CHECKS.iter().map(|check| Group::ALL.iter().position(|&group| group == check.group)).collect();
        assert!(groups.is_sorted(), "{groups:?}");
    }
}
