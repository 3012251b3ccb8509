//! What this crate changes, seen by iproute2; what iproute2 changes, seen by this crate.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{net::IpAddr, os::fd::AsFd};

use nsntrace_link::{
    Carrier, Change, IfAddress, IfIndex, IfName, IpFamily, Link, LinkError, Monitor, NextHop, PROTOCOL, Plan,
    Prefix, Route, RouteKind, RouteSocket, Rule, Veth, VethRequest, block, random_bits, table,
};
use nsntrace_testkit::{Netns, eventually, isolated, isolated_by, sh};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn address(text: &str) -> IfAddress {
    let (address, len) = text.split_once('/').unwrap();
    IfAddress::new(ip(address), len.parse().unwrap()).unwrap()
}

fn net(text: &str) -> Prefix {
    address(text).prefix()
}

fn name(text: &str) -> IfName {
    IfName::new(text).unwrap()
}

/// A veth by iproute2: `a0`, which is returned, and `b0`, both up, with 192.0.2.1/24 and 2001:db8:1::1/64.
fn dressed_veth(socket: &mut RouteSocket) -> IfIndex {
    sh("ip link add a0 type veth peer name b0; ip link set a0 up; ip link set b0 up
        ip address add 192.0.2.1/24 dev a0; ip address add 2001:db8:1::1/64 dev a0 nodad");
    socket.link_by_name(&name("a0")).unwrap().ifindex
}

fn create(socket: &mut RouteSocket, netns: &Netns, peer_name: &str) -> Result<Veth, LinkError> {
    socket.create_veth(&VethRequest {
        name: &name("nst%d"),
        peer_name: &name(peer_name),
        peer_netns: netns.as_fd(),
        mtu: 1400,
        addresses: &[address("10.9.8.0/31"), address("2001:db8:5e::/127")],
    })
}

#[test]
fn a_known_neighbour_is_permanent() {
    isolated(|| {
        let mut socket = RouteSocket::open().unwrap();
        let a0 = dressed_veth(&mut socket);
        let mac = socket.link_by_name(&name("b0")).unwrap().mac.unwrap();
        let mut plan = Plan::new();
        plan.add_neighbour(a0, ip("192.0.2.9"), mac).add_neighbour(a0, ip("2001:db8:1::9"), mac);
        socket.apply(&plan).unwrap();
        let mac = sh("ip -j link show b0 | jq -r '.[].address'");
        let seen = sh("ip -j neighbour show dev a0 | jq -c '.[]|[.dst,.lladdr,.state]' | sort");
        let entry = |address| format!("[\"{address}\",\"{mac}\",[\"PERMANENT\"]]");
        assert_eq!(seen, format!("{}\n{}", entry("192.0.2.9"), entry("2001:db8:1::9")));
    });
}

#[test]
fn a_veth_spans_two_namespaces() {
    isolated(|| {
        let mut socket = RouteSocket::open().unwrap();
        let traced = Netns::new();
        let veth = create(&mut socket, &traced, "eth0").unwrap();
        assert_eq!(veth.name.as_str(), "nst0");
        let seen = sh(
            "ip -j -d link show nst0 | jq -c '.[]|[.ifindex,.mtu,.inet6_addr_gen_mode,(.flags-[\"BROADCAST\",\"MULTICAST\"])]'",
        );
        assert_eq!(seen, format!("[{},1400,\"none\",[\"NOARP\"]]", veth.ifindex));
        let seen = sh("ip -j address show nst0 | jq -r '.[].addr_info[]|\"\\(.local)/\\(.prefixlen)\"'");
        assert_eq!(seen, "10.9.8.0/31\n2001:db8:5e::/127");
        let seen = traced.sh("ip -j link show eth0 | jq -c \".[]|[.ifindex,.mtu,.operstate]\"");
        assert_eq!(seen, format!("[{},1400,\"DOWN\"]", veth.peer_ifindex));
        assert_eq!(veth.peer_ifindex.get(), 2);
        // The second end is configured from inside, in one send.
        let mut inside = traced.inside(|| RouteSocket::open().unwrap());
        inside.stop_address_generation(veth.peer_ifindex).unwrap();
        let mut plan = Plan::new();
        plan.set_up(IfIndex::LOOPBACK).stop_arp(veth.peer_ifindex).set_up(veth.peer_ifindex);
        plan.add_address(veth.peer_ifindex, address("10.9.8.1/31"));
        plan.add_address(veth.peer_ifindex, address("2001:db8:5e::1/127"));
        plan.add_route(&Route::default_by(ip("10.9.8.0"), veth.peer_ifindex));
        plan.add_route(&Route::default_by(ip("2001:db8:5e::"), veth.peer_ifindex));
        inside.apply(&plan).unwrap();
        let ends = [socket.link(veth.ifindex), inside.link(veth.peer_ifindex)];
        let [near, far] = ends.map(|link| link.unwrap().mac.unwrap());
        let mut plan = Plan::new();
        plan.set_up(veth.ifindex).add_neighbour(veth.ifindex, ip("10.9.8.1"), far);
        plan.add_neighbour(veth.ifindex, ip("2001:db8:5e::1"), far);
        socket.apply(&plan).unwrap();
        let mut plan = Plan::new();
        plan.add_neighbour(veth.peer_ifindex, ip("10.9.8.0"), near);
        plan.add_neighbour(veth.peer_ifindex, ip("2001:db8:5e::"), near);
        inside.apply(&plan).unwrap();
        assert_eq!(traced.sh("ip -j route show default | jq -r .[].gateway"), "10.9.8.0");
        assert_eq!(traced.sh("ip -j -6 route show default | jq -r .[].gateway"), "2001:db8:5e::");
        assert_eq!(
            traced.sh("ip -j address show eth0 | jq -r \".[].addr_info[].local\""),
            "10.9.8.1\n2001:db8:5e::1"
        );
        traced.sh("ping -c1 -W2 10.9.8.0; ping -c1 -W2 2001:db8:5e::");
        eventually(|| socket.link(veth.ifindex).unwrap().carrier == Carrier::Active);
        eventually(|| inside.link(veth.peer_ifindex).unwrap().carrier == Carrier::Active);
        // No end has a link-local address, also after both have a carrier.
        assert_eq!(sh("ip -6 address show nst0 scope link"), "");
        assert_eq!(traced.sh("ip -6 address show eth0 scope link"), "");
        // The namespace takes the pair along.
        drop(inside);
        drop(traced);
        eventually(|| socket.link(veth.ifindex).is_err());
    });
}

#[test]
fn names_and_numbers_never_collide() {
    isolated(|| {
        let mut socket = RouteSocket::open().unwrap();
        let traced = Netns::new();
        let first = create(&mut socket, &traced, "eth0").unwrap();
        // Number 2 is taken in there now, as by a tunnel device of a module.
        let plain = VethRequest {
            name: &name("nst%d"),
            peer_name: &name("eth1"),
            peer_netns: traced.as_fd(),
            mtu: 1500,
            addresses: &[],
        };
        let second = socket.create_veth(&plain).unwrap();
        assert_eq!((first.name.as_str(), second.name.as_str()), ("nst0", "nst1"));
        assert!(first.ifindex != second.ifindex && second.peer_ifindex.get() > 2);
        let seen = traced.sh("ip -j link show eth1 | jq .[].ifindex");
        assert_eq!(seen, second.peer_ifindex.to_string());
        // The lowest name that is free.
        socket.delete_link(first.ifindex).unwrap();
        assert_eq!(create(&mut socket, &traced, "eth0").unwrap().name.as_str(), "nst0");
    });
}

#[test]
fn a_veth_that_fails_leaves_nothing() {
    isolated(|| {
        let mut socket = RouteSocket::open().unwrap();
        let traced = Netns::new();
        let taken = create(&mut socket, &traced, "lo").unwrap_err();
        assert_eq!(taken.errno(), Some(Errno::EXIST));
        assert_eq!(taken.to_string(), "cannot create a veth pair");
        let twice = [address("10.9.8.0/31"), address("10.9.8.0/31")];
        let request = VethRequest {
            name: &name("nst%d"),
            peer_name: &name("eth0"),
            peer_netns: traced.as_fd(),
            mtu: 1500,
            addresses: &twice,
        };
        let again = socket.create_veth(&request).unwrap_err();
        assert_eq!(again.errno(), Some(Errno::EXIST));
        let Err(LinkError::Refused { step, .. }) = Err::<(), _>(again) else { panic!("it was refused") };
        assert!(step.to_string().starts_with("add address 10.9.8.0/31 to the device with ifindex "));
        assert_eq!(sh("ip -j link | jq -r .[].ifname"), "lo");
        assert_eq!(traced.sh("ip -j link | jq -r .[].ifname"), "lo");
    });
}

#[test]
fn without_the_capability_the_kernel_says_no() {
    let wrapper = ["unshare", "--net", "--", "setpriv", "--bounding-set", "-net_admin", "--"];
    isolated_by(&wrapper, || {
        let mut socket = RouteSocket::open().unwrap();
        let error = socket.set_up(IfIndex::LOOPBACK).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::PERM));
        assert_eq!(socket.links().unwrap().len(), 1);
    });
}

