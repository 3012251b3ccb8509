//! Sockets that go.
//!
//! # Theory of operation
//! The kernel announces each socket of TCP and UDP that is destroyed, with its addresses and its cookie; those that nobody ever asked about, too. An inode it does not
//! have any more. It does so from a queue of work, a moment later.
//!
//! # Kernel interface
//! `SKNLGRP_INET_TCP_DESTROY` and its like of IPv6 and UDP: `NETLINK_SOCK_DIAG` groups 1 to 4. `CAP_NET_ADMIN` over the network namespace, Linux 4.3.
//!
//! # References
//! `sock_diag_broadcast_destroy_work()` in net/core/sock_diag.c; `include/uapi/linux/sock_diag.h`.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use nsntrace_netlink::{Family, Heard, Message, Subscription};

use crate::SockDiagError;
use crate::closing::{MESSAGE, SOCK_DIAG_BY_FAMILY};
use crate::sockid::{self, Protocol, SOCKID, SockId};

/// A socket that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// What it spoke.
    pub protocol: Protocol,
    /// Its own address when it went; without a port it was never used.
    pub local: SocketAddr,
    /// Its peer's; without a port, it had none.
    pub peer: SocketAddr,
    /// The kernel's name of it.
    pub cookie: u64,
}

/// Hears of sockets that go, of the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Departures {
    subscription: Subscription,
}

impl Departures {
    /// Hears from now on.
    ///
    /// # Errors
    /// [`SockDiagError::Netlink`]: `EPERM` without `CAP_NET_ADMIN`; `EPROTONOSUPPORT` where the kernel does not have it.
    pub fn open() -> Result<Self, SockDiagError> {
        let subscription =
            Subscription::to(Family::SockDiag, &[1, 2, 3, 4]).map_err(SockDiagError::Netlink)?;
        subscription.set_room(ROOM);
        Ok(Self { subscription })
    }

    /// Shows each that has gone since the last time. Never blocks. What there was no room for is not shown: [`Heard::NotEverything`].
    ///
    /// # Errors
    /// [`SockDiagError::Netlink`].
    pub fn drain(&mut self, mut on_departure: impl FnMut(Departure)) -> Result<Heard, SockDiagError> {
        let heard = self.subscription.drain(|message| parse(message).into_iter().for_each(&mut on_departure));
        heard.map_err(SockDiagError::Netlink)
    }
}

/// For poll: readable where one has gone.
impl AsFd for Departures {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.subscription.as_fd()
    }
}

/// `struct inet_diag_msg`, then attributes, of which `INET_DIAG_PROTOCOL` is one byte.
pub(crate) fn parse(message: Message<'_>) -> Option<Departure> {
    if message.nlmsg_type() != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let (header, attributes) = message.split_header::<MESSAGE>()?;
    let protocol = attributes.get(INET_DIAG_PROTOCOL)?.u8()?;
    let protocol = [Protocol::Tcp, Protocol::Udp].into_iter().find(|known| known.number() == protocol)?;
    let [family, _state, _timer, _retrans, rest @ ..] = header;
    let SockId { src: local, dst: peer, cookie } = sockid::parse(*family, rest.first_chunk::<SOCKID>()?)?;
    Some(Departure { protocol, local, peer, cookie })
}

/// `include/uapi/linux/inet_diag.h`.
const INET_DIAG_PROTOCOL: u16 = 10;
/// Of announcements that wait, bytes: some thousand.
const ROOM: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use nsntrace_testkit::{eventually, isolated, sh};
    use rustix::net::sockopt;

    use super::*;

    #[test]
    fn each_socket_says_farewell() {
        isolated(|| {
            sh("ip link set lo up");
            let mut departures = Departures::open().unwrap();
            let mut heard = Vec::new();
            let mut expect = |protocol, local: SocketAddr, peer: SocketAddr, cookie| {
                let departure = Departure { protocol, local, peer, cookie };
                eventually(|| {
                    departures.drain(|one| heard.push(one)).unwrap();
                    heard.contains(&departure)
                });
            };
            let nobody = "0.0.0.0:0".parse().unwrap();
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let (local, cookie) = (socket.local_addr().unwrap(), sockopt::socket_cookie(&socket).unwrap());
            drop(socket);
            expect(Protocol::Udp, local, nobody, cookie);
            let listener = TcpListener::bind("[::1]:0").unwrap();
            let server = listener.local_addr().unwrap();
            let stream = TcpStream::connect(server).unwrap();
            let (client, cookie) = (stream.local_addr().unwrap(), sockopt::socket_cookie(&stream).unwrap());
            drop((listener.accept().unwrap(), stream));
            expect(Protocol::Tcp, client, server, cookie);
        });
    }

    #[test]
    fn what_there_is_no_room_for_is_told() {
        isolated(|| {
            sh("ip link set lo up");
            let mut departures = Departures::open().unwrap();
            let go = || drop(UdpSocket::bind("127.0.0.1:0").unwrap());
            let mut count = 0;
            let mut hear = |departures: &mut Departures| {
                let heard = departures.drain(|_| count += 1).unwrap();
                (heard, count)
            };
            go();
            eventually(|| hear(&mut departures) == (Heard::Everything, 1));
            // As little as a socket may have: two kilobytes or so.
            departures.subscription.set_room(0);
            for _ in 0..100 {
                go();
            }
            let mut latest = (Heard::Everything, 0);
            eventually(|| {
                latest = hear(&mut departures);
                latest.0 == Heard::NotEverything
            });
            assert!(latest.1 < 101, "{latest:?}");
            // From then on all is heard again.
            eventually(|| hear(&mut departures).0 == Heard::Everything);
            let before = hear(&mut departures).1;
            go();
            eventually(|| hear(&mut departures) == (Heard::Everything, before + 1));
        });
    }
}
