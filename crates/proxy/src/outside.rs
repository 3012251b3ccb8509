//! Sockets to the world that send datagrams, and what becomes of what they send.
//!
//! # Theory of operation
//! The sockets are connected, so that the kernel drops what others send and tells of ICMP errors. With `IP_RECVERR` it tells them all, and
//! in full: who reported what about which datagram.
//!
//! A datagram that fits the program's link leaves its kernel with DF set, unless somebody asked for something else, and
//! so it does here. Where it is too long for the path the program is told the path's MTU, as it would be by a router. One that came in
//! fragments may be sent in fragments.
//!
//! # Kernel interface
//! `socket(SOCK_DGRAM)` of UDP, ICMP and ICMPv6 (the last two where `net.ipv4.ping_group_range` allows), `SO_BINDTODEVICE`,
//! `connect(2)`, `IP_RECVERR`, `IP_MTU_DISCOVER`, `IP_TTL` and the same for IPv6.
//!
//! # References
//! ip(7), ipv6(7), udp(7), icmp(7).

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nsntrace_sys::{DeliveryError, Detail, Family, Origin, bind_to_device, receive_error, tell};
use rustix::io::Errno;
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};

use crate::wire::Cause;

/// A connected socket that sends datagrams or pings.
#[derive(Debug)]
pub(crate) struct Outside {
    socket: OwnedFd,
    peer: IpAddr,
    /// What was set last. The kernel's own default is not asked for.
    ttl: Option<u8>,
    may_fragment: bool,
}

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Datagrams,
    Pings,
}

/// Why something that was sent did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mishap {
    pub(crate) cause: Cause,
    /// Who said so, if it was not our own kernel.
    pub(crate) reporter: Option<IpAddr>,
    /// How much of what was sent is in the buffer.
    pub(crate) len: usize,
}

/// How a packet travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Travel {
    /// Time to live or hop limit.
    pub(crate) ttl: Option<u8>,
    /// Whether it may be sent in parts.
    pub(crate) may_fragment: bool,
}

impl Outside {
    /// Opens a socket in the network namespace of the calling thread and connects it.
    ///
    /// # Errors
    /// `EMFILE` and its like: see [`is_shortage`]. `EACCES`: pings are not allowed, or broadcast. `ENETUNREACH` and others: what the routes say.
    /// `ENODEV`: the device is gone.
    pub(crate) fn open(purpose: Purpose, peer: SocketAddr, device: Option<&str>) -> Result<Self, Errno> {
        let (domain, family) = match peer {
            SocketAddr::V4(_) => (AddressFamily::INET, Family::V4),
            SocketAddr::V6(_) => (AddressFamily::INET6, Family::V6),
        };
        let protocol = match (purpose, family) {
            (Purpose::Datagrams, _) => ipproto::UDP,
            (Purpose::Pings, Family::V4) => ipproto::ICMP,
            (Purpose::Pings, Family::V6) => ipproto::ICMPV6,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(domain, SocketType::DGRAM, flags, Some(protocol))?;
        if let Some(device) = device {
            bind_to_device(socket.as_fd(), device).map_err(errno_of)?;
        }
        tell(socket.as_fd(), family, Detail::Errors).map_err(errno_of)?;
        // Before Linux 5.0 datagrams come one by one; and a reply's TTL is a detail.
        let _ = match purpose {
            Purpose::Datagrams => tell(socket.as_fd(), family, Detail::Segments),
            Purpose::Pings => tell(socket.as_fd(), family, Detail::Ttl),
        };
        rustix::net::connect(&socket, &peer)?;
        let outside = Self { socket, peer: peer.ip(), ttl: None, may_fragment: false };
        outside.allow_fragments(false)?;
        Ok(outside)
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Has what is sent from now on travel as the program's packets do.
    pub(crate) fn travel(&mut self, travel: Travel) {
        // A value that the kernel refuses leaves the one before it, which is a flaw and no failure.
        if let Some(ttl) = travel.ttl.filter(|&ttl| ttl > 0 && self.ttl != Some(ttl)) {
            let _ = self.set_ttl(ttl);
            self.ttl = Some(ttl);
        }
        if travel.may_fragment != self.may_fragment {
            let _ = self.allow_fragments(travel.may_fragment);
            self.may_fragment = travel.may_fragment;
        }
    }

    /// The next thing that is known of what was sent. What it was sent with begins in the buffer.
    pub(crate) fn mishap(&self, buffer: &mut [u8]) -> Option<Mishap> {
        // An answer that is no error at all is passed over, and what is behind it is told with the next event.
        receive_error(self.socket.as_fd(), buffer).ok().map(|error| Mishap::of(&error, self.peer))
    }

    fn set_ttl(&self, ttl: u8) -> Result<(), Errno> {
        match self.peer {
            IpAddr::V4(_) => sockopt::set_ip_ttl(&self.socket, ttl.into()),
            IpAddr::V6(_) => sockopt::set_ipv6_unicast_hops(&self.socket, Some(ttl)),
        }
    }

    fn allow_fragments(&self, are_allowed: bool) -> Result<(), Errno> {
        match (self.peer, are_allowed) {
            (IpAddr::V4(_), false) => sockopt::set_ip_mtu_discover(&self.socket, Ipv4PathMtuDiscovery::DO),
            (IpAddr::V4(_), true) => sockopt::set_ip_mtu_discover(&self.socket, Ipv4PathMtuDiscovery::WANT),
            (IpAddr::V6(_), false) => sockopt::set_ipv6_mtu_discover(&self.socket, Ipv6PathMtuDiscovery::DO),
            (IpAddr::V6(_), true) => sockopt::set_ipv6_mtu_discover(&self.socket, Ipv6PathMtuDiscovery::WANT),
        }
    }
}

impl Mishap {
    fn of(error: &DeliveryError, peer: IpAddr) -> Self {
        let (cause, reporter) = match error.origin {
            Origin::Icmp { kind, code, offender } => (Cause { kind, code, info: error.info }, offender),
            Origin::Local if error.errno == Errno::MSGSIZE => (Cause::too_big(peer, error.info), None),
            Origin::Local => (Cause::of(error.errno, peer), None),
        };
        Self { cause, reporter, len: error.len }
    }
}

/// Whether something else has to be closed first.
pub(crate) fn is_shortage(errno: Errno) -> bool {
    // EAGAIN: connect(2) found no free port.
    matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::AGAIN)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn errno_of(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