#[test]
fn links_go_up_and_down_and_away() {
    isolated(|| {
        let mut socket = RouteSocket::open().unwrap();
        let a0 = dressed_veth(&mut socket);
        let link = socket.link(a0).unwrap();
        assert_eq!((link.name.as_str(), link.kind.as_deref(), link.mtu), ("a0", Some("veth"), 1500));
        assert!(link.is_up && link.carrier != Carrier::Down && !link.is_loopback);
        socket.set_down(a0).unwrap();
        assert_eq!(sh("cat /proc/net/route | grep -c a0 || true"), "0");
        assert!(!socket.link(a0).unwrap().is_up);
        let lo = socket.link(IfIndex::LOOPBACK).unwrap();
        assert!(lo.is_loopback && lo.kind.is_none());
        socket.delete_link(a0).unwrap();
        socket.delete_link(a0).unwrap();
        assert_eq!(sh("ip -j link | jq -r .[].ifname"), "lo");
        assert_eq!(socket.link(a0).unwrap_err().errno(), Some(Errno::NODEV));
        let missing = socket.link_by_name(&name("a0")).unwrap_err();
        assert_eq!(missing.to_string(), "there is no network device a0");
    });
}

#[test]
fn addresses_are_listed_with_their_peers() {
    isolated(|| {
        let mut socket = RouteSocket::open().unwrap();
        let a0 = dressed_veth(&mut socket);
        sh("ip address add 10.0.0.1 peer 10.0.0.9/32 dev b0; ip address add fe80::1/64 dev b0 nodad");
        socket.add_address(a0, address("10.7.7.7/24")).unwrap();
        let listed = socket.addresses().unwrap();
        let find = |text: &str| listed.iter().find(|assigned| assigned.address == address(text)).copied();
        let own = find("10.7.7.7/24").unwrap();
        assert_eq!((own.ifindex, own.peer, own.is_global), (a0, None, true));
        assert_eq!(find("10.0.0.1/32").unwrap().peer, Some(ip("10.0.0.9")));
        assert!(!find("fe80::1/64").unwrap().is_global);
        assert!(find("2001:db8:1::1/64").unwrap().is_global);
        let again = socket.add_address(a0, address("10.7.7.7/24")).unwrap_err();
        assert_eq!(again.errno(), Some(Errno::EXIST));
    });
}

