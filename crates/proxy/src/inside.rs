//! What is opened in the router's namespace.
//!
//! # Kernel interface
//! `socket(AF_INET6)` for both families, where there is no IPv6 `socket(AF_INET)`; `IP_TRANSPARENT`; `socket(AF_PACKET)`. `CAP_NET_ADMIN` and
//! `CAP_NET_RAW` over the namespace. Linux 4.19 for the rules that lead here.
//!
//! # References
//! Documentation/networking/tproxy.rst; ip(7); packet(7).

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nsntrace_sys::PacketSocket;
use rustix::net::{SocketType, sockopt};

use crate::families::Families;
use crate::gate::Gate;
use crate::maker::Maker;
use crate::udp::Doorway;
use crate::{Config, ProxyError};

/// What is opened in the router's namespace r, by a thread that is there for a moment.
///
/// Rules in r lead to it: TPROXY sends what is named at [`Inside::tcp_port`] and [`Inside::udp_port`] there.
#[derive(Debug)]
pub struct Inside {
    pub(crate) listener: OwnedFd,
    pub(crate) gate: Gate,
    /// Sends frames on the loopback device.
    pub(crate) loopback: PacketSocket,
    /// Sends frames to the program.
    pub(crate) outlet: PacketSocket,
    pub(crate) doorway: Doorway,
    pub(crate) maker: Maker,
    tcp_port: u16,
}

impl Inside {
    /// Opens the sockets in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`ProxyError::Inside`].
    pub fn open() -> Result<Self, ProxyError> {
        let families = Families::of_this_kernel();
        let listener = listener(families)?;
        let tcp_port = port(&listener)?;
        Ok(Self {
            listener,
            gate: Gate::open()?,
            loopback: PacketSocket::open().map_err(ProxyError::inside("open a packet socket"))?,
            outlet: PacketSocket::open().map_err(ProxyError::inside("open a packet socket"))?,
            doorway: Doorway::open(families)?,
            maker: Maker::start(families)?,
            tcp_port,
        })
    }

    /// Where TPROXY must send TCP that comes in by the loopback device, for every family.
    pub fn tcp_port(&self) -> u16 {
        self.tcp_port
    }

    /// Where TPROXY must send UDP that comes in by the veth, for every family.
    pub fn udp_port(&self) -> u16 {
        self.doorway.port()
    }

    /// Names the links, which exist by now and are up.
    pub(crate) fn bind(&self, config: &Config) -> Result<(), ProxyError> {
        self.loopback.bind_link(LOOPBACK, 0).map_err(ProxyError::inside("send by the loopback device"))?;
        self.outlet.bind_link(config.ifindex, 0).map_err(ProxyError::inside("send by the veth"))?;
        self.gate.bind(config.ifindex)
    }
}

/// The port that the kernel chose.
pub(crate) fn port(socket: &OwnedFd) -> Result<u16, ProxyError> {
    let address = rustix::net::getsockname(socket).map_err(ProxyError::inside("name a socket"))?;
    let address = SocketAddr::try_from(address).map_err(ProxyError::inside("name a socket"))?;
    Ok(address.port())
}

fn listener(families: Families) -> Result<OwnedFd, ProxyError> {
    let socket = families.transparent(SocketType::STREAM)?;
    // What is accepted inherits these. No segment waits for another, and urgent bytes stay where they were written.
    sockopt::set_tcp_nodelay(&socket, true).map_err(ProxyError::inside("set TCP_NODELAY"))?;
    sockopt::set_socket_oobinline(&socket, true).map_err(ProxyError::inside("set SO_OOBINLINE"))?;
    // To a device without loss, and without a rate of its own: whatever paces is slower (the namespace has what the host has, which may be BBR).
    let _ = sockopt::set_tcp_congestion(&socket, "reno");
    rustix::net::bind(&socket, &families.any()).map_err(ProxyError::inside("choose a port"))?;
    rustix::net::listen(&socket, BACKLOG).map_err(ProxyError::inside("listen"))?;
    // For a program's half that nothing is heard of any more (`Joined::probe`).
    sockopt::set_tcp_keepidle(&socket, PROBE_AFTER).map_err(ProxyError::inside("set TCP_KEEPIDLE"))?;
    Ok(socket)
}

/// Linux forgets a closed socket whose peer is silent after a minute (net.ipv4.tcp_fin_timeout).
const PROBE_AFTER: Duration = Duration::from_secs(75);
/// The loopback device is the first of each namespace: `LOOPBACK_IFINDEX` of include/net/flow.h.
const LOOPBACK: u32 = 1;
/// The kernel takes the lesser of this and net.core.somaxconn.
const BACKLOG: i32 = 4096;
