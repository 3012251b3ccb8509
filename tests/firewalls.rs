//! Hosts whose firewall drops what is to be forwarded: gone past, gone around, or respected; and firewalls that change meanwhile.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use nsntrace_testkit::{HOST4, HOST6, Lab, Plan, Process, Report, Residue, SECOND4, until};

/// What Docker sets up: the policy drops, what comes from its bridge passes. Of both families, as newer versions do.
const DOCKER: &str = "
    for tables in iptables-nft ip6tables-nft; do
        $tables -P FORWARD DROP
        for chain in DOCKER DOCKER-USER DOCKER-FORWARD DOCKER-ISOLATION-STAGE-1 DOCKER-ISOLATION-STAGE-2; do $tables -N $chain; done
        $tables -A DOCKER-USER -j RETURN
        $tables -A FORWARD -j DOCKER-USER
        $tables -A FORWARD -j DOCKER-FORWARD
        $tables -A DOCKER-FORWARD -j DOCKER-ISOLATION-STAGE-1
        $tables -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
        $tables -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
        $tables -A DOCKER-FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        $tables -A DOCKER-FORWARD -o docker0 -j DOCKER
        $tables -A DOCKER-FORWARD -i docker0 -j ACCEPT
        $tables -A DOCKER ! -i docker0 -o docker0 -j DROP
    done";

/// What firewalld sets up: a table of its own, behind everybody else's, that answers what no zone allows.
const FIREWALLD: &str = "
    table inet firewalld {
        FLAGS
        chain filter_FORWARD {
            type filter hook forward priority filter + 10; policy accept;
            ct state { established, related } accept
            ct status dnat accept
            iifname lo accept
            ct state invalid drop
            ip6 daddr { ::/96, ::ffff:0:0/96 } reject with icmpv6 addr-unreachable
            jump filter_FORWARD_ZONES
            reject with icmpx admin-prohibited
        }
        chain filter_FORWARD_ZONES { iifname up0 goto filter_FWD_public; }
        chain filter_FWD_public { oifname up1 accept; }
    }";

/// What ufw sets up as it is installed: replies and pings pass, new connections of others do not.
const UFW: &str = "
    set_up() {
        $1 -P FORWARD DROP
        for chain in before-logging before after after-logging reject track user; do
            $1 -N $2-$chain-forward
            test $chain = user || $1 -A FORWARD -j $2-$chain-forward
        done
        $1 -A $2-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        $1 -A $2-before-forward -p $3 -j ACCEPT
        $1 -A $2-before-forward -j $2-user-forward
    }
    set_up iptables-nft ufw icmp
    set_up ip6tables-nft ufw6 icmpv6";

/// The tables from before nf_tables.
const LEGACY: &str = "iptables-legacy -P FORWARD DROP; ip6tables-legacy -P FORWARD DROP";

/// What the program gets by TCP and by UDP, in either family.
const ASK: &str = "
    curl -s --max-time 5 http://198.51.100.2/whoami; curl -s --max-time 5 http://[2001:db8:1::2]/whoami
    dig +short +tries=1 +time=5 @198.51.100.2 www.lab.test A; dig +short +tries=1 +time=5 @2001:db8:1::2 www.lab.test A";

/// What [`ASK`] is answered.
fn answers() -> String {
    format!("{HOST4}\n{HOST6}\n198.51.100.2\n198.51.100.2\n")
}

fn lab_with(firewall: &str) -> Lab {
    let lab = Lab::new(&Plan::default());
    lab.host.sh(firewall);
    lab
}

fn firewalld() -> String {
    format!("nft '{}'", FIREWALLD.replace("FLAGS", ""))
}

/// Whether packets of the program went past the firewall: the one line that says so.
#[track_caller]
fn check_gone_past(report: &Report) {
    let said = &report.finished.stderr;
    assert!(!report.is_proxied, "{said}");
    assert_eq!(said.matches("firewall drops packets").count(), 1, "{said}");
    assert_eq!(said.matches("go past it").count(), 1, "{said}");
}

