//! What this crate asks of `nf_tables` and connection tracking, seen by nft(8), conntrack(8) and ping(8).
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    env,
    process::{Command, Stdio},
};

use nsntrace_nat::{
    Begun, HandedOver, Nat, NatError, Owner, Ports, Spec, conntrack, lead_to_proxy, remove_stale,
};
use nsntrace_testkit::{Netns, eventually, isolated, isolated_by, sh};
use rustix::io::Errno;

/// The number of `nst0`.
const NST0: u32 = 7;

const OWNER: Owner = Owner { pid: 1234, start_time: 567_890 };

/// Masquerades one address of each family, guards nobody.
fn spec() -> Spec<'static> {
    Spec {
        owner: OWNER,
        device: NST0,
        device_prefix: "nst",
        ipv4: Some("10.203.0.1".parse().unwrap()),
        ipv6: Some("2001:db8:5e::1".parse().unwrap()),
        only_via: None,
        guarded: &[],
    }
}

/// A chain of the table as nft(8) prints it, without its frame.
#[track_caller]
fn rules(table: &str, chain: &str) -> Vec<String> {
    let text = sh(&format!("nft list chain inet {table} {chain}"));
    text.lines().filter(|line| line.starts_with("\t\t")).map(|line| line.trim().to_owned()).collect()
}

fn tables() -> String {
    sh("nft list tables")
}

#[test]
fn the_rules_are_those_of_the_module_header() {
    isolated(|| {
        let nat = Nat::install(&Spec { guarded: &["up0", "wlan0"], ..spec() }).unwrap();
        assert!(nat.is_owned());
        assert_eq!(nat.table(), "nsntrace-1234");
        assert_eq!(
            rules("nsntrace-1234", "postrouting"),
            [
                "type nat hook postrouting priority srcnat; policy accept;",
                "ip saddr 10.203.0.1 masquerade",
                "ip6 saddr 2001:db8:5e::1 masquerade",
            ]
        );
        assert_eq!(
            rules("nsntrace-1234", "forward"),
            [
                "type filter hook forward priority filter; policy accept;",
                "iif 7 accept",
                "oif 7 ct state established,related accept",
                "oif 7 drop",
            ]
        );
        assert_eq!(
            rules("nsntrace-1234", "guard"),
            [
                "type filter hook forward priority filter; policy accept;",
                "iifname \"up0\" oifname != \"nst*\" drop",
                "iifname \"wlan0\" oifname != \"nst*\" drop",
            ]
        );
        let chains = sh(
            "nft -j list table inet nsntrace-1234 | jq -c '[.nftables[].chain|values|[.name,.hook,.prio]]'",
        );
        assert_eq!(
            chains,
            r#"[["postrouting","postrouting",100],["forward","forward",0],["guard","forward",0]]"#
        );
        let listing = sh("nft list table inet nsntrace-1234");
        assert!(listing.contains("comment \"nsntrace pid 1234 start 567890\""), "{listing}");
        assert!(listing.contains("flags owner"), "{listing}");
    });
}

#[test]
fn one_way_out_and_one_family() {
    isolated(|| {
        let _nat = Nat::install(&Spec { only_via: Some("wg0"), ipv6: None, ..spec() }).unwrap();
        let postrouting = rules("nsntrace-1234", "postrouting");
        assert_eq!(postrouting[1..], ["ip saddr 10.203.0.1 oifname \"wg0\" masquerade"]);
        let forward = rules("nsntrace-1234", "forward");
        assert_eq!(forward[1..3], ["iif 7 oifname != \"wg0\" drop", "iif 7 accept"]);
    });
}

#[test]
fn nobody_else_touches_an_owned_table() {
    isolated(|| {
        let nat = Nat::install(&spec()).unwrap();
        sh("nft flush ruleset");
        assert_eq!(tables(), "table inet nsntrace-1234");
        let refusal = sh("nft delete table inet nsntrace-1234 2>&1 || true");
        assert!(refusal.contains("Operation not permitted"), "{refusal}");
        assert_eq!(remove_stale(|_, _| false).unwrap(), 0);
        drop(nat);
        assert_eq!(tables(), "");
        // The other way of ending it, which can tell how that went.
        Nat::install(&spec()).unwrap().remove().unwrap();
        assert_eq!(tables(), "");
    });
}

