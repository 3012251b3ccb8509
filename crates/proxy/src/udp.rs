//! UDP flows.

use std::os::fd::OwnedFd;
use std::time::Instant;

use nsntrace_reactor::Key;
use rustix::net::SocketType;

use crate::ProxyError;
use crate::engine::Context;
use crate::inside::{port, transparent};
use crate::maker::Maker;

/// The socket in r where datagrams arrive that belong to no flow yet.
#[derive(Debug)]
pub(crate) struct Doorway {
    port: u16,
    _socket: OwnedFd,
}

impl Doorway {
    /// Opens it in the network namespace of the calling thread.
    pub(crate) fn open() -> Result<Self, ProxyError> {
        let socket = transparent(SocketType::DGRAM)?;
        let any = std::net::SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 0));
        rustix::net::bind(&socket, &any).map_err(ProxyError::inside("choose a port"))?;
        Ok(Self { port: port(&socket)?, _socket: socket })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

/// All flows of the program.
#[derive(Debug)]
pub(crate) struct Flows;

impl Flows {
    #[expect(clippy::unnecessary_wraps, reason = "the sockets are yet to be watched")]
    pub(crate) fn new(_doorway: Doorway, _maker: Maker, _context: &Context) -> Result<Self, ProxyError> {
        Ok(Self)
    }

    /// The doorway is readable.
    pub(crate) fn datagrams(&mut self, _context: &mut Context) {}

    /// The program's side of a flow is readable.
    pub(crate) fn inside(&mut self, _key: Key, _context: &mut Context) {}

    /// The peer's side of a flow is readable, or has an error.
    pub(crate) fn outside(&mut self, _key: Key, _context: &mut Context) {}

    /// Sockets have been made.
    pub(crate) fn made(&mut self, _context: &mut Context) {}

    /// Ends what is too old. Called about once a second while there is something.
    pub(crate) fn tick(&mut self, _now: Instant, _context: &mut Context) {}

    /// Whether there is something that can become too old.
    pub(crate) fn is_waiting(&self) -> bool {
        false
    }
}
