//! A connection that the program wants and does not have yet.
//!
//! # Kernel interface
//! `socket(2)`, `connect(2)`, `getpeername(2)`, `SO_BINDTODEVICE`, `SO_KEEPALIVE`, `TCP_NODELAY`, `SO_OOBINLINE`, `SO_ERROR`.
//!
//! # References
//! connect(2), `EINPROGRESS`; tcp(7).

use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};

use nsntrace_sys::bind_to_device;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::wire::{Packet, Syn};

/// A connection that the program wants and does not have yet.
#[derive(Debug)]
pub(crate) struct Pending {
    /// To the peer.
    pub(crate) upstream: OwnedFd,
    /// The SYN that came last.
    wish: Wish,
    pub(crate) is_granted: bool,
    /// The peer said yes, and then that it wants no more.
    pub(crate) is_lost: bool,
}

/// A SYN, kept until it is answered.
#[derive(Debug)]
pub(crate) struct Wish {
    frame: Vec<u8>,
}

impl Wish {
    pub(crate) fn new(syn: &Syn<'_>) -> Self {
        let packet = syn.packet();
        Self { frame: packet.link.frame(packet.bytes) }
    }

    /// Reads it again.
    pub(crate) fn syn(&self) -> Option<Syn<'_>> {
        Syn::read(Packet::read(&self.frame)?)
    }
}

impl Pending {
    pub(crate) fn new(upstream: OwnedFd, wish: Wish) -> Self {
        Self { upstream, wish, is_granted: false, is_lost: false }
    }

    /// Takes note of a SYN that came after the first: the time in its options is newer, or it is of another socket of the
    /// program.
    pub(crate) fn renew(&mut self, wish: Wish) {
        self.wish = wish;
    }

    pub(crate) fn wish(&self) -> &Wish {
        &self.wish
    }

    /// Whether the peer has answered, and what.
    pub(crate) fn answer(&self, is_writable: bool) -> Option<Result<(), Errno>> {
        match sockopt::socket_error(&self.upstream) {
            Ok(Ok(())) => is_writable.then_some(Ok(())),
            Ok(Err(errno)) | Err(errno) => Some(Err(errno)),
        }
    }
}

/// Whether the peer had said yes before it was gone: a no is `ECONNREFUSED`. See `tcp_reset()` in net/ipv4/tcp_input.c.
pub(crate) fn had_connected(errno: Errno) -> bool {
    matches!(errno, Errno::CONNRESET | Errno::PIPE)
}

/// Begins to connect to the peer. `true`: it has been done already.
pub(crate) fn connect(peer: SocketAddr, device: Option<&str>) -> Result<(OwnedFd, bool), Errno> {
    let family = if peer.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    if let Some(device) = device {
        bind_to_device(socket.as_fd(), device)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::NODEV))?;
    }
    prepare(&socket);
    match rustix::net::connect(&socket, &peer) {
        Ok(()) => Ok((socket, true)),
        // A peer on this machine has answered within the call. One that refuses is told apart later.
        Err(Errno::INPROGRESS) => {
            let is_connected = rustix::net::getpeername(&socket).is_ok();
            Ok((socket, is_connected))
        }
        Err(errno) => Err(errno),
    }
}

/// What fails here makes a slower connection, or one whose end is noticed later: still one.
fn prepare(socket: &OwnedFd) {
    // The program has decided by itself how much it writes at once.
    let _ = sockopt::set_tcp_nodelay(socket, true);
    // Urgent bytes stay where they were written.
    let _ = sockopt::set_socket_oobinline(socket, true);
    // The program's own probes are answered in r. So the host's settings decide when a silent peer is given up.
    let _ = sockopt::set_socket_keepalive(socket, true);
}
