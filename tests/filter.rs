//! `-f`: what the kernel lets through, what the user is told of a bad filter, and the program that is printed.
#![forbid(unsafe_code)]

use nsntrace_testkit::{Lab, Plan, Residue, nsntrace};

#[test]
fn smoke_what_does_not_match_is_not_in_the_file() {
    let lab = Lab::new(&Plan::default());
    let script =
        "ping -q -c2 -i0.2 198.51.100.2; curl -s http://198.51.100.2/whoami; dig +short www.lab.test";
    let report = lab.trace_with(&["-f", "tcp port 80 or icmp[icmptype] == icmp-echo"], &["sh", "-c", script]);
    assert_eq!(report.file.count("icmp.type == 8"), 2);
    assert_eq!(report.file.count("icmp.type == 0"), 0);
    assert_eq!(report.file.count("udp"), 0);
    assert_eq!(report.file.count("http"), 2);
    assert_eq!(report.file.tcpdump(&[], "not (tcp port 80 or icmp)").len(), 0);
}

#[test]
fn loopback_is_filtered_too_and_counted_once() {
    let lab = Lab::new(&Plan::default());
    let report = lab.trace_with(&["-f", "icmp"], &["ping", "-q", "-c3", "-i0.2", "127.0.0.1"]);
    assert_eq!(report.file.packets(), 6);
}

#[test]
fn directions_are_those_of_the_program() {
    let lab = Lab::new(&Plan::default());
    for (filter, kind) in [("icmp and outbound", "icmp.type == 8"), ("icmp and inbound", "icmp.type == 0")] {
        let report = lab.trace_with(&["-f", filter], &["ping", "-q", "-c3", "-i0.2", "198.51.100.2"]);
        assert_eq!((report.file.packets(), report.file.count(kind)), (3, 3), "{filter}");
    }
}

#[test]
fn a_pcapng_file_says_what_its_filter_was() {
    let lab = Lab::new(&Plan::default());
    lab.start(&["-f", "icmp or arp", "-o", "trace.pcapng", "true"]).wait().succeeded();
    lab.host.sh(&format!("capinfos {} | grep -q 'icmp or arp'", lab.dir.join("trace.pcapng").display()));
}

#[test]
fn smoke_a_bad_filter_is_shown_before_anything_is_touched() {
    let lab = Lab::new(&Plan::default());
    let before = Residue::of(&lab.host);
    let finished = lab.start(&["-f", "tcp port htp or icmp", "true"]).wait().ended_with(125);
    let expected = "nsntrace: bad filter: unknown port name 'htp'\n  tcp port htp or icmp\n           ^^^\n";
    assert_eq!(finished.stderr, expected);
    let finished = lab.start(&["-f", "ip and ip6", "true"]).wait().ended_with(125);
    let expected = "nsntrace: bad filter: expression rejects all packets\n  ip and ip6\n  ^^^^^^^^^^\n";
    assert_eq!(finished.stderr, expected);
    assert_eq!(before, Residue::of(&lab.host));
    assert!(!lab.dir.join("nsntrace.pcap").exists());
}

#[test]
fn smoke_the_program_is_printed_as_tcpdump_prints_it() {
    let lab = Lab::new(&Plan::default());
    let ours = format!("setpriv --reuid 65534 --clear-groups {}", nsntrace().display());
    for (form, option) in [("asm", "-d"), ("c", "-dd"), ("dec", "-ddd")] {
        for filter in ["ip", "arp", "len > 100"] {
            let theirs = lab.host.sh(&format!("tcpdump -y EN10MB {option} '{filter}' 2>/dev/null"));
            let printed = lab.host.sh(&format!("{ours} --dump-filter={form} -f '{filter}'"));
            assert_eq!(printed, theirs, "{form} {filter}");
        }
    }
}
