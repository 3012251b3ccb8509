//! The real thing: `dig` in one network namespace asks a `dnsmasq` in another, on port 53 of 127.0.0.53.
#![forbid(unsafe_code)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd as _;
use std::process::{Child, Command};
use std::thread;

use nsntrace_relay::{Relay, Unbound};
use nsntrace_testkit::{Netns, eventually, isolated, sh};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53));
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

#[test]
fn dig_asks_dnsmasq_across_two_namespaces() {
    isolated(|| {
        sh("ip link set lo up");
        let traced = Netns::new();
        // Opened while lo is still down.
        let [v4, v6] = traced.inside(|| [V4, V6].map(|address| Unbound::open(address).unwrap()));
        traced.sh("ip link set lo up");

        let mut relay = Relay::new(vec![v4.listen().unwrap(), v6.listen().unwrap()]).unwrap();
        let (stopped, stop) = io::pipe().unwrap();
        let relay = thread::spawn(move || relay.run(stopped.as_fd()));
        let dnsmasq = Dnsmasq::start();
        check_answers(&traced);
        drop(dnsmasq);
        check_refusals(&traced);
        drop(stop);
        relay.join().unwrap().unwrap();
    });
}

fn check_answers(traced: &Netns) {
    for server in ["127.0.0.53", "::1"] {
        assert_eq!(dig(traced, server, &["+short", "host.test", "A"]).0, "192.0.2.7\n");
        assert_eq!(dig(traced, server, &["+short", "+tcp", "host.test", "AAAA"]).0, "2001:db8::7\n");
        // 3 kB do not fit the 1232 bytes that dig offers for UDP: dig is told so, and asks again over TCP.
        let (text, _) = dig(traced, server, &["+short", "big.test", "TXT"]);
        assert_eq!(text.matches('x').count(), 3000, "{text}");
        let (text, _) = dig(traced, server, &["+ignore", "+noall", "+comments", "big.test", "TXT"]);
        assert!(text.contains("flags: qr aa tc rd"), "{text}");
    }
}

fn check_refusals(traced: &Netns) {
    let (text, code) = dig(traced, "127.0.0.53", &["+noall", "+comments", "host.test", "A"]);
    assert!(code == 0 && text.contains("status: SERVFAIL"), "{text}");
    assert!(!text.contains("WARNING"), "{text}");
    let (text, code) = dig(traced, "127.0.0.53", &["+tcp", "+tries=1", "host.test", "A"]);
    assert!(code != 0 && (text.contains("reset") || text.contains("end of file")), "{text}");
}

/// A name server in this namespace. It ends with this value, or else a test that fails would leave it behind.
struct Dnsmasq {
    child: Child,
}

impl Dnsmasq {
    /// Starts it and waits until it answers.
    fn start() -> Self {
        let texts = format!("--txt-record=big.test{}", format!(",{}", "x".repeat(250)).repeat(12));
        let child = Command::new("dnsmasq")
            .args(["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root"])
            .args(["--no-resolv", "--no-hosts", "--bind-interfaces", "--listen-address=127.0.0.53,::1"])
            .args(["--host-record=host.test,192.0.2.7,2001:db8::7", "--edns-packet-max=1232", &texts])
            .spawn();
        let server = Self { child: child.expect("dnsmasq is installed") };
        eventually(|| {
            let answer = question("127.0.0.53", &["+tries=1", "host.test"]).output();
            answer.expect("dig is installed").status.success()
        });
        server
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        // Both fail for one that has ended already, and then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks in the traced namespace; returns what dig wrote and its exit status.
fn dig(traced: &Netns, server: &str, args: &[&str]) -> (String, i32) {
    let output = traced.inside(|| question(server, args).output().expect("dig is installed"));
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code().expect("dig is not killed"))
}

fn question(server: &str, args: &[&str]) -> Command {
    let mut dig = Command::new("dig");
    dig.arg(format!("@{server}")).args(args);
    dig
}