/// Goes past a firewall that is there, by choice of nsntrace and of the user; then respects it.
#[track_caller]
fn check_drops(lab: &Lab) {
    let before = Residue::of(&lab.host);
    for options in [&[][..], &["--net", "nat"]] {
        let report = lab.trace_with(options, &["sh", "-c", ASK]);
        assert_eq!(report.stdout(), answers(), "{options:?}: {}", report.finished.stderr);
        check_gone_past(&report);
        assert_eq!(report.file.count("tcp.flags.syn == 1 && tcp.flags.ack == 0"), 2, "the program's alone");
        before.assert_same(&lab.host);
    }
    let report = lab.trace_with(&["--respect-firewall"], &["sh", "-c", ASK]);
    assert_eq!(report.stdout(), answers(), "{}", report.finished.stderr);
    let said = &report.finished.stderr;
    assert!(report.is_proxied && said.contains("going by proxy") && said.contains("firewall drops packets"));
    before.assert_same(&lab.host);
}

#[test]
fn smoke_docker() {
    check_drops(&lab_with(DOCKER));
}

#[test]
fn firewalld_that_rejects_in_a_table_of_its_own() {
    check_drops(&lab_with(&firewalld()));
}

/// Newer versions of firewalld own their table as we own ours: nobody else can change it, not even root.
#[test]
fn firewalld_that_owns_its_table() {
    let lab = Lab::new(&Plan::default());
    let mut nft = Command::new("nft");
    nft.arg("--interactive").stdin(Stdio::piped());
    let mut owner = lab.host.spawn(nft);
    let mut commands = owner.stdin();
    let file = lab.dir.join("firewalld.nft");
    std::fs::write(&file, FIREWALLD.replace("FLAGS", "flags owner;")).expect("our directory");
    writeln!(commands, "include \"{}\"", file.display()).expect("nft reads");
    let listed = || lab.host.sh("nft list tables").contains("firewalld").then_some(());
    until("the table is there", Duration::from_mins(1), listed);
    assert!(!lab.host.try_sh("nft delete table inet firewalld").status.success(), "it has an owner");
    check_drops(&lab);
    drop(commands);
}

#[test]
fn ufw() {
    check_drops(&lab_with(UFW));
}

/// `None` for a kernel that is built without them, where nobody drops anything with them. That is made sure of: nothing else is a reason not to
/// test.
fn lab_with_legacy() -> Option<Lab> {
    let lab = Lab::new(&Plan::default());
    let set_up = lab.host.try_sh(LEGACY);
    if set_up.status.success() {
        return Some(lab);
    }
    let why = "can't initialize iptables table `filter': Table does not exist";
    assert!(set_up.stderr.contains(why), "{}", set_up.stderr);
    None
}

#[test]
fn iptables_legacy() {
    lab_with_legacy().inspect(check_drops);
}

#[test]
fn connections_outlive_a_reload_of_iptables_legacy() {
    let Some(lab) = lab_with_legacy() else { return };
    for change in [
        "iptables-legacy -F; ip6tables-legacy -F".to_owned(),
        format!("iptables-legacy -F; ip6tables-legacy -F; {LEGACY}"),
    ] {
        check_gone_past(&talks_on(&lab, &[], &change));
    }
}

/// Two firewalls, both of which drop.
#[test]
fn firewalld_behind_docker() {
    check_drops(&lab_with(&format!("{DOCKER}\n{}", firewalld())));
}

/// IPv4 passes, IPv6 does not: the program is to have both.
#[test]
fn a_firewall_that_drops_one_family() {
    let lab = lab_with(
        "nft 'add table ip6 f; add chain ip6 f c { type filter hook forward priority 0; policy drop; }'",
    );
    let before = Residue::of(&lab.host);
    let report = lab.trace(&["sh", "-c", ASK]);
    assert_eq!(report.stdout(), answers());
    let said = &report.finished.stderr;
    assert!(!report.is_proxied && said.contains("firewall drops IPv6 packets"), "{said}");
    before.assert_same(&lab.host);
}

