//! Sockets besides those for packets.
//!
//! # Kernel interface
//! `socket(SOCK_DGRAM, IPPROTO_ICMP)`: `net.ipv4.ping_group_range`. `NETLINK_SOCK_DIAG`.
//!
//! # References
//! icmp(7), sock_diag(7).

use nsntrace_sockdiag::Orphans;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, ipproto, socket};

use crate::doctor::bench::Bench;
use crate::doctor::check::{Answer, THERE};
use crate::failure::Failure;

/// Whether the proxy could pass on pings.
pub(super) fn ping(_bench: &mut Bench) -> Answer {
    let failed = |errno| {
        let failure = Failure::of("cannot open a ping socket", &errno);
        if errno == Errno::ACCESS { failure.hint(PING_GROUP_RANGE) } else { failure }
    };
    socket(AddressFamily::INET, SocketType::DGRAM, Some(ipproto::ICMP)).map_err(failed)?;
    THERE
}

/// Whether one can know of connections that still close.
pub(super) fn list(bench: &mut Bench) -> Answer {
    bench.scratch()?;
    let by_procfs =
        "from procfs, which is slower: this kernel lacks CONFIG_INET_DIAG (modules inet_diag, tcp_diag)";
    Ok(if Orphans::open()?.can_ask()? { String::new() } else { by_procfs.into() })
}

const PING_GROUP_RANGE: &str = "let root allow them: sysctl net.ipv4.ping_group_range='0 2147483647'";
