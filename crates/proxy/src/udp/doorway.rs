//! Where datagrams arrive that belong to no flow yet.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nsntrace_sys::{Datagram, Detail, receive_datagram, tell};
use rustix::io::Errno;
use rustix::net::{SocketType, sockopt};

use super::flow::Ends;
use crate::ProxyError;
use crate::families::Families;
use crate::inside::port;

/// The socket in r that TPROXY sends datagrams to.
#[derive(Debug)]
pub(crate) struct Doorway {
    socket: OwnedFd,
    port: u16,
    room: u64,
}

/// A datagram of the program.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) ends: Ends,
    pub(super) datagram: Datagram,
}

impl Doorway {
    /// Opens it in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`ProxyError::Inside`].
    pub(crate) fn open(families: Families) -> Result<Self, ProxyError> {
        let socket = families.transparent(SocketType::DGRAM)?;
        for family in families.each() {
            for detail in [Detail::OriginalDestination, Detail::Ttl, Detail::FragmentLen] {
                tell(socket.as_fd(), *family, detail)
                    .map_err(ProxyError::inside("ask where datagrams were sent to"))?;
            }
        }
        rustix::net::bind(&socket, &families.any()).map_err(ProxyError::inside("choose a port"))?;
        // Hundreds of flows may begin at once. Where it is granted in part, that will do.
        let _ = sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER);
        let room = sockopt::socket_recv_buffer_size(&socket).map_err(ProxyError::inside("ask for a size"))?;
        Ok(Self { port: port(&socket)?, room: (room / LEAST_MEMORY) as u64, socket })
    }

    /// Its port, for every family.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The most datagrams that wait here at any time.
    pub(super) fn room(&self) -> u64 {
        self.room
    }

    /// Receives a datagram. `None`: its addresses are not known, which the kernel sees to that they are.
    ///
    /// # Errors
    /// `EAGAIN`: there is none.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> Result<Option<Arrival>, Errno> {
        let datagram = receive_datagram(self.socket.as_fd(), buffer)?;
        Ok(Ends::of(&datagram).map(|ends| Arrival { ends, datagram }))
    }
}

impl AsFd for Doorway {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

const RECEIVE_BUFFER: usize = 4 << 20;
/// What the kernel counts for the smallest datagram, in bytes; in truth it is more (`SKB_TRUESIZE(1)` in include/linux/skbuff.h).
const LEAST_MEMORY: usize = 512;