#[test]
fn routes_of_all_tables_are_listed() {
    isolated(|| {
        let mut socket = RouteSocket::open().unwrap();
        let a0 = dressed_veth(&mut socket);
        sh("ip address add 198.51.100.1/24 dev b0
            ip route add 10.1.0.0/16 via 192.0.2.9 table 1000 metric 77 proto static
            ip route add 10.2.0.0/16 nexthop via 192.0.2.9 dev a0 nexthop via 198.51.100.9 dev b0
            ip route add 10.3.0.0/16 via inet6 2001:db8:1::9 dev a0
            ip route add unreachable 10.4.0.0/16
            ip route add blackhole 10.5.0.0/16
            ip -6 route add 2001:db8:2::/48 via 2001:db8:1::9 table 1001
            ip -6 route add 2001:db8:3::/48 nexthop via 2001:db8:1::9 dev a0 nexthop via 2001:db8:1::8 dev a0");
        let b0 = socket.link_by_name(&name("b0")).unwrap().ifindex;
        let routes = socket.routes().unwrap();
        let find = |text: &str| routes.iter().find(|route| route.destination == net(text)).unwrap();
        let hop = |oif, gateway| NextHop { oif, gateway: Some(ip(gateway)) };
        let far = find("10.1.0.0/16");
        assert_eq!((far.table, far.metric, far.protocol, far.kind), (1000, 77, 4, RouteKind::Unicast));
        assert_eq!(far.next_hops, [hop(a0, "192.0.2.9")]);
        assert_eq!(find("10.2.0.0/16").next_hops, [hop(a0, "192.0.2.9"), hop(b0, "198.51.100.9")]);
        assert_eq!(find("10.3.0.0/16").next_hops, [hop(a0, "2001:db8:1::9")]);
        assert_eq!(find("10.4.0.0/16").kind, RouteKind::Refused);
        assert_eq!(find("10.5.0.0/16").kind, RouteKind::Refused);
        assert_eq!(find("192.0.2.1/32").table, table::LOCAL);
        assert_eq!(find("192.0.2.1/32").kind, RouteKind::Local);
        assert_eq!(find("2001:db8:2::/48").table, 1001);
        let shared = find("2001:db8:3::/48");
        assert_eq!((shared.next_hops.len(), shared.metric), (2, 1024));
        let count =
            |family: &str| sh(&format!("ip -j {family} route show table all | jq length")).parse().unwrap();
        let (v4, v6): (usize, usize) = (count("-4"), count("-6"));
        assert_eq!(routes.len(), v4 + v6);
        let occupied = socket.occupied().unwrap();
        for text in ["10.1.0.0/16", "10.4.0.0/16", "192.0.2.0/24", "2001:db8:2::/48"] {
            assert!(occupied.contains(&net(text)), "{text}");
        }
        let pair = block::choose_ipv4(&occupied, random_bits().unwrap()).unwrap();
        assert!(
            !occupied
                .iter()
                .any(|taken| taken.contains(pair.host.into()) || taken.contains(pair.traced.into()))
        );
    });
}

#[test]
fn our_routes_are_what_iproute2_reads() {
    isolated(|| {
        let mut socket = RouteSocket::open().unwrap();
        let a0 = dressed_veth(&mut socket);
        let hop = |gateway: Option<&str>| NextHop { oif: a0, gateway: gateway.map(ip) };
        let plain = Route { metric: 5, ..Route::new(net("10.1.0.0/16"), 700, hop(Some("192.0.2.9"))) };
        let direct = Route::new(net("10.2.0.0/16"), table::MAIN, hop(None));
        let via6 = Route::new(net("10.3.0.0/16"), table::MAIN, hop(Some("2001:db8:1::9")));
        let mut shared = Route::new(net("10.4.0.0/16"), table::MAIN, hop(Some("192.0.2.9")));
        shared.next_hops.push(hop(Some("192.0.2.8")));
        let v6 = Route::new(net("2001:db8:7::/64"), 701, hop(Some("2001:db8:1::9")));
        let refused = Route { kind: RouteKind::Refused, next_hops: vec![], scope: 0, ..direct.clone() };
        let refused = Route { destination: net("10.5.0.0/16"), ..refused };
        let all = [&plain, &direct, &via6, &shared, &v6, &refused];
        for route in all {
            socket.add_route(route).unwrap();
        }
        let show = |arguments: &str| sh(&format!("ip {arguments} | sed 's/ *$//'"));
        assert_eq!(show("route show table 700"), "10.1.0.0/16 via 192.0.2.9 dev a0 proto 110 metric 5");
        assert_eq!(show("route show 10.2.0.0/16"), "10.2.0.0/16 dev a0 proto 110 scope link");
        assert_eq!(show("route show 10.3.0.0/16"), "10.3.0.0/16 via inet6 2001:db8:1::9 dev a0 proto 110");
        assert_eq!(
            sh("ip -j route show 10.4.0.0/16 | jq -c '[.[].nexthops[].gateway]'"),
            r#"["192.0.2.9","192.0.2.8"]"#
        );
        assert_eq!(
            show("-6 route show table 701"),
            "2001:db8:7::/64 via 2001:db8:1::9 dev a0 proto 110 metric 1024 pref medium"
        );
        assert_eq!(show("route show 10.5.0.0/16"), "unreachable 10.5.0.0/16 proto 110");
        // What is listed can be deleted as it was listed.
        let listed = socket.routes().unwrap();
        let ours: Vec<_> = listed.iter().filter(|route| route.protocol == PROTOCOL).collect();
        assert_eq!(ours.len(), all.len());
        for route in ours {
            socket.delete_route(route).unwrap();
        }
        assert_eq!(sh("ip route show table all proto 110; ip -6 route show table all proto 110"), "");
        assert_eq!(socket.delete_route(&plain).unwrap_err().errno(), Some(Errno::SRCH));
    });
}

#[test]
fn the_uplink_is_the_best_default_route() {
    isolated(|| {
        let mut socket = RouteSocket::open().unwrap();
        let a0 = dressed_veth(&mut socket);
        assert_eq!(socket.default_uplink(IpFamily::V4).unwrap(), None);
        sh(
            "ip route add unreachable default metric 4294967295; ip -6 route add unreachable default metric 1",
        );
        assert_eq!(socket.default_uplink(IpFamily::V6).unwrap(), None);
        sh("ip address add 198.51.100.1/24 dev b0; ip route add default via 198.51.100.9 metric 700");
        sh(
            "ip route add default via 192.0.2.9 metric 600; ip -6 route add default via 2001:db8:1::9 table 9",
        );
        let uplink = socket.default_uplink(IpFamily::V4).unwrap().unwrap();
        assert_eq!((uplink.ifindex, uplink.gateway, uplink.metric), (a0, Some(ip("192.0.2.9")), 600));
        let uplink = socket.default_uplink(IpFamily::V6).unwrap().unwrap();
        assert_eq!((uplink.ifindex, uplink.gateway, uplink.table), (a0, Some(ip("2001:db8:1::9")), 9));
        // With b0 goes the carrier of a0, and the kernel gets round to marking its routes.
        sh("ip link set b0 down");
        eventually(|| socket.default_uplink(IpFamily::V4).unwrap().is_none());
    });
}

#[test]
fn rules_are_added_listed_and_deleted() {
    isolated(|| {
        let mut socket = RouteSocket::open().unwrap();
        let before = socket.rules().unwrap();
        assert_eq!(before.len(), 5, "three of IPv4 and two of IPv6");
        let rule = |family, iif: &str| Rule {
            family,
            priority: 1000,
            table: 7001,
            iif: Some(name(iif)),
            protocol: PROTOCOL,
        };
        let (v4, v6) = (rule(IpFamily::V4, "lo"), rule(IpFamily::V6, "nst9"));
        socket.add_rule(&v4).unwrap();
        socket.add_rule(&v6).unwrap();
        assert_eq!(socket.add_rule(&v4).unwrap_err().errno(), Some(Errno::EXIST));
        let seen = sh("ip -j -4 rule | jq -c '.[]|select(.priority==1000)|[.iif,.table,.protocol]'");
        assert_eq!(seen, r#"["lo","7001","110"]"#);
        let seen = sh("ip -j -6 rule | jq -c '.[]|select(.priority==1000)|[.iif,.table,.protocol]'");
        assert_eq!(seen, r#"["nst9","7001","110"]"#);
        let listed = socket.rules().unwrap();
        let is_gone = |rule: &Rule| listed.iter().find(|listed| listed.rule == *rule).unwrap().is_iif_gone;
        assert!(!is_gone(&v4) && is_gone(&v6));
        socket.delete_rule(&v4).unwrap();
        socket.delete_rule(&v6).unwrap();
        assert_eq!(socket.rules().unwrap(), before);
        assert_eq!(socket.delete_rule(&v4).unwrap_err().errno(), Some(Errno::NOENT));
    });
}

#[test]
fn leftovers_of_a_dead_run_go_and_nothing_else() {
    isolated(|| {
        let mut socket = RouteSocket::open().unwrap();
        dressed_veth(&mut socket);
        sh("ip rule add iif nst0 lookup 7001 priority 1000 protocol 110
            ip -6 rule add iif nst0 lookup 7001 priority 1000 protocol 110
            ip route add default via 192.0.2.9 table 7001 proto 110
            ip route add 10.1.0.0/16 via 192.0.2.9 table 7001 proto static
            ip -6 route add default via 2001:db8:1::9 table 7001 proto 110
            ip rule add iif nst1 lookup 7002 priority 1000 protocol 110
            ip rule add iif a0 lookup 7002 priority 1000 protocol 110
            ip route add default via 192.0.2.9 table 7002 proto 110
            ip rule add iif nst0 lookup 7003 priority 1000 protocol static
            ip route add 10.2.0.0/16 via 192.0.2.9 proto 110
            ip rule add iif nst2 lookup main priority 1001 protocol 110");
        assert_eq!(socket.remove_stale_rules().unwrap(), 4);
        assert_eq!(sh("ip route show table 7001"), "10.1.0.0/16 via 192.0.2.9 dev a0 proto static");
        assert_eq!(sh("ip -6 route show table 7001"), "");
        // A run that lives has the other table, and what is in the main table is not ours to judge.
        assert_eq!(sh("ip -j route show table 7002 | jq -r .[].gateway"), "192.0.2.9");
        assert_eq!(sh("ip -j route show 10.2.0.0/16 | jq -r .[].gateway"), "192.0.2.9");
        let left = sh("ip -j rule | jq -r '.[]|select(.priority==1000)|\"\\(.iif) \\(.table)\"'");
        assert_eq!(left, "a0 7002\nnst0 7003");
        assert_eq!(sh("ip -j -6 rule | jq -r '.[]|select(.priority==1000)|.iif'"), "");
        assert_eq!(socket.remove_stale_rules().unwrap(), 0);
    });
}

#[test]
fn forwarding_of_one_link_is_switched() {
    isolated(|| {
        let mut socket = RouteSocket::open().unwrap();
        let a0 = dressed_veth(&mut socket);
        let values = || {
            sh("cd /proc/sys/net/ipv4; cat conf/a0/forwarding conf/b0/forwarding ip_forward | tr -d '\\n'")
        };
        sh("echo 0 > /proc/sys/net/ipv4/ip_forward");
        assert!(!socket.ipv4_forwarding(a0).unwrap());
        socket.set_ipv4_forwarding(a0, true).unwrap();
        assert_eq!(values(), "100");
        assert!(socket.ipv4_forwarding(a0).unwrap());
        socket.set_ipv4_forwarding(a0, false).unwrap();
        assert_eq!(values(), "000");
        let nobody = IfIndex::new(4242).unwrap();
        assert_eq!(socket.set_ipv4_forwarding(nobody, true).unwrap_err().errno(), Some(Errno::NODEV));
        assert!(socket.ipv4_forwarding(nobody).unwrap_err().errno().is_some());
    });
}

fn is_readable(monitor: &Monitor) -> bool {
    let mut fds = [PollFd::new(monitor, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
}

fn changes(monitor: &mut Monitor) -> Vec<Change> {
    let mut changes = Vec::new();
    monitor.drain(|change| changes.push(change)).unwrap();
    changes
}

#[test]
fn a_monitor_tells_what_changed() {
    isolated(|| {
        // A veth changes by itself for a while, when its carrier comes; loopback does not.
        sh("ip link set lo up");
        let lo = IfIndex::LOOPBACK;
        let mut monitor = Monitor::open().unwrap();
        assert!(!is_readable(&monitor));
        assert_eq!(changes(&mut monitor), []);
        for action in ["add", "delete"] {
            sh(&format!("ip route {action} 10.1.0.0/16 dev lo; ip -6 route {action} 2001:db8:2::/48 dev lo"));
            assert!(is_readable(&monitor));
            let told = changes(&mut monitor);
            let destinations = told.iter().map(|change| match change {
                Change::Route(Route { destination, next_hops, .. }) if next_hops[0].oif == lo => {
                    destination.to_string()
                }
                other => panic!("{other:?}"),
            });
            assert_eq!(destinations.collect::<Vec<_>>(), ["10.1.0.0/16", "2001:db8:2::/48"], "{action}");
        }
        sh("echo 1 > /proc/sys/net/ipv4/conf/lo/forwarding");
        assert_eq!(changes(&mut monitor), [Change::Flags(Some(lo))]);
        sh("echo 0 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv4/ip_forward");
        assert!(changes(&mut monitor).contains(&Change::Flags(None)));
        sh("ip link set lo mtu 1400");
        let is_lo = |link: &Link| link.ifindex == lo && link.name.as_str() == "lo";
        let told = changes(&mut monitor);
        assert!(
            told.iter().any(|change| matches!(change, Change::Link(link) if is_lo(link) && link.mtu == 1400))
        );
    });
}

#[test]
fn a_monitor_tells_of_links_that_come_and_go() {
    isolated(|| {
        let mut monitor = Monitor::open().unwrap();
        sh("ip link add a0 index 77 type veth peer name b0; ip link delete a0");
        let told = changes(&mut monitor);
        let is_a0 = |link: &Link| link.ifindex.get() == 77 && link.name.as_str() == "a0";
        let came = told.iter().position(|change| matches!(change, Change::Link(link) if is_a0(link)));
        let went = told.iter().position(|change| matches!(change, Change::LinkGone(link) if is_a0(link)));
        assert!(came.is_some() && came < went, "{told:?}");
        let flags = told.iter().position(|change| *change == Change::Flags(IfIndex::new(77)));
        assert!(flags.is_some() && flags < came, "{told:?}");
        assert!(!told.contains(&Change::Anything), "every message is understood: {told:?}");
    });
}

#[test]
fn a_monitor_says_that_it_missed_something() {
    isolated(|| {
        let mut socket = RouteSocket::open().unwrap();
        sh("ip link set lo up");
        let mut monitor = Monitor::open().unwrap();
        // More than the socket's buffer holds.
        let mut plan = Plan::new();
        for index in 0..2000_u16 {
            let [high, low] = index.to_be_bytes();
            let destination = Prefix::host(IpAddr::from([10, 9, high, low]));
            let hop = NextHop { oif: IfIndex::LOOPBACK, gateway: None };
            plan.add_route(&Route::new(destination, 900, hop));
            if index % 100 == 99 {
                socket.apply(&std::mem::take(&mut plan)).unwrap();
            }
        }
        assert!(is_readable(&monitor));
        assert_eq!(changes(&mut monitor).last(), Some(&Change::Anything));
        assert_eq!(changes(&mut monitor), []);
        sh("ip route add 10.1.0.0/16 dev lo");
        assert!(matches!(changes(&mut monitor)[..], [Change::Route(_)]));
    });
}

#[test]
fn a_list_of_many_parts_is_whole() {
    isolated(|| {
        let mut socket = RouteSocket::open().unwrap();
        let a0 = dressed_veth(&mut socket);
        for high in 0..40 {
            let mut plan = Plan::new();
            for low in 0..100 {
                let destination = Prefix::host(IpAddr::from([10, 9, high, low]));
                plan.add_route(&Route::new(destination, 900, NextHop { oif: a0, gateway: None }));
            }
            socket.apply(&plan).unwrap();
        }
        let ours = socket.routes().unwrap().into_iter().filter(|route| route.table == 900);
        assert_eq!(ours.count(), 4000);
    });
}

#[test]
fn everywhere_else_is_here() {
    isolated(|| {
        let mut socket = RouteSocket::open().unwrap();
        dressed_veth(&mut socket);
        let mut plan = Plan::new();
        plan.set_up(IfIndex::LOOPBACK);
        for family in IpFamily::ALL {
            plan.add_route(&Route::everywhere_is_here(family));
        }
        socket.apply(&plan).unwrap();
        let kind = |address: &str| {
            let reply = sh(&format!("ip -j route get {address}"));
            (reply.contains(r#""type":"local""#), reply.contains(r#""dev":"a0""#))
        };
        for address in ["8.8.8.8", "2001:db8:ff::1", "10.0.0.1", "fd00::1"] {
            assert_eq!(kind(address), (true, false), "{address}");
        }
        for address in ["192.0.2.2", "2001:db8:1::2"] {
            assert_eq!(kind(address), (false, true), "{address} is on the link");
        }
        let shown = sh("ip route show table main type local");
        assert!(shown.starts_with("local default dev lo") && shown.contains("scope host"), "{shown}");
    });
}
