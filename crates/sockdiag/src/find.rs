//! The one socket that has some addresses.
//!
//! # Theory of operation
//! Without a dump: the kernel looks it up as it does for a packet that comes, so that a socket without peer, a listener or one of IPv6 that
//! speaks IPv4 is found, too. For UDP it wants both ends the other way round, "for historical reasons".
//!
//! # Kernel interface
//! `SOCK_DIAG_BY_FAMILY` without `NLM_F_DUMP`. For UDP since Linux 3.3, with the addresses as here since 5.8.
//!
//! # References
//! `inet_diag_find_one_icsk()` in net/ipv4/inet_diag.c; `udp_dump_one()` in net/ipv4/udp_diag.c.

use std::net::SocketAddr;

use neli::consts::nl::NlmF;
use nsntrace_netlink::{Batch, Family, Message, RequestError, Socket};
use rustix::io::Errno;

use crate::SockDiagError;
use crate::closing::{MESSAGE, REQUEST, SOCK_DIAG_BY_FAMILY};
use crate::sockid::{self, Protocol, SOCKID, SockId};

/// Asks about the sockets of the network namespace of the thread that opened it, wherever it is used.
#[derive(Debug)]
pub struct SockDiag(Socket);

/// A socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The kernel's name of it.
    pub cookie: u64,
    /// Its inode; 0 if no process has it.
    pub inode: u64,
    /// Its own address, which may be unspecified.
    pub local: SocketAddr,
    /// Its peer's; without a port, it has none.
    pub peer: SocketAddr,
}

impl SockDiag {
    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`SockDiagError::Netlink`]: `EMFILE` or `ENFILE` where there are no descriptors left.
    pub fn open() -> Result<Self, SockDiagError> {
        Ok(Self(Socket::open(Family::SockDiag).map_err(SockDiagError::Netlink)?))
    }

    /// The socket that would get a packet from `peer` to `local`, if there is one.
    ///
    /// # Errors
    /// [`SockDiagError::Unsupported`] where the kernel has no answer to such questions.
    pub fn find(
        &mut self,
        protocol: Protocol,
        local: SocketAddr,
        peer: SocketAddr,
    ) -> Result<Option<Found>, SockDiagError> {
        let mut request = Batch::new();
        let header = request_header(protocol, local, peer);
        request.request(SOCK_DIAG_BY_FAMILY, NlmF::empty(), &header, |_| {});
        let mut found = None;
        let answered = self.0.exchange(&request, |message| found = found.or(parse(message)));
        match answered {
            Ok(()) => Ok(found),
            // That there is none is said in the same words as that a module is missing; who asks once more is not worse off.
            Err(RequestError::Refused(refusal)) if refusal.errno == Errno::NOENT => Ok(None),
            Err(error) => Err(SockDiagError::new(error)),
        }
    }
}

/// `struct inet_diag_req_v2`: u8 family, u8 protocol, u8 ext, u8 pad, u32 states, addresses.
fn request_header(protocol: Protocol, local: SocketAddr, peer: SocketAddr) -> [u8; REQUEST] {
    let id = match protocol {
        Protocol::Tcp => sockid::query(local, peer),
        Protocol::Udp => sockid::query(peer, local),
    };
    let mut header = [0; REQUEST];
    header[..2].copy_from_slice(&[sockid::family(local.ip()), protocol.number()]);
    header[4..8].fill(0xff);
    header[8..].copy_from_slice(&id);
    header
}

/// `struct inet_diag_msg`: u8 family, u8 state, u8 timer, u8 retrans, addresses, then five u32, of which the last is the inode.
pub(crate) fn parse(message: Message<'_>) -> Option<Found> {
    if message.nlmsg_type() != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let (header, _) = message.split_header::<MESSAGE>()?;
    let [family, _state, _timer, _retrans, rest @ ..] = header;
    let SockId { src: local, dst: peer, cookie } = sockid::parse(*family, rest.first_chunk::<SOCKID>()?)?;
    Some(Found { cookie, inode: u32::from_ne_bytes(*header.last_chunk()?).into(), local, peer })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt as _;

    use nsntrace_testkit::{isolated, sh};
    use rustix::net::sockopt;

    use super::*;

    /// What the kernel says itself to whoever has the socket.
    fn of(socket: impl AsFd) -> (u64, u64) {
        let file = std::fs::File::from(socket.as_fd().try_clone_to_owned().unwrap());
        (sockopt::socket_cookie(&socket).unwrap(), file.metadata().unwrap().ino())
    }

    #[track_caller]
    fn find(protocol: Protocol, local: SocketAddr, peer: SocketAddr) -> Option<(u64, u64)> {
        let found = SockDiag::open().unwrap().find(protocol, local, peer).unwrap();
        found.map(|found| (found.cookie, found.inode))
    }

    #[test]
    fn a_connection_has_two_ends_and_a_listener() {
        isolated(|| {
            sh("ip link set lo up");
            for host in ["127.0.0.1:0", "[::1]:0"] {
                let listener = TcpListener::bind(host).unwrap();
                let server = listener.local_addr().unwrap();
                let stream = TcpStream::connect(server).unwrap();
                let client = stream.local_addr().unwrap();
                let (accepted, _) = listener.accept().unwrap();
                assert_eq!(find(Protocol::Tcp, client, server), Some(of(&stream)));
                assert_eq!(find(Protocol::Tcp, server, client), Some(of(&accepted)));
                let anybody = SocketAddr::new(client.ip(), 1);
                assert_eq!(find(Protocol::Tcp, server, anybody), Some(of(&listener)));
                assert_eq!(find(Protocol::Tcp, anybody, server), None);
            }
        });
    }

    #[test]
    fn a_socket_of_udp_is_found_with_and_without_peer() {
        isolated(|| {
            sh("ip link set lo up");
            let peer = "127.0.0.1:9".parse().unwrap();
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            let local = SocketAddr::new([127, 0, 0, 1].into(), socket.local_addr().unwrap().port());
            assert_eq!(find(Protocol::Udp, local, peer), Some(of(&socket)));
            socket.connect(peer).unwrap();
            assert_eq!(find(Protocol::Udp, local, peer), Some(of(&socket)));
            // One of IPv6 speaks IPv4.
            let socket = UdpSocket::bind("[::]:0").unwrap();
            let local = SocketAddr::new([127, 0, 0, 1].into(), socket.local_addr().unwrap().port());
            assert_eq!(find(Protocol::Udp, local, peer), Some(of(&socket)));
        });
    }
}