/// Run again by itself with [`VICTIM`] set, this test is the process that is to be killed.
#[test]
fn a_killed_owner_leaves_nothing() {
    isolated(|| {
        if env::var_os(VICTIM).is_some() {
            let _nat = Nat::install(&spec()).unwrap();
            std::io::Read::read(&mut std::io::stdin(), &mut [0]).unwrap();
            return;
        }
        let mut victim = Command::new(env::current_exe().unwrap())
            .args(["--exact", "a_killed_owner_leaves_nothing"])
            .env(VICTIM, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        eventually(|| tables() == "table inet nsntrace-1234");
        victim.kill().unwrap();
        victim.wait().unwrap();
        // The kernel closes the socket while the process is being reaped, or a little later.
        eventually(|| tables().is_empty());
    });
}

const VICTIM: &str = "NSNTRACE_TEST_VICTIM";

#[test]
fn a_taken_name_gets_a_suffix() {
    isolated(|| {
        let first = Nat::install(&spec()).unwrap();
        sh("nft add table inet nsntrace-1234-2");
        let third = Nat::install(&spec()).unwrap();
        assert_eq!((first.table(), third.table()), ("nsntrace-1234", "nsntrace-1234-3"));
        drop(first);
        assert_eq!(tables(), "table inet nsntrace-1234-2\ntable inet nsntrace-1234-3");
    });
}

#[test]
fn guards_are_replaced() {
    isolated(|| {
        let mut nat = Nat::install(&Spec { guarded: &["up0"], ..spec() }).unwrap();
        nat.set_guarded(&["up1", "up2"]).unwrap();
        let guards = rules(nat.table(), "guard");
        let expected =
            ["iifname \"up1\" oifname != \"nst*\" drop", "iifname \"up2\" oifname != \"nst*\" drop"];
        assert_eq!(guards[1..], expected);
        nat.set_guarded::<&str>(&[]).unwrap();
        assert_eq!(rules(nat.table(), "guard").len(), 1);
        assert_eq!(rules(nat.table(), "forward").len(), 4);
        let error = nat.set_guarded(&["a-name-of-16-byte"]).unwrap_err();
        assert!(matches!(error, NatError::DeviceName { .. }), "{error:?}");
    });
}

#[test]
fn a_plain_table_is_removed_by_hand() {
    isolated(|| {
        let mut nat = Nat::install_plain(&spec()).unwrap();
        assert!(!nat.is_owned());
        let listing = sh("nft list table inet nsntrace-1234");
        assert!(!listing.contains("flags"), "{listing}");
        assert_eq!(rules("nsntrace-1234", "forward").len(), 4);
        nat.set_guarded(&["up0"]).unwrap();
        drop(nat);
        assert_eq!(tables(), "");
        let nat = Nat::install_plain(&spec()).unwrap();
        nat.remove().unwrap();
        assert_eq!(tables(), "");
        let mut nat = Nat::install_plain(&spec()).unwrap();
        sh("nft delete table inet nsntrace-1234");
        assert_eq!(nat.set_guarded(&["up0"]).unwrap_err().errno(), Some(Errno::NOENT));
        assert_eq!(nat.remove().unwrap_err().errno(), Some(Errno::NOENT));
    });
}

#[test]
fn leftovers_of_dead_processes_go() {
    isolated(|| {
        let owner = |pid| Owner { pid, ..OWNER };
        // What SIGKILL leaves: the table without the value whose Drop would remove it.
        for pid in [11, 11, 12] {
            std::mem::forget(Nat::install_plain(&Spec { owner: owner(pid), ..spec() }).unwrap());
        }
        let _owned = Nat::install(&Spec { owner: owner(13), ..spec() }).unwrap();
        sh("nft add table inet nsntrace-14; nft add table inet nsntrace-x; nft add table inet mine
            nft add table ip nsntrace-11");
        let mut asked = Vec::new();
        let is_alive = |pid, start_time| {
            asked.push((pid, start_time));
            pid == 12
        };
        assert_eq!(remove_stale(is_alive).unwrap(), 3);
        asked.sort_unstable();
        assert_eq!(asked, [(11, Some(567_890)), (11, Some(567_890)), (12, Some(567_890)), (14, None)]);
        let mut left: Vec<String> = tables().lines().map(str::to_owned).collect();
        left.sort_unstable();
        let expected =
            ["ip nsntrace-11", "inet mine", "inet nsntrace-12", "inet nsntrace-13", "inet nsntrace-x"];
        let mut expected = expected.map(|table| format!("table {table}"));
        expected.sort_unstable();
        assert_eq!(left, expected);
    });
}

#[test]
fn without_the_capability_the_kernel_says_no() {
    let wrapper = ["unshare", "--net", "--", "setpriv", "--bounding-set", "-net_admin", "--"];
    isolated_by(&wrapper, || {
        let error = Nat::install(&spec()).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::PERM));
        assert_eq!(error.to_string(), "cannot use nf_tables");
        let error = conntrack::forget("10.203.0.1".parse().unwrap()).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::PERM));
    });
}

