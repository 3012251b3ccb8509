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
//! To list them the kernel walks the whole machine's table of connections, which takes 2 ms where that is large. That there has been
//! no connection, it tells for next to nothing: see [`Mib`]. Else it walks, once for both families, which only the older of its two requests
//! can ask for.
//!
//! A kernel without `CONFIG_INET_DIAG` is asked for the whole table as text. The files are opened with the socket: an open file of `/proc/net`
//! stays that of the namespace in which it was opened.
//!
//! # Kernel interface
//! `TCPDIAG_GETSOCK` with `struct inet_diag_req`, answered by `struct inet_diag_msg`. No privilege.
//! Linux 2.6.14, `CONFIG_INET_DIAG`. Else `/proc/thread-self/net/tcp` and `tcp6`.
//!
//! # References
//! `sock_diag(7)`; `include/uapi/linux/inet_diag.h`; `net/ipv4/inet_diag.c`; `proc_net(5)`; ss(8).

use std::io;

use nsntrace_netlink::{Batch, Family, Message, Socket};

use crate::sockid::SOCKID;
use crate::{SockDiagError, mib::Mib, table::Table};

/// Counts the connections without a process in the network namespace of the thread that opened it, wherever it is used.
#[derive(Debug)]
pub struct Orphans {
    socket: Socket,
    /// None without procfs.
    mib: Option<Mib>,
    /// What that had counted when it was last said that there are none.
    opens: Option<u64>,
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

impl Orphans {
    /// Opens a socket, and procfs' tables, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`SockDiagError::Netlink`]: `EMFILE` or `ENFILE` where there are no descriptors left.
    pub fn open() -> Result<Self, SockDiagError> {
        let socket = Socket::open(Family::SockDiag).map_err(SockDiagError::Netlink)?;
        Ok(Self { socket, mib: Mib::open(), opens: None, tables: Table::open_all(), is_unsupported: false })
    }

    /// Says that there are none: whatever was begun up to now is over, or not to be waited for. As long as none is begun, [`count`](Self::count)
    /// has nothing to do.
    pub fn begin(&mut self) {
        self.opens = self.opens_now();
    }

    fn opens_now(&self) -> Option<u64> {
        self.mib.as_ref().and_then(Mib::opens)
    }

    /// Counts those, of IPv4 and IPv6, that are not over, as
    /// `ss -tane state fin-wait-1 state closing state last-ack state fin-wait-2` lists them without an `ino`.
    ///
    /// # Errors
    /// [`SockDiagError::Unsupported`] where the kernel cannot list sockets, and procfs cannot either.
    pub fn count(&mut self) -> Result<Closing, SockDiagError> {
        if self.opens.is_some() && self.opens == self.opens_now() {
            return Ok(Closing::default());
        }
        self.list()
    }

    /// Whether the kernel lists sockets when it is asked; else procfs does.
    ///
    /// # Errors
    /// As those of [`count`](Self::count).
    pub fn can_ask(&mut self) -> Result<bool, SockDiagError> {
        self.list()?;
        Ok(!self.is_unsupported)
    }

    fn list(&mut self) -> Result<Closing, SockDiagError> {
        // The kernel would look for the module again, each time.
        if self.is_unsupported {
            return self.read();
        }
        let asked = self.ask();
        self.or_read(asked)
    }

    /// What the kernel said; where it has no answer, what procfs has, from now on.
    fn or_read(&mut self, asked: Result<Closing, SockDiagError>) -> Result<Closing, SockDiagError> {
        if !matches!(asked, Err(SockDiagError::Unsupported(_))) || self.tables.is_empty() {
            return asked;
        }
        self.is_unsupported = true;
        self.read()
    }

    fn ask(&mut self) -> Result<Closing, SockDiagError> {
        let mut request = Batch::new();
        request.dump(TCPDIAG_GETSOCK, &request_header(), |_| {});
        let states = self.socket.dump(&request, orphan_state).map_err(SockDiagError::new)?;
        Ok(Closing::of(states))
    }