/// What is dropped before the bypass begins, or in another hook, is dropped with it too: then there is the proxy.
#[test]
fn a_firewall_that_cannot_be_gone_past_is_gone_around() {
    let chains =
        ["hook forward priority -150", "hook postrouting priority 0", "hook prerouting priority -300"];
    for chain in chains {
        let lab = lab_with(&format!(
            "nft 'add table inet f; add chain inet f c {{ type filter {chain}; policy accept; }}
                  add rule inet f c ip saddr 10.0.0.0/8 drop; add rule inet f c ip6 saddr 2001:db8::/32 ip6 saddr != 2001:db8:1::/64 drop'"
        ));
        let before = Residue::of(&lab.host);
        let report = lab.trace(&["sh", "-c", ASK]);
        let said = &report.finished.stderr;
        assert_eq!(report.stdout(), answers(), "{chain}: {said}");
        assert!(report.is_proxied && said.contains("dropped elsewhere, too"), "{chain}: {said}");
        before.assert_same(&lab.host);
        let script = "curl -s --max-time 1 http://198.51.100.2/whoami || echo blocked";
        let report = lab.trace_with(&["--net", "nat"], &["sh", "-c", script]);
        let said = &report.finished.stderr;
        assert_eq!(report.stdout(), "blocked\n", "{chain}: {said}");
        assert!(said.contains("dropped elsewhere, too; --net proxy goes around that"), "{chain}: {said}");
        assert!(report.file.count("tcp.flags.syn == 1") >= 1, "the attempt is in the file");
        before.assert_same(&lab.host);
    }
}

#[test]
fn nat_that_is_insisted_on_and_a_firewall_that_is_respected_contradict() {
    let lab = lab_with(DOCKER);
    let before = Residue::of(&lab.host);
    let options = ["--net", "nat", "--respect-firewall", "-o", "trace.pcap"];
    let finished = lab.start(&[&options[..], &["touch", "started"]].concat()).wait().ended_with(125);
    assert_eq!(
        finished.stderr,
        "nsntrace: this host's firewall drops packets that the host is to forward\n\
         hint: --net proxy needs nothing forwarded; without --respect-firewall the program's packets go past the firewall\n"
    );
    assert!(!lab.dir.join("started").exists(), "the program was not started");
    assert!(!lab.dir.join("trace.pcap").exists());
    before.assert_same(&lab.host);
}

#[test]
fn a_firewall_that_lets_pass_is_no_news() {
    let lab = lab_with("iptables-nft -A FORWARD -j ACCEPT; ip6tables-nft -A FORWARD -j ACCEPT");
    let report = lab.trace_with(&["--respect-firewall"], &["sh", "-c", ASK]);
    assert_eq!(report.stdout(), answers());
    assert!(!report.is_proxied && !report.finished.stderr.contains("note:"), "{}", report.finished.stderr);
}

/// A run takes back behind the prompt what it did. The next one has the name of its device by then, and neither goes past a firewall with it,
/// unnoticed and for some milliseconds, nor is kept to its uplink.
#[test]
fn a_run_has_nothing_of_the_one_right_before_it() {
    for firewall in [DOCKER, UFW, &firewalld()] {
        let lab = lab_with(firewall);
        for _again in 0..6 {
            let report = lab.trace(&["sh", "-c", ASK]);
            assert_eq!(report.stdout(), answers(), "{}", report.finished.stderr);
            check_gone_past(&report);
        }
    }
    let lab = Lab::new(&Plan { second_uplink: true, ..Plan::default() });
    for _again in 0..6 {
        let curl = ["curl", "-s", "--max-time", "5", "http://192.0.2.1/whoami"];
        assert_eq!(lab.trace_with(&["-d", "up1"], &curl).stdout(), format!("{SECOND4}\n"));
        let report = lab.trace_with(&["--net", "nat", "--respect-firewall"], &curl);
        assert_eq!(report.stdout(), format!("{HOST4}\n"), "{}", report.finished.stderr);
    }
}

/// Frames of 64 KiB, and many at once.
#[test]
fn much_data_goes_past_whole() {
    let lab = lab_with(DOCKER);
    let script = "for n in 1 2 3 4; do curl -s -o got$n http://198.51.100.2/bytes/8000000 & done; wait";
    let report = lab.trace_with(&["-s", "96"], &["sh", "-c", script]);
    check_gone_past(&report);
    for n in 1..=4 {
        let got = std::fs::metadata(lab.dir.join(&format!("got{n}"))).expect("curl wrote it");
        assert_eq!(got.len(), 8_000_000);
    }
    assert!(report.file.count("frame.len > 1514") > 0, "super-packets are not cut up");
}

