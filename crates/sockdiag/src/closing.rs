//! TCP connections without a process.
//!
//! # Theory of operation
//! When the last descriptor of a connection is closed, the kernel keeps the connection until it is over (RFC
//! 9293, section 3.6), and its inode number becomes 0. Of the states that such a connection can be in, three
//! still have data or a FIN of ours to get acknowledged. `FIN-WAIT-2` has not: it waits for the other end's
//! FIN, which may never come, so it is counted apart. `TIME-WAIT` says nothing of its own accord, and is not
//! counted.
//!
//! ```text
//! close() first: ESTABLISHED -> FIN-WAIT-1 -> FIN-WAIT-2 -> TIME-WAIT        both at once: FIN-WAIT-1 ->
//! CLOSING -> TIME-WAIT close() last:  CLOSE-WAIT  -> LAST-ACK   -> gone
//! ```
//!
//! A kernel without `CONFIG_INET_DIAG` is asked for the whole table as text. The files are opened with the socket: an open file of `/proc/net`
//! stays that of the namespace in which it was opened.
//!
//! # Kernel interface
//! `SOCK_DIAG_BY_FAMILY` with `struct inet_diag_req_v2`, answered by `struct inet_diag_msg`. No privilege.
//! Linux 3.3, `CONFIG_INET_DIAG`. A dump walks the whole machine's table of connections: 1.5 to 2 ms at
//! least. Else `/proc/thread-self/net/tcp` and `tcp6`.
//!
//! # References
//! `sock_diag(7)`; `include/uapi/linux/inet_diag.h`; `net/ipv4/inet_diag.c`; `proc_net(5)`; ss(8).

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use neli::consts::rtnl::RtAddrFamily;
use nsntrace_netlink::{Batch, Family, Message, Socket};

use crate::sockid::SOCKID;
use crate::{SockDiagError, table::Table};

/// Asks about the sockets of the network namespace of the thread that opened it, wherever it is used.
#[derive(Debug)]
pub struct SockDiag {
    pub(crate) socket: Socket,
    /// Without IPv6 there is one, without procfs none.
    tables: Vec<Table>,
    /// Whether the kernel has said that it does not know such questions.
    is_unsupported: bool,
}

/// How many TCP connections no process has any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closing {
    /// In `FIN-WAIT-1`, `CLOSING` or `LAST-ACK`: something of ours is not acknowledged yet.
    pub talking: usize,
    /// In `FIN-WAIT-2`: all of ours is acknowledged, and the other end has not closed.
    pub listening: usize,
}

impl SockDiag {
    /// Opens a socket, and procfs' tables, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`SockDiagError::Netlink`]: `EMFILE` or `ENFILE` where there are no descriptors left.
    pub fn open() -> Result<Self, SockDiagError> {
        let socket = Socket::open(Family::SockDiag).map_err(SockDiagError::Netlink)?;
        Ok(Self { socket, tables: Table::open_all(), is_unsupported: false })
    }

    /// Counts the TCP connections, IPv4 and IPv6, that no process has and that are not over, as
    /// `ss -tane state fin-wait-1 state closing state last-ack state fin-wait-2` lists them without an `ino`.
    ///
    /// # Errors
    /// [`SockDiagError::Unsupported`] where the kernel cannot list sockets, and procfs cannot either.
    pub fn closing_tcp(&mut self) -> Result<Closing, SockDiagError> {
        self.closing(IPPROTO_TCP)
    }

    /// Whether this kernel has turned out to have no answer, so that procfs is read instead.
    pub fn reads_procfs(&self) -> bool {
        self.is_unsupported
    }

    fn closing(&mut self, protocol: u8) -> Result<Closing, SockDiagError> {
        // The kernel would look for the module again, each time.
        if !self.is_unsupported {
            match self.ask(protocol) {
                Err(SockDiagError::Unsupported(_)) if !self.tables.is_empty() => self.is_unsupported = true,
                answered => return answered,
            }
        }
        self.read().map_err(SockDiagError::Table)
    }

    fn ask(&mut self, protocol: u8) -> Result<Closing, SockDiagError> {
        let mut closing = Closing::default();
        for af in [RtAddrFamily::Inet, RtAddrFamily::Inet6].map(u8::from) {
            let mut request = Batch::new();
            request.dump(SOCK_DIAG_BY_FAMILY, &request_header(af, protocol), |_| {});
            let states = self.socket.dump(&request, |message| orphan_state(message, af));
            for state in states.map_err(SockDiagError::new)? {
                closing.count(state);
            }
        }
        Ok(closing)
    }

    fn read(&mut self) -> io::Result<Closing> {
        let mut closing = Closing::default();
        for table in &mut self.tables {
            table.orphan_states()?.into_iter().for_each(|state| closing.count(state));
        }
        Ok(closing)
    }
}

