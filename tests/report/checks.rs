//! `--expect` and `--deny`: what is let through, what is not, and how that is said.

use nsntrace_testkit::{Lab, Plan};

use crate::trace::Trace;

/// Looks up, talks by IPv4 and IPv6, pings.
const SCRIPT: &str = "curl -s4 http://www.lab.test/ >/dev/null; curl -s http://[2001:db8:1::2]/ >/dev/null
    ping -q -c1 198.51.100.10 >/dev/null; ping -q -c1 127.0.0.1 >/dev/null; exit 3";

const WWW: &str = "www.lab.test 198.51.100.2:80";
const SIX: &str = "[2001:db8:1::2]:80";
const PING: &str = "198.51.100.10";

/// Peers that are objected to, in any order, under these options.
#[track_caller]
fn check(lab: &Lab, options: &[&str], objected: &[&str]) {
    let trace = Trace::of(lab, options, SCRIPT);
    let offences = trace.report["offences"].as_array().expect("a list");
    let mut found: Vec<_> = offences.iter().map(|one| one["peer"].as_str().expect("a text")).collect();
    found.sort_unstable();
    let mut expected = objected.to_vec();
    expected.sort_unstable();
    assert_eq!(found, expected, "{options:?}");
    let status = if objected.is_empty() { 3 } else { 124 };
    let finished = trace.finished.ended_with(status);
    let lines =
        finished.stderr.lines().filter(|line| line.starts_with("nsntrace: ") && line.contains(" talked to "));
    assert_eq!(lines.count(), objected.len(), "{options:?}: {}", finished.stderr);
}

#[track_caller]
fn check_all(net: &str) {
    let lab = Lab::new(&Plan::default());
    let check =
        |options: &[&str], objected: &[&str]| check(&lab, &[&["--net", net], options].concat(), objected);
    check(&[], &[]);
    check(&["--expect", "www.lab.test"], &[SIX, PING]);
    check(&["--expect", "*.lab.test:80", "--expect", "2001:db8::/32", "--expect", PING], &[]);
    check(
        &["--expect", "*.lab.test:81", "--expect", "[2001:db8:1::2]:80", "--expect", "198.51.100.10/31"],
        &[WWW],
    );
    check(&["--expect", "0.0.0.0/0", "--expect", "::/0"], &[]);
    check(&["--expect", "0.0.0.0/0", "--expect", "::/0", "--deny", "2001:db8:1::2"], &[SIX]);
    check(&["--deny", "*.lab.test"], &[WWW, "198.51.100.2:53 A www.lab.test"]);
    check(&["--deny", "198.51.100.2:80"], &[WWW]);
    check(&["--deny", "198.51.100.0/24:443", "--deny", "other.lab.test"], &[]);
    check(&["-q", "--deny", "198.51.100.0/24"], &[WWW, "198.51.100.2:53 A www.lab.test", PING]);
}

#[test]
fn peers_are_judged_by_nat() {
    check_all("nat");
}

#[test]
fn peers_are_judged_by_proxy() {
    check_all("proxy");
}

#[test]
fn the_sentence_names_peer_and_rule() {
    let lab = Lab::new(&Plan::default());
    let trace =
        Trace::of(&lab, &["-q", "--deny", "*.lab.test:80"], "curl -s4 http://www.lab.test/ >/dev/null");
    let said = trace.finished.ended_with(124).stderr;
    let (who, what) = said.trim_end().split_once(" talked to ").expect("a sentence");
    assert!(who.starts_with("nsntrace: "), "{said}");
    assert_eq!(what, "www.lab.test 198.51.100.2:80, which --deny *.lab.test:80 forbids");
}

#[test]
fn what_is_no_peer_is_refused_before_anything_is_touched() {
    let lab = Lab::new(&Plan::default());
    for (typed, word) in
        [("a b", "neither a name"), ("*", "neither"), ("::1/129", "neither"), ("a:0", "not a port")]
    {
        for option in ["--expect", "--deny"] {
            let finished =
                lab.start(&["-o", "no.pcap", option, typed, "touch", "started"]).wait().ended_with(125);
            assert!(
                finished.stderr.contains(word) && finished.stderr.contains(option),
                "{}",
                finished.stderr
            );
        }
    }
    assert!(!lab.dir.join("no.pcap").exists() && !lab.dir.join("started").exists());
}