/// A device that is asked for is obeyed past a firewall too.
#[test]
fn past_a_firewall_by_a_device() {
    let lab = Lab::new(&Plan { second_uplink: true, ..Plan::default() });
    lab.host.sh(DOCKER);
    let before = Residue::of(&lab.host);
    let curl = ["curl", "-s", "--max-time", "5", "http://192.0.2.1/whoami"];
    let report = lab.trace_with(&["-d", "up1"], &curl);
    assert_eq!(report.stdout(), format!("{SECOND4}\n"));
    check_gone_past(&report);
    before.assert_same(&lab.host);
}

/// Keeps a connection of each family open, says a word over both, waits for a sign, and says another.
const TALK: &str = "
import os, socket, time
talks = [socket.create_connection((address, 7), 5) for address in (\"198.51.100.2\", \"2001:db8:1::2\")]
def say(word):
    for talk in talks:
        talk.sendall(word)
        print(talk.recv(9).decode(), flush=True)
say(b\"before\")
open(\"first\", \"w\").close()
while not os.path.exists(\"changed\"): time.sleep(0.02)
say(b\"after\")
";

/// What was said over connections that were there before `change` happened.
#[track_caller]
fn talks_on(lab: &Lab, options: &[&str], change: &str) -> Report {
    let program = ["-o", "trace.pcap", "/usr/bin/python3", "-I", "-S", "-c", TALK];
    let process: Process = lab.start(&[options, &program].concat());
    let first = lab.dir.join("first");
    until("the first word was said", Duration::from_mins(1), || first.exists().then_some(()));
    lab.host.sh(change);
    std::fs::write(lab.dir.join("changed"), "").expect("our directory");
    let report = Report::new(process.wait().succeeded(), &lab.dir.join("trace.pcap"));
    assert_eq!(report.stdout(), "before\nbefore\nafter\nafter\n");
    for file in ["first", "changed"] {
        std::fs::remove_file(lab.dir.join(file)).expect("it was there");
    }
    report
}

#[test]
fn connections_outlive_a_reload_of_the_firewall_that_they_go_past() {
    let flush = "iptables-nft -F; ip6tables-nft -F; iptables-nft -X; ip6tables-nft -X";
    let reload = |by: &str| format!("{flush}\n{by}");
    for (change, firewall) in [
        ("nft flush ruleset".to_owned(), DOCKER.to_owned()),
        (flush.to_owned(), DOCKER.to_owned()),
        (reload(DOCKER), DOCKER.to_owned()),
        (reload(UFW), UFW.to_owned()),
        (format!("nft 'delete table inet firewalld; {}'", FIREWALLD.replace("FLAGS", "")), firewalld()),
    ] {
        let lab = lab_with(&firewall);
        check_gone_past(&talks_on(&lab, &[], &change));
    }
}

#[test]
fn connections_outlive_a_reload_of_a_firewall_that_lets_pass() {
    let lab = lab_with("iptables-nft -A FORWARD -j ACCEPT; ip6tables-nft -A FORWARD -j ACCEPT");
    for change in ["iptables-nft -F; ip6tables-nft -F", "nft flush ruleset"] {
        let report = talks_on(&lab, &["--net", "nat"], change);
        assert!(!report.finished.stderr.contains("note:"), "{}", report.finished.stderr);
    }
}

/// Gets through, waits for a sign, and tries in vain from then on, until another sign.
const TRY_ON: &str = "
    until TRY; do :; done; touch first
    while ! test -e changed; do sleep 0.05; done
    while ! test -e told; do TRY && exit 2; sleep 0.1; done; exit 0";

/// What is said of a firewall that was open, and then dropped what `attempt` sends.
#[track_caller]
fn check_told(lab: &Lab, options: &[&str], change: &str, attempt: &str) {
    let script = TRY_ON.replace("TRY", attempt);
    let process: Process = lab.start(&[options, &["-o", "trace.pcap", "sh", "-c", &script]].concat());
    let first = lab.dir.join("first");
    until("the first got through", LONG, || first.exists().then_some(()));
    lab.host.sh(change);
    std::fs::write(lab.dir.join("changed"), "").expect("our directory");
    until("it is told", LONG, || process.stderr().contains(TOLD).then_some(()));
    std::fs::write(lab.dir.join("told"), "").expect("our directory");
    let said = process.wait().succeeded().stderr;
    assert_eq!(said.matches("note:").count(), 1, "{change}: {said}");
    assert!(said.contains(" so far; --net proxy goes around that\n"), "{said}");
    for file in ["first", "changed", "told"] {
        std::fs::remove_file(lab.dir.join(file)).expect("it was there");
    }
}

#[test]
fn a_firewall_that_begins_to_drop_is_told_of() {
    let lab = Lab::new(&Plan { second_uplink: true, ..Plan::default() });
    let curl = "curl -s -o /dev/null --max-time 1 http://198.51.100.2/whoami";
    check_told(&lab, &[], DOCKER, curl);
    lab.host.sh("iptables-nft -P FORWARD ACCEPT; ip6tables-nft -P FORWARD ACCEPT; nft flush ruleset");
    // It answers, so that the program's attempts are over at once.
    check_told(&lab, &["--net", "nat"], &firewalld(), curl);
    lab.host.sh("nft delete table inet firewalld");
    let dig = "dig +short +tries=1 +time=1 @198.51.100.2 www.lab.test A >/dev/null";
    let drops = "nft 'add table inet f; add chain inet f c { type filter hook forward priority 0; }
        add rule inet f c udp dport 53 drop'";
    check_told(&lab, &["-d", "up0"], drops, dig);
}

#[test]
fn iptables_legacy_that_begins_to_drop_is_told_of() {
    let Some(lab) = lab_with_legacy() else { return };
    lab.host.sh("iptables-legacy -P FORWARD ACCEPT; ip6tables-legacy -P FORWARD ACCEPT");
    check_told(&lab, &[], LEGACY, "curl -s -o /dev/null --max-time 1 http://[2001:db8:1::2]/whoami");
}

/// Whoever ends for it is told why, however soon that is.
#[test]
fn a_program_that_ends_with_the_first_packet_dropped_is_told_why() {
    let lab = Lab::new(&Plan::default());
    let script =
        "touch first; while ! test -e changed; do sleep 0.05; done; curl -s http://198.51.100.2/whoami";
    let process = lab.start(&["-o", "trace.pcap", "sh", "-c", script]);
    let first = lab.dir.join("first");
    until("it has begun", LONG, || first.exists().then_some(()));
    lab.host.sh(&firewalld());
    std::fs::write(lab.dir.join("changed"), "").expect("our directory");
    // What curl says of a connection that fails.
    let said = process.wait().ended_with(7).stderr;
    assert!(said.contains(&format!("{TOLD} 1 so far")), "{said}");
}

/// Packets by the hundred, other runs that come and go: none is lost.
#[test]
fn what_is_not_dropped_is_not_told_of() {
    let lab = lab_with("iptables-nft -A FORWARD -j ACCEPT; ip6tables-nft -A FORWARD -j ACCEPT");
    let script = "for n in $(seq 20); do curl -s http://198.51.100.2/whoami; curl -s http://[2001:db8:1::2]/whoami; done >/dev/null
        touch done; sleep 2.5";
    let process = lab.start(&["-o", "trace.pcap", "sh", "-c", script]);
    let done = lab.dir.join("done");
    until("it is done", LONG, || {
        let other = lab.start(&["-q", "-o", "other.pcap", "curl", "-s", "http://198.51.100.2/whoami"]).wait();
        assert_eq!(other.succeeded().stderr, "");
        done.exists().then_some(())
    });
    let said = process.wait().succeeded().stderr;
    assert!(!said.contains("note:"), "{said}");
}

const TOLD: &str = "this host's firewall drops some of the program's packets:";
const LONG: Duration = Duration::from_mins(1);
