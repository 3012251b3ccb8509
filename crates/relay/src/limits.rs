//! How much a relay does at once.

use std::time::Duration;

/// How much a relay does at once. Where a limit is reached, the least recently used is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client ports that are relayed over UDP, each by a socket of its own.
    pub udp_clients: usize,
    /// Connections that are relayed over TCP, each by two sockets and at most 128 KiB.
    pub tcp_connections: usize,
    /// How long a client port may be silent before its socket is closed. Resolvers wait for 5 s (resolv.conf(5)).
    pub udp_idle: Duration,
    /// How long a connection may be silent before it is closed. RFC 7766 section 6.2.3 leaves the first move to the
    /// server, and leaves seconds for it, so this one is for connections whose ends are gone.
    pub tcp_idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            udp_clients: 512,
            tcp_connections: 256,
            udp_idle: Duration::from_secs(30),
            tcp_idle: Duration::from_mins(2),
        }
    }
}
