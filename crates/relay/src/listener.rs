//! Where clients ask: one address, UDP and TCP.
//!
//! A socket belongs to the network namespace of the thread that made it, and may be bound from any other. That matters,
//! for an address of the loopback device can only be bound to once that device is up. (`IP_FREEBIND` looks like a way
//! out and is none: before the namespace has a local routing table the kernel takes the address for a broadcast one, and
//! answers from another: `__inet_bind()` in net/ipv4/af_inet.c.)
//!
//! # Kernel interface
//! `socket(2)`, `bind(2)`, `listen(2)`; `IPV6_V6ONLY`, `SO_REUSEADDR`. `CAP_NET_BIND_SERVICE` over the namespace for
//! port 53.
//!
//! # References
//! ip(7); ipv6(7); socket(7).

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::RelayError;

/// Two sockets that will listen on one address, in the network namespace of the thread that opened them.
#[derive(Debug)]
pub struct Unbound {
    udp: OwnedFd,
    tcp: OwnedFd,
    local: SocketAddr,
    server: SocketAddr,
}

/// Two sockets that listen on one address.
#[derive(Debug)]
pub struct Listener {
    pub(crate) udp: OwnedFd,
    pub(crate) tcp: OwnedFd,
    pub(crate) server: SocketAddr,
    local: SocketAddr,
}

impl Unbound {
    /// Opens sockets for port 53 of `address`, in the calling thread's network namespace. The server is port 53 of the
    /// same address, in the namespace of whoever serves the relay.
    ///
    /// # Errors
    /// [`RelayError::Listen`]: `EAFNOSUPPORT` for an IPv6 address on a kernel without.
    pub fn open(address: IpAddr) -> Result<Self, RelayError> {
        let address = SocketAddr::new(address, 53);
        Self::between(address, address)
    }

    /// Opens sockets that will listen on `local` for `server`. Port 0 is one that the kernel chooses.
    ///
    /// # Errors
    /// As [`Unbound::open`].
    pub fn between(local: SocketAddr, server: SocketAddr) -> Result<Self, RelayError> {
        let open = |kind| prepared(kind, local).map_err(failed("open a socket for", transport(kind), local));
        Ok(Self { udp: open(SocketType::DGRAM)?, tcp: open(SocketType::STREAM)?, local, server })
    }

    /// Listens. The loopback device of the sockets' namespace is up by now; which thread calls does not matter.
    ///
    /// # Errors
    /// [`RelayError::Listen`]: `EADDRNOTAVAIL` if the device with the address is down, `EADDRINUSE` if somebody listens
    /// there already, `EACCES` without `CAP_NET_BIND_SERVICE` over the namespace.
    pub fn listen(self) -> Result<Listener, RelayError> {
        let Self { udp, tcp, mut local, server } = self;
        rustix::net::bind(&udp, &local).map_err(failed("bind to", "UDP", local))?;
        if local.port() == 0 {
            let name = rustix::net::getsockname(&udp).map_err(failed("name", "UDP", local))?;
            local = SocketAddr::try_from(name).unwrap_or(local);
        }
        rustix::net::bind(&tcp, &local).map_err(failed("bind to", "TCP", local))?;
        rustix::net::listen(&tcp, BACKLOG).map_err(failed("listen on", "TCP", local))?;
        Ok(Listener { udp, tcp, server, local })
    }
}

impl Listener {
    /// Where clients ask.
    pub fn local(&self) -> SocketAddr {
        self.local
    }
}

fn transport(kind: SocketType) -> &'static str {
    if kind == SocketType::DGRAM { "UDP" } else { "TCP" }
}

fn failed(
    step: &'static str,
    transport: &'static str,
    address: SocketAddr,
) -> impl FnOnce(Errno) -> RelayError {
    move |source| RelayError::Listen { step, transport, address, source }
}

fn prepared(kind: SocketType, address: SocketAddr) -> Result<OwnedFd, Errno> {
    let socket = socket(kind, address)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if kind == SocketType::STREAM {
        // A predecessor's connections in TIME_WAIT do not matter. For UDP it would let a second socket steal datagrams.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    Ok(socket)
}

/// A socket that never waits and that no program inherits, of the family of `address`.
pub(crate) fn socket(kind: SocketType, address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
}

/// Connections that wait to be accepted; more are asked again by their kernels.
const BACKLOG: i32 = 128;
