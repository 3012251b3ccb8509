//! Where clients ask: one address, UDP and TCP.
//!
//! # Kernel interface
//! `socket(2)`, `bind(2)`, `listen(2)`; `IP_FREEBIND`, `IPV6_FREEBIND` (Linux 4.15), `IPV6_V6ONLY`, `SO_REUSEADDR`.
//! `CAP_NET_BIND_SERVICE` over the namespace for port 53.
//!
//! # References
//! ip(7); ipv6(7); socket(7).

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::RelayError;

/// Two sockets on one address, in the network namespace of the thread that opened them.
#[derive(Debug)]
pub struct Listener {
    pub(crate) udp: OwnedFd,
    pub(crate) tcp: OwnedFd,
    pub(crate) server: SocketAddr,
    local: SocketAddr,
}

impl Listener {
    /// Listens on port 53 of `address`, in the calling thread's network namespace. The server is port 53 of the same
    /// address, in the namespace of whoever serves the relay. The loopback device need not be up yet.
    ///
    /// # Errors
    /// [`RelayError::Listen`]: `EADDRINUSE` if somebody listens there already, `EACCES` without `CAP_NET_BIND_SERVICE`,
    /// `EAFNOSUPPORT` for an IPv6 address on a kernel without.
    pub fn open(address: IpAddr) -> Result<Self, RelayError> {
        let address = SocketAddr::new(address, 53);
        Self::bind(address, address)
    }

    /// Listens on `local` for `server`. Port 0 is one that the kernel chooses.
    ///
    /// # Errors
    /// As [`Listener::open`].
    pub fn bind(local: SocketAddr, server: SocketAddr) -> Result<Self, RelayError> {
        let failed = |transport, address| {
            move |(step, source)| RelayError::Listen { step, transport, address, source }
        };
        let udp = bound(SocketType::DGRAM, local).map_err(failed("UDP", local))?;
        let local = local_address(&udp, local).map_err(failed("UDP", local))?;
        let tcp = bound(SocketType::STREAM, local).map_err(failed("TCP", local))?;
        rustix::net::listen(&tcp, BACKLOG).map_err(|errno| failed("TCP", local)(("listen on", errno)))?;
        Ok(Self { udp, tcp, server, local })
    }

    /// Where clients ask.
    pub fn local(&self) -> SocketAddr {
        self.local
    }
}

/// A step that failed, and how.
type Failed = (&'static str, Errno);

fn bound(kind: SocketType, address: SocketAddr) -> Result<OwnedFd, Failed> {
    let socket = socket(kind, address).map_err(|errno| ("open a socket for", errno))?;
    prepare(&socket, kind, address).map_err(|errno| ("prepare", errno))?;
    rustix::net::bind(&socket, &address).map_err(|errno| ("bind to", errno))?;
    Ok(socket)
}

fn prepare(socket: &OwnedFd, kind: SocketType, address: SocketAddr) -> Result<(), Errno> {
    // No address of lo can be bound to while it is down, and it is brought up after the sockets are made.
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(socket, true)?;
        sockopt::set_ipv6_freebind(socket, true)?;
    } else {
        sockopt::set_ip_freebind(socket, true)?;
    }
    if kind == SocketType::STREAM {
        // A predecessor's connections in TIME_WAIT do not matter. For UDP it would let a second socket steal datagrams.
        sockopt::set_socket_reuseaddr(socket, true)?;
    }
    Ok(())
}

fn local_address(socket: &OwnedFd, wanted: SocketAddr) -> Result<SocketAddr, Failed> {
    let local = rustix::net::getsockname(socket).map_err(|errno| ("name", errno))?;
    Ok(SocketAddr::try_from(local).unwrap_or(wanted))
}

/// A socket that never waits and that no program inherits, of the family of `address`.
pub(crate) fn socket(kind: SocketType, address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
}

/// Connections that wait to be accepted; more are asked again by their kernels.
const BACKLOG: i32 = 128;
