//! Settings of a network namespace that a new one does not inherit.
//!
//! A new namespace starts with the kernel's defaults. What an administrator changed and a program would notice is carried over; what
//! the kernel does not know, or does not let us write, is left out: the program then meets the default, as in any container.

use std::fs;
use std::path::Path;

/// Reads the settings of the calling thread's namespace.
pub(crate) fn read() -> Vec<(&'static str, String)> {
    CARRIED.iter().filter_map(|&key| Some((key, fs::read_to_string(path(key)).ok()?))).collect()
}

/// Writes them to the calling thread's namespace.
pub(crate) fn write(settings: &[(&'static str, String)]) {
    for (key, value) in settings {
        // Refused by a read-only /proc/sys or for a value that is global by now: see above.
        let _ = fs::write(path(key), value);
    }
}

fn path(key: &str) -> std::path::PathBuf {
    Path::new("/proc/sys/net").join(key)
}

/// Under /proc/sys/net: Documentation/networking/ip-sysctl.rst.
const CARRIED: &[&str] = &[
    "ipv4/ip_local_port_range",
    "ipv4/ip_local_reserved_ports",
    "ipv4/ip_unprivileged_port_start",
    "ipv4/ping_group_range",
    "ipv4/tcp_congestion_control",
    "ipv4/tcp_ecn",
    "ipv4/tcp_fastopen",
    "ipv4/tcp_keepalive_intvl",
    "ipv4/tcp_keepalive_probes",
    "ipv4/tcp_keepalive_time",
    "ipv4/tcp_syn_retries",
];
