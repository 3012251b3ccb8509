//! The real thing: `dig` in one network namespace asks a `dnsmasq` in another, on port 53 of 127.0.0.53.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::thread;

use nsntrace_relay::{Relay, Unbound};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

mod common;

const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53));
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

#[test]
fn dig_asks_dnsmasq_across_two_namespaces() {
    if std::env::var_os("NSNTRACE_RELAY_INSIDE").is_some() {
        return inside_a_netns();
    }
    let probe = Command::new("unshare").args(["--net", "--mount", "true"]).status();
    if !common::is_privileged(probe.is_ok_and(|status| status.success()), "unshare --net --mount") {
        return;
    }
    let status = Command::new("unshare")
        .args(["--net", "--mount"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "dig_asks_dnsmasq_across_two_namespaces"])
        .env("NSNTRACE_RELAY_INSIDE", "1")
        .status()
        .unwrap();
    assert!(status.success());
}

fn inside_a_netns() {
    run("mount", &["-t", "tmpfs", "tmpfs", "/run"]);
    run("ip", &["link", "set", "lo", "up"]);
    run("ip", &["netns", "add", "t"]);
    // The thread is there for a moment, and lo is still down.
    let inside = || {
        let netns = File::open("/run/netns/t").expect("it was just made");
        move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network)).expect("we are root");
        [V4, V6].map(|address| Unbound::open(address).expect("there are sockets"))
    };
    let [v4, v6] = thread::spawn(inside).join().unwrap();
    run("ip", &["-n", "t", "link", "set", "lo", "up"]);

    let mut relay = Relay::new(vec![v4.listen().unwrap(), v6.listen().unwrap()]).unwrap();
    let (stopped, stop) = io::pipe().unwrap();
    let relay = thread::spawn(move || relay.run(stopped.as_fd()));
    let mut dnsmasq = start_dnsmasq();
    check_answers();
    dnsmasq.kill().unwrap();
    dnsmasq.wait().unwrap();
    check_refusals();
    drop(stop);
    relay.join().unwrap().unwrap();
}

fn check_answers() {
    for server in ["127.0.0.53", "::1"] {
        assert_eq!(dig(server, &["+short", "host.test", "A"]).0, "192.0.2.7\n");
        assert_eq!(dig(server, &["+short", "+tcp", "host.test", "AAAA"]).0, "2001:db8::7\n");
        // 3 kB do not fit the 1232 bytes that dig offers for UDP: dig is told so, and asks again over TCP.
        let (text, _) = dig(server, &["+short", "big.test", "TXT"]);
        assert_eq!(text.matches('x').count(), 3000, "{text}");
        let (text, _) = dig(server, &["+ignore", "+noall", "+comments", "big.test", "TXT"]);
        assert!(text.contains("flags: qr aa tc rd"), "{text}");
    }
}

fn check_refusals() {
    let (text, code) = dig("127.0.0.53", &["+noall", "+comments", "host.test", "A"]);
    assert!(code == 0 && text.contains("status: SERVFAIL"), "{text}");
    assert!(!text.contains("WARNING"), "{text}");
    let (text, code) = dig("127.0.0.53", &["+tcp", "+tries=1", "host.test", "A"]);
    assert!(code != 0 && (text.contains("reset") || text.contains("end of file")), "{text}");
}

/// Starts dnsmasq in this namespace, and waits until it answers.
fn start_dnsmasq() -> Child {
    let mut args =
        ["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces"]
            .map(str::to_owned)
            .to_vec();
    args.extend(["--pid-file=", "--user=root", "--listen-address=127.0.0.53,::1"].map(str::to_owned));
    args.extend([
        "--host-record=host.test,192.0.2.7,2001:db8::7".to_owned(),
        "--edns-packet-max=1232".to_owned(),
    ]);
    args.push(format!("--txt-record=big.test{}", format!(",{}", "x".repeat(250)).repeat(12)));
    let child =
        Command::new("dnsmasq").args(args).stderr(Stdio::inherit()).spawn().expect("dnsmasq is installed");
    while Command::new("dig")
        .args(["@127.0.0.53", "+tries=1", "host.test"])
        .output()
        .is_ok_and(|dig| !dig.status.success())
    {}
    child
}

/// Asks in namespace t; returns what dig wrote and its exit status.
fn dig(server: &str, args: &[&str]) -> (String, i32) {
    let server = format!("@{server}");
    let mut command = Command::new("ip");
    let output =
        command.args(["netns", "exec", "t", "dig", &server]).args(args).output().expect("ip is installed");
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code().expect("dig is not killed"))
}

#[track_caller]
fn run(program: &str, args: &[&str]) {
    assert!(
        Command::new(program).args(args).status().is_ok_and(|status| status.success()),
        "{program} {args:?}"
    );
}
