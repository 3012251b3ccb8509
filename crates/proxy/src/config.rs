//! What a proxy is told about its surroundings.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a proxy is told about its surroundings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The router's end of the veth pair, in the namespace that [`Inside`](crate::Inside) was opened in.
    pub ifindex: u32,
    /// Its link address.
    pub mac: [u8; 6],
    /// The link address of the program's end.
    pub program_mac: [u8; 6],
    /// The longest IP packet that the veth takes, in bytes.
    pub mtu: usize,
    /// Its address for IPv4: who reports ICMP errors to the program.
    pub router_v4: Ipv4Addr,
    /// Its address for IPv6.
    pub router_v6: Ipv6Addr,
    /// The device of the host that everything goes out by (`SO_BINDTODEVICE`), if not the one that the routes say.
    pub device: Option<String>,
    /// How much is done at once.
    pub limits: Limits,
}

/// How much is done at once. Each connection and each flow needs two descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// TCP connections, those included that are being made. More are refused.
    pub connections: usize,
    /// UDP flows. For a new one, the one that has been silent for longest ends.
    pub flows: usize,
    /// Hosts that are pinged.
    pub pings: usize,
}

impl Config {
    /// Who tells the program of an error on the way to `destination`.
    pub(crate) fn router(&self, destination: IpAddr) -> IpAddr {
        match destination {
            IpAddr::V4(_) => self.router_v4.into(),
            IpAddr::V6(_) => self.router_v6.into(),
        }
    }
}

impl Limits {
    /// What `descriptors` are enough for, with some left for the rest of the process: the soft limit of `RLIMIT_NOFILE`.
    pub fn of_descriptors(descriptors: usize) -> Self {
        let pairs = descriptors.saturating_sub(RESERVE) / 2;
        Self { connections: (pairs / 4 * 3).max(1), flows: (pairs / 8).clamp(1, 4096), pings: 64 }
    }
}

impl Default for Limits {
    /// What the soft limit of `RLIMIT_NOFILE` allows now.
    fn default() -> Self {
        let soft = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        Self::of_descriptors(soft.and_then(|soft| usize::try_from(soft).ok()).unwrap_or(usize::MAX))
    }
}

/// Descriptors for all else.
const RESERVE: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_descriptors_are_counted_for_each() {
        let few = Limits::of_descriptors(1024);
        assert_eq!(few, Limits { connections: 336, flows: 56, pings: 64 });
        assert!(2 * (few.connections + few.flows) + few.pings + RESERVE <= 1024 + 64);
        assert_eq!(Limits::of_descriptors(0), Limits { connections: 1, flows: 1, pings: 64 });
    }
}
