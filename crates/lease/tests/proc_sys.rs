//! Leases on the real `/proc/sys`, in a network namespace of their own.
#![forbid(unsafe_code)]

use std::fs;

use nsntrace_lease::{Lease, Outcome, RunDir};
use nsntrace_testkit::{isolated, sh};

use crate::common::Fixture;

mod common;

#[test]
fn forwarding_of_a_real_device() {
    isolated(|| {
        let fixture = Fixture::new("0");
        let dir = RunDir::open(&fixture.base(), "net-real").unwrap();
        sh("ip link add up0.5 type veth peer name up1");
        let key = "net/ipv4/conf/up0.5/forwarding";
        let value = || fs::read_to_string(format!("/proc/sys/{key}")).unwrap();
        assert_eq!(value(), "0\n");

        let lease = Lease::acquire(&dir, key, "1").unwrap();
        assert_eq!((value().as_str(), lease.original()), ("1\n", "0"));
        let global = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
        assert_eq!(global, "0\n", "the global switch stays");
        assert_eq!(lease.release().unwrap(), Outcome::Restored);
        assert_eq!(value(), "0\n");

        let error = Lease::acquire(&dir, key, "nonsense").unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write the setting {key}"));
        assert_eq!(dir.heal_leases().unwrap().len(), 0, "a refused write leaves no record");

        let lease = Lease::acquire(&dir, key, "1").unwrap();
        sh("ip link del up0.5");
        assert_eq!(lease.release().unwrap(), Outcome::Gone);
    });
}