#[test]
fn the_way_to_a_proxy_is_that_of_the_module_header() {
    isolated(|| {
        lead_to_proxy("nst0", Ports { tcp: 4001, udp: 4002 }).unwrap();
        assert_eq!(
            rules("nsntrace", "prerouting"),
            [
                "type filter hook prerouting priority mangle; policy drop;",
                "iifname \"nst0\" tcp flags syn / fin,syn,rst,ack drop",
                "iifname \"nst0\" meta l4proto tcp accept",
                "iifname \"nst0\" meta l4proto udp tproxy to :4002 accept",
                "iifname \"lo\" tcp flags syn / fin,syn,rst,ack tproxy to :4001 accept",
            ]
        );
        let error = lead_to_proxy("nst0", Ports { tcp: 1, udp: 2 }).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::EXIST));
    });
}

/// The traced program's namespace, the internet, and somebody else's network, all around this one:
/// `nst0` - t, `up0` - s, `lan0` - l. Nothing is forwarded but what comes in by these devices.
struct World {
    t: Netns,
    s: Netns,
    l: Netns,
}

fn world() -> World {
    let world = World { t: Netns::new(), s: Netns::new(), l: Netns::new() };
    let ends =
        [(&world.t, "nst0", "10.203.0"), (&world.s, "up0", "203.0.113"), (&world.l, "lan0", "192.0.2")];
    for (((netns, device, net), v6), number) in ends.into_iter().zip(["5e", "1", "2"]).zip(NST0..) {
        sh(&format!(
            "ip link add {device} index {number} type veth peer name eth0 netns {path}
             echo 0 > /proc/sys/net/ipv6/conf/{device}/accept_dad
             ip link set {device} up; ip address add {net}.254/24 dev {device}
             ip address add 2001:db8:{v6}::fe/64 dev {device} nodad
             echo 1 > /proc/sys/net/ipv4/conf/{device}/forwarding",
            path = netns.path().display(),
        ));
        netns.sh(&format!(
            "ip link set lo up; echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad
             ip link set eth0 up; ip address add {net}.1/24 dev eth0
             ip address add 2001:db8:{v6}::1/64 dev eth0 nodad"
        ));
    }
    sh("echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
    // Only s does without a way back to t: there it must be masqueraded.
    let ways = [(&world.t, "10.203.0.254", "2001:db8:5e::fe"), (&world.l, "192.0.2.254", "2001:db8:2::fe")];
    for (netns, ipv4, ipv6) in ways {
        netns.sh(&format!("ip route add default via {ipv4}; ip route add default via {ipv6}"));
    }
    let s = "ip route add 192.0.2.0/24 via 203.0.113.254; ip route add 2001:db8:2::/64 via 2001:db8:1::fe";
    world.s.sh(s);
    world
}

/// Whether a ping is answered. The first may be lost while IPv6 makes its link-local address.
fn reaches(netns: &Netns, target: &str) -> bool {
    netns.sh(&format!("ping -c2 -i0.3 -W1 {target} >/dev/null && echo yes || echo no")) == "yes"
}

#[test]
fn packets_go_where_they_should_and_nowhere_else() {
    isolated(|| {
        let World { t, s, l } = world();
        assert!(!reaches(&t, "203.0.113.1"), "s knows no way back without masquerading");
        assert!(reaches(&s, "192.0.2.1") && reaches(&s, "2001:db8:2::1"), "the host routes for everybody");
        let mut nat = Nat::install(&Spec { guarded: &["up0"], ..spec() }).unwrap();
        assert!(reaches(&t, "203.0.113.1") && reaches(&t, "2001:db8:1::1"));
        // Guarded: s cannot use the host as a router, l still can.
        assert!(!reaches(&s, "192.0.2.1") && !reaches(&s, "2001:db8:2::1"));
        // Nobody talks to the traced program first.
        s.sh("ip route add 10.203.0.0/24 via 203.0.113.254");
        assert!(!reaches(&s, "10.203.0.1") && !reaches(&l, "10.203.0.1"));
        // Another run has its own table, and the guards of both let the devices of both through.
        let other =
            Nat::install(&Spec { device: 100, guarded: &["up0"], ipv4: None, ipv6: None, ..spec() }).unwrap();
        assert!(reaches(&t, "203.0.113.1") && reaches(&t, "2001:db8:1::1"));
        drop(other);
        nat.set_guarded::<&str>(&[]).unwrap();
        assert!(reaches(&s, "192.0.2.1"));
        drop(nat);
        assert!(reaches(&s, "10.203.0.1"), "the way was barred by the table alone");
    });
}

#[test]
fn one_way_out_is_the_only_one() {
    isolated(|| {
        let World { t, s: _s, l: _l } = world();
        let _nat = Nat::install(&Spec { only_via: Some("up0"), ..spec() }).unwrap();
        assert!(reaches(&t, "203.0.113.1") && reaches(&t, "2001:db8:1::1"));
        assert!(!reaches(&t, "192.0.2.1") && !reaches(&t, "2001:db8:2::1"));
    });
}

#[test]
fn connections_of_one_address_are_forgotten() {
    isolated(|| {
        let World { t, l, s: _s } = world();
        let _nat = Nat::install(&spec()).unwrap();
        assert!(["203.0.113.1", "192.0.2.1", "2001:db8:1::1"].iter().all(|target| reaches(&t, target)));
        // Without an answer, and remembered all the same.
        assert!(!reaches(&l, "203.0.113.99"));
        let listed = |arguments: &str| sh(&format!("conntrack -L {arguments} 2>/dev/null | wc -l"));
        assert_eq!(
            (listed("-s 10.203.0.1"), listed("-f ipv6 -s 2001:db8:5e::1")),
            ("2".to_owned(), "1".to_owned())
        );
        let others = listed("-s 192.0.2.1");
        assert_eq!(others, "1");
        assert_eq!(conntrack::forget("10.203.0.1".parse().unwrap()).unwrap(), 2);
        assert_eq!(conntrack::forget("2001:db8:5e::1".parse().unwrap()).unwrap(), 1);
        assert_eq!(
            (listed("-s 10.203.0.1"), listed("-f ipv6 -s 2001:db8:5e::1")),
            ("0".to_owned(), "0".to_owned())
        );
        assert_eq!(listed("-s 192.0.2.1"), others);
        assert_eq!(conntrack::forget("10.203.0.1".parse().unwrap()).unwrap(), 0);
    });
}

/// How many packets of a connection of each family get through.
fn probe(nat: &mut Nat, t: &Netns) -> [u64; 2] {
    nat.begin_probe(&["10.203.0.1".parse().unwrap(), "2001:db8:5e::1".parse().unwrap()]).unwrap();
    let connect = "python3 -c 'import socket, sys
s = socket.socket(int(sys.argv[1])); s.settimeout(0.1)
try: s.connect((sys.argv[2], 443))
except OSError: pass' ";
    t.sh(&format!("{connect} 2 203.0.113.1; {connect} 10 2001:db8:1::1"));
    let passed = nat.probed().unwrap();
    nat.end_probe(false).unwrap();
    passed.try_into().unwrap()
}

#[test]
fn a_probe_tells_whether_somebody_drops() {
    isolated(|| {
        let World { t, s, l: _l } = world();
        let mut nat = Nat::install(&spec()).unwrap();
        let before = sh("nft list ruleset");
        // Reset by nobody: s has not heard of it.
        s.sh("nft 'add table inet t; add chain inet t c { type filter hook input priority 0; }
              add rule inet t c tcp dport 443 counter'");
        assert_eq!(probe(&mut nat, &t), [1, 1]);
        assert!(s.sh("nft list chain inet t c").contains("packets 0"));
        sh("nft 'add table ip f; add chain ip f c { type filter hook forward priority 0; policy drop; }'");
        assert_eq!(probe(&mut nat, &t), [0, 1]);
        sh("nft 'delete table ip f; add table inet f; add chain inet f c { type filter hook forward priority 10; }
            add rule inet f c reject with icmpx admin-prohibited'");
        assert_eq!(probe(&mut nat, &t), [0, 0]);
        sh("nft delete table inet f");
        assert_eq!(probe(&mut nat, &t), [1, 1]);
        assert_eq!(sh("nft list ruleset"), before, "nothing of it is left");
    });
}

#[test]
fn what_is_watched_is_what_the_device_begins() {
    isolated(|| {
        let World { t, s, l } = world();
        let mut nat = Nat::install(&spec()).unwrap();
        nat.begin_probe(&["10.203.0.1".parse().unwrap()]).unwrap();
        nat.end_probe(true).unwrap();
        for (chain, priority) in [("entered", "raw"), ("left", "2147483647")] {
            assert_eq!(
                rules(nat.table(), chain),
                [
                    &format!("type filter hook forward priority {priority}; policy accept;"),
                    "ct state new iif \"nst0\" oifname != \"nst*\" counter packets 0 bytes 0",
                ]
            );
        }
        // Of answers, and of others, nothing is counted.
        assert!(reaches(&t, "203.0.113.1") && reaches(&t, "2001:db8:1::1") && reaches(&l, "203.0.113.1"));
        assert!(reaches(&s, "192.0.2.1"));
        assert_eq!(nat.begun().unwrap(), Begun { entered: 2, left: 2 });
        sh("nft 'add table ip f; add chain ip f c { type filter hook forward priority 200; policy drop; }'");
        assert!(!reaches(&t, "203.0.113.1") && reaches(&t, "2001:db8:1::1"));
        let Begun { entered, left } = nat.begun().unwrap();
        assert_eq!((left, entered > left), (3, true));
    });
}

#[test]
fn what_our_own_rules_drop_is_not_watched() {
    isolated(|| {
        let World { t, s: _s, l: _l } = world();
        let mut nat = Nat::install(&Spec { only_via: Some("lan0"), ..spec() }).unwrap();
        nat.begin_probe(&["10.203.0.1".parse().unwrap()]).unwrap();
        nat.end_probe(true).unwrap();
        assert!(!reaches(&t, "203.0.113.1"));
        assert_eq!(nat.begun().unwrap(), Begun::default());
        assert!(reaches(&t, "192.0.2.1"));
        assert_eq!(nat.begun().unwrap(), Begun { entered: 1, left: 1 });
    });
}

/// Without `queue` in the kernel the rule is another, which nft(8) prints alike.
#[test]
fn what_is_handed_over_is_that_of_the_module_header() {
    isolated(|| {
        let mut nat = Nat::install(&Spec { only_via: Some("up0"), ..spec() }).unwrap();
        let before = sh("nft list ruleset");
        let how = nat.hand_over(40_000).unwrap();
        assert_eq!(
            rules(nat.table(), "past"),
            [
                "type filter hook forward priority filter - 1; policy accept;",
                "iif 7 oifname != \"up0\" drop",
                "iif 7 oifname != \"nst*\" queue num 40000",
                "oif 7 ct state established,related queue num 40000",
            ]
        );
        let bytecode = sh("nft --debug=netlink list ruleset 2>&1");
        let expression = match how {
            HandedOver::Natively => "[ queue num 40000 ]",
            HandedOver::ByXtables => "[ target name NFQUEUE rev 3 ]",
        };
        assert_eq!(bytecode.matches(expression).count(), 2, "{bytecode}");
        assert_eq!(nat.hand_over(40_001).unwrap_err().errno(), Some(Errno::EXIST));
        nat.keep().unwrap();
        assert_eq!(sh("nft list ruleset"), before, "nothing of it is left");
        assert_eq!(nat.keep().unwrap_err().errno(), Some(Errno::NOENT));
    });
}

/// Nobody reads the queue: what is handed over is lost, and nothing else is.
#[test]
fn what_is_no_traffic_of_the_device_is_not_handed_over() {
    isolated(|| {
        let World { t, s, l } = world();
        let mut nat = Nat::install(&spec()).unwrap();
        nat.hand_over(40_000).unwrap();
        assert!(!reaches(&t, "203.0.113.1") && !reaches(&t, "2001:db8:1::1"));
        assert!(reaches(&s, "192.0.2.1") && reaches(&l, "203.0.113.1"));
        // To the device of another run, whose rules decide. The answer is handed over.
        sh("ip link set lan0 down; ip link set lan0 name nst1; ip link set nst1 up");
        l.sh("nft 'add table ip t; add chain ip t c { type filter hook input priority 0; }
              add rule ip t c icmp type echo-request counter'");
        assert!(!reaches(&t, "192.0.2.1"));
        assert!(l.sh("nft list chain ip t c").contains("packets 2"));
        nat.keep().unwrap();
        assert!(reaches(&t, "203.0.113.1"));
    });
}

/// The table of a run may outlive its device by a little, and the next run's device has the name by then.
#[test]
fn the_rules_are_of_a_device_and_not_of_its_name() {
    isolated(|| {
        let World { t: _t, s: _s, l } = world();
        let mut nat = Nat::install(&Spec { only_via: Some("elsewhere"), ..spec() }).unwrap();
        nat.hand_over(40_000).unwrap();
        sh("ip link delete nst0; ip link set lan0 down; ip link set lan0 name nst0; ip link set nst0 up");
        assert!(reaches(&l, "203.0.113.1"));
    });
}
