//! Leases on the real `/proc/sys`, in a network namespace of their own.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::process::Command;

use nsntrace_lease::{Lease, Outcome, RunDir};

use crate::common::Fixture;

mod common;

#[test]
fn forwarding_of_a_real_device() {
    if std::env::var_os("NSNTRACE_LEASE_INSIDE").is_some() {
        return inside_a_netns();
    }
    let probe = Command::new("unshare").args(["--net", "true"]).status();
    if !common::is_privileged(probe.is_ok_and(|status| status.success()), "unshare --net") {
        return;
    }
    let status = Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "forwarding_of_a_real_device"])
        .env("NSNTRACE_LEASE_INSIDE", "1")
        .status()
        .unwrap();
    assert!(status.success());
}

fn inside_a_netns() {
    let fixture = Fixture::new("0");
    let dir = RunDir::open(&fixture.base(), "net-real").unwrap();
    let ip =
        |args: &[&str]| assert!(Command::new("ip").args(args).status().unwrap().success(), "ip {args:?}");
    ip(&["link", "add", "up0.5", "type", "veth", "peer", "name", "up1"]);
    let key = "net/ipv4/conf/up0.5/forwarding";
    let value = || fs::read_to_string(format!("/proc/sys/{key}")).unwrap();
    assert_eq!(value(), "0\n");

    let lease = Lease::acquire(&dir, key, "1").unwrap();
    assert_eq!((value().as_str(), lease.original()), ("1\n", "0"));
    assert_eq!(
        fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(),
        "0\n",
        "the global switch stays"
    );
    assert_eq!(lease.release().unwrap(), Outcome::Restored);
    assert_eq!(value(), "0\n");

    let error = Lease::acquire(&dir, key, "nonsense").unwrap_err();
    assert_eq!(error.to_string(), format!("cannot write the setting {key}"));
    assert_eq!(dir.heal_leases().unwrap().len(), 0, "a refused write leaves no record");

    let lease = Lease::acquire(&dir, key, "1").unwrap();
    ip(&["link", "del", "up0.5"]);
    assert_eq!(lease.release().unwrap(), Outcome::Gone);
}
