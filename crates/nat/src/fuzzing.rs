//! What is fuzzed of reading replies: see fuzz/README.md.

use std::net::{IpAddr, Ipv6Addr};

use nsntrace_netlink::Message;

use crate::{conntrack, probe, stale};

/// Reads a message as each of those who read any.
pub fn read(message: Message<'_>) {
    for source in [IpAddr::from([10, 0, 0, 1]), Ipv6Addr::LOCALHOST.into()] {
        let _entry = conntrack::parse(message, source);
    }
    let _table = stale::parse(message);
    let _count = probe::counter(message, "nsntrace-1-a", "probe-in");
}