impl AsRawFd for SockDiag {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Closing {
    /// Whether every connection without a process is over.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    fn count(&mut self, state: u8) {
        match state {
            TCP_FIN_WAIT1 | TCP_CLOSING | TCP_LAST_ACK => self.talking += 1,
            TCP_FIN_WAIT2 => self.listening += 1,
            _ => {}
        }
    }
}

/// `struct inet_diag_req_v2`: u8 family, u8 protocol, u8 ext, u8 pad, u32 states, and a `struct
/// inet_diag_sockid`, which a dump leaves empty.
fn request_header(af: u8, protocol: u8) -> [u8; REQUEST] {
    let states = [TCP_FIN_WAIT1, TCP_FIN_WAIT2, TCP_LAST_ACK, TCP_CLOSING];
    let mask = states.iter().fold(0_u32, |mask, state| mask | 1 << state);
    let mut header = [0; REQUEST];
    header[..2].copy_from_slice(&[af, protocol]);
    header[4..8].copy_from_slice(&mask.to_ne_bytes());
    header
}

/// The state of a connection without a process.
///
/// `struct inet_diag_msg`: u8 family, u8 state, u8 timer, u8 retrans, `struct inet_diag_sockid`, then five
/// u32, of which the last is the inode.
pub(crate) fn orphan_state(message: Message<'_>, af: u8) -> Option<u8> {
    if message.nlmsg_type() != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let (header, _) = message.split_header::<MESSAGE>()?;
    let [family, state, ..] = *header;
    let inode = u32::from_ne_bytes(*header.last_chunk()?);
    (family == af && inode == 0).then_some(state)
}

/// `linux/sock_diag.h`
pub(crate) const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// linux/in.h
pub(crate) const IPPROTO_TCP: u8 = 6;
/// Bytes of `struct inet_diag_req_v2` (`linux/inet_diag.h`).
pub(crate) const REQUEST: usize = 8 + SOCKID;
/// Bytes of `struct inet_diag_msg` (`linux/inet_diag.h`).
pub(crate) const MESSAGE: usize = 4 + SOCKID + 20;

/// `net/tcp_states.h`
const TCP_FIN_WAIT1: u8 = 4;
/// `net/tcp_states.h`
const TCP_FIN_WAIT2: u8 = 5;
/// `net/tcp_states.h`
const TCP_LAST_ACK: u8 = 9;
/// `net/tcp_states.h`
const TCP_CLOSING: u8 = 11;

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use nsntrace_testkit::{Netns, eventually, isolated, sh};

    use super::*;

    #[test]
    fn a_request_asks_for_four_states() {
        let header = request_header(10, IPPROTO_TCP);
        assert_eq!((header.len(), header[..4].to_vec()), (56, vec![10, 6, 0, 0]));
        // ss -t with these states sends the same: bits 4, 5, 9 and 11.
        assert_eq!(header[4..8], 0x0a30_u32.to_ne_bytes());
        assert!(header[8..].iter().all(|byte| *byte == 0));
    }

    /// To the kernel a protocol without a module is what TCP is without `tcp_diag`.
    #[test]
    fn a_kernel_that_cannot_be_asked_is_read_from() {
        let protocol_for_experiments = 253;
        let mut sockets = SockDiag::open().unwrap();
        let asked = sockets.ask(protocol_for_experiments);
        assert!(matches!(asked, Err(SockDiagError::Unsupported(_))), "{asked:?}");
        // Of the tables TCP's are the only ones.
        assert!(sockets.closing(protocol_for_experiments).is_ok() && sockets.is_unsupported);
        let mut sockets = SockDiag { tables: Vec::new(), ..SockDiag::open().unwrap() };
        let closing = sockets.closing(protocol_for_experiments);
        assert!(matches!(closing, Err(SockDiagError::Unsupported(_))), "{closing:?}");
    }

    #[test]
    fn tables_say_what_the_kernel_answers_and_of_where_they_were_opened() {
        isolated(|| {
            sh("ip link set lo up");
            let other = Netns::new();
            let mut sockets = SockDiag::open().unwrap();
            let listener = TcpListener::bind("[::]:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            // Closed at once by the near ends; the far ones stay open.
            let _far = ["127.0.0.1", "::1"].map(|address| {
                TcpStream::connect((address, port)).unwrap();
                listener.accept().unwrap()
            });
            let expected = Closing { talking: 0, listening: 2 };
            eventually(|| sockets.ask(IPPROTO_TCP).unwrap() == expected);
            assert_eq!(sockets.read().unwrap(), expected);
            let (here, there) = other.inside(|| (sockets.read(), SockDiag::open().unwrap().read()));
            assert_eq!((here.unwrap(), there.unwrap()), (expected, Closing::default()));
        });
    }

    #[test]
    fn states_are_counted_by_what_they_wait_for() {
        let mut closing = Closing::default();
        assert!(closing.is_empty());
        for state in 0..16 {
            closing.count(state);
        }
        assert_eq!(closing, Closing { talking: 3, listening: 1 });
    }
}
