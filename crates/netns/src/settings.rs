//! Settings of a network namespace that a new one does not inherit.
//!
//! A new namespace starts with the kernel's defaults. What an administrator changed and a program would notice is carried over; what
//! the kernel does not know, or does not let us write, is left out: the program then meets the default, as in any container.

//!
//! Who may ping is a range of groups, and in a user namespace only a group that is mapped can be named: there it is our own, if the
//! caller's namespace lets us ping.
//!
//! # References
//! Documentation/networking/ip-sysctl.rst; `ipv4_ping_group_range()` in net/ipv4/sysctl_net_ipv4.c.

use std::fs;
use std::path::Path;

use rustix::net::{AddressFamily, SocketType, ipproto, socket};
use rustix::process::getegid;

/// What is carried over.
#[derive(Debug)]
pub(crate) struct Settings {
    values: Vec<(&'static str, String)>,
    may_ping: bool,
}

impl Settings {
    /// Reads the settings of the calling thread's namespace.
    pub(crate) fn read() -> Self {
        let value = |&key: &&'static str| Some((key, fs::read_to_string(path(key)).ok()?));
        Self { values: CARRIED.iter().filter_map(value).collect(), may_ping: may_ping() }
    }

    /// Writes them to the calling thread's namespace.
    pub(crate) fn write(&self) {
        for (key, value) in &self.values {
            // Refused by a read-only /proc/sys or for a value that is global by now: see above.
            let _ = fs::write(path(key), value);
        }
        if self.may_ping && !may_ping() {
            let group = getegid().as_raw();
            let _ = fs::write(path(PING_GROUP_RANGE), format!("{group} {group}"));
        }
    }
}

/// Whether ping(8) works without privilege: who may not, gets no such socket.
fn may_ping() -> bool {
    socket(AddressFamily::INET, SocketType::DGRAM, Some(ipproto::ICMP)).is_ok()
}

fn path(key: &str) -> std::path::PathBuf {
    Path::new("/proc/sys/net").join(key)
}

const PING_GROUP_RANGE: &str = "ipv4/ping_group_range";

/// Under /proc/sys/net.
const CARRIED: &[&str] = &[
    "ipv4/ip_local_port_range",
    "ipv4/ip_local_reserved_ports",
    "ipv4/ip_unprivileged_port_start",
    PING_GROUP_RANGE,
    "ipv4/tcp_congestion_control",
    "ipv4/tcp_ecn",
    "ipv4/tcp_fastopen",
    "ipv4/tcp_keepalive_intvl",
    "ipv4/tcp_keepalive_probes",
    "ipv4/tcp_keepalive_time",
    "ipv4/tcp_syn_retries",
];