    fn read(&mut self) -> Result<Closing, SockDiagError> {
        let states: io::Result<Vec<_>> = self.tables.iter_mut().map(Table::orphan_states).collect();
        Ok(Closing::of(states.map_err(SockDiagError::Table)?.into_iter().flatten()))
    }
}

impl Closing {
    /// Whether every connection without a process is over.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    fn of(states: impl IntoIterator<Item = u8>) -> Self {
        let mut closing = Self::default();
        for state in states {
            match state {
                TCP_FIN_WAIT1 | TCP_CLOSING | TCP_LAST_ACK => closing.talking += 1,
                TCP_FIN_WAIT2 => closing.listening += 1,
                _ => {}
            }
        }
        closing
    }
}

/// `struct inet_diag_req`: u8 family, u8 src_len, u8 dst_len, u8 ext, a `struct inet_diag_sockid`, u32 states, u32 dbs. But for the
/// states a dump leaves it empty.
fn request_header() -> [u8; OLD_REQUEST] {
    let states = [TCP_FIN_WAIT1, TCP_FIN_WAIT2, TCP_LAST_ACK, TCP_CLOSING];
    let mask = states.iter().fold(0_u32, |mask, state| mask | 1 << state);
    let mut header = [0; OLD_REQUEST];
    header[4 + SOCKID..8 + SOCKID].copy_from_slice(&mask.to_ne_bytes());
    header
}

/// The state of a connection without a process.
///
/// `struct inet_diag_msg`: u8 family, u8 state, u8 timer, u8 retrans, `struct inet_diag_sockid`, then five
/// u32, of which the last is the inode.
pub(crate) fn orphan_state(message: Message<'_>) -> Option<u8> {
    if message.nlmsg_type() != TCPDIAG_GETSOCK {
        return None;
    }
    let (header, _) = message.split_header::<MESSAGE>()?;
    let [_family, state, ..] = *header;
    let inode = u32::from_ne_bytes(*header.last_chunk()?);
    (inode == 0).then_some(state)
}

/// `linux/inet_diag.h`
const TCPDIAG_GETSOCK: u16 = 18;
/// `linux/sock_diag.h`
pub(crate) const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// Bytes of `struct inet_diag_req` (`linux/inet_diag.h`).
const OLD_REQUEST: usize = 4 + SOCKID + 8;
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

    use nsntrace_netlink::Refusal;
    use nsntrace_testkit::{Netns, eventually, isolated, sh};
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_request_asks_for_four_states_of_any_family() {
        let header = request_header();
        // ss -t with these states sends the same: bits 4, 5, 9 and 11.
        assert_eq!((header.len(), header[52..56].to_vec()), (60, 0x0a30_u32.to_ne_bytes().to_vec()));
        assert!(header[..52].iter().chain(&header[56..]).all(|byte| *byte == 0));
    }

    #[test]
    fn a_kernel_that_cannot_be_asked_is_read_from() {
        let refusal = Refusal { index: 0, errno: Errno::OPNOTSUPP, extack: None };
        let unsupported = || Err(SockDiagError::Unsupported(refusal.clone()));
        let mut orphans = Orphans::open().unwrap();
        assert!(orphans.can_ask().unwrap());
        assert!(orphans.or_read(unsupported()).is_ok());
        assert!(!orphans.can_ask().unwrap());
        let mut orphans = Orphans { tables: Vec::new(), ..Orphans::open().unwrap() };
        assert!(matches!(orphans.or_read(unsupported()), Err(SockDiagError::Unsupported(_))));
    }

    #[test]
    fn tables_say_what_the_kernel_answers_and_of_where_they_were_opened() {
        isolated(|| {
            sh("ip link set lo up");
            let other = Netns::new();
            let mut orphans = Orphans::open().unwrap();
            let listener = TcpListener::bind("[::]:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            // Closed at once by the near ends; the far ones stay open.
            let _far = ["127.0.0.1", "::1"].map(|address| {
                TcpStream::connect((address, port)).unwrap();
                listener.accept().unwrap()
            });
            let expected = Closing { talking: 0, listening: 2 };
            eventually(|| orphans.ask().unwrap() == expected);
            assert_eq!(orphans.read().unwrap(), expected);
            let (here, there) = other.inside(|| (orphans.read(), Orphans::open().unwrap().read()));
            assert_eq!((here.unwrap(), there.unwrap()), (expected, Closing::default()));
        });
    }

    #[test]
    fn states_are_counted_by_what_they_wait_for() {
        assert!(Closing::of([]).is_empty());
        assert_eq!(Closing::of(0..16), Closing { talking: 3, listening: 1 });
    }
}
