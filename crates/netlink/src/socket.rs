//! A socket for questions: one batch out, every answer in.
//!
//! # Theory of operation
//! The kernel handles a request inside of our `send()`, so when that returns, every acknowledgement already
//! waits in the socket's buffer, and the first part of a dump too; each further part is written while the one
//! before it is fetched. That is why nothing here ever blocks: an empty buffer before the last answer means
//! that none will come. So it is when nfnetlink refuses a batch as a whole: it answers the first message and
//! no other.
//!
//! # Kernel interface
//! `socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC)`, `NETLINK_EXT_ACK` (Linux 4.12), `NETLINK_GET_STRICT_CHK`
//! (Linux 4.20, `NETLINK_ROUTE` only), `bind()`, `send()`, `recv(MSG_DONTWAIT | MSG_TRUNC)`.
//!
//! # References
//! netlink(7); `netlink_unicast_kernel()`, `netlink_dump()` in net/netlink/af_netlink.c;
//! `nfnetlink_rcv_batch()` in net/netfilter/nfnetlink.c.

use std::{
    fmt, io,
    os::fd::{AsRawFd, RawFd},
};

use neli::{
    consts::socket::{Msg, NlFamily},
    socket::NlSocket,
    utils::Groups,
};
use rustix::{
    io::Errno,
    net::{Protocol, netlink},
};

use crate::{
    Batch, Message, Messages, Refusal, RequestError, SocketError,
    answers::{Answers, index_in},
    message::Outcome,
};

/// Whom a socket talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// rtnetlink(7): links, addresses, routes, rules.
    Route,
    /// nfnetlink: `nf_tables`, connection tracking.
    Netfilter,
    /// `sock_diag(7)`: sockets.
    SockDiag,
}

impl Family {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Route => "NETLINK_ROUTE",
            Self::Netfilter => "NETLINK_NETFILTER",
            Self::SockDiag => "NETLINK_SOCK_DIAG",
        }
    }

    const fn protocol(self) -> NlFamily {
        match self {
            Self::Route => NlFamily::Route,
            Self::Netfilter => NlFamily::Netfilter,
            Self::SockDiag => NlFamily::SockOrInetDiag,
        }
    }

    /// The same for a socket of rustix, to which no protocol is protocol 0, `NETLINK_ROUTE`.
    pub(crate) const fn rustix_protocol(self) -> Option<Protocol> {
        match self {
            Self::Route => None,
            Self::Netfilter => Some(netlink::NETFILTER),
            Self::SockDiag => Some(netlink::SOCK_DIAG),
        }
    }
}

/// A socket that asks the kernel and waits for the answer.
///
/// It belongs to the network namespace of the thread that opened it, wherever it is used. Its descriptor is
/// close-on-exec.
pub struct Socket {
    inner: NlSocket,
    next_seq: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`SocketError::Open`]: `EPROTONOSUPPORT` where the kernel was built without the family, `EMFILE` and
    /// `ENFILE` where there are no descriptors left.
    pub fn open(family: Family) -> Result<Self, SocketError> {
        let open = || {
            let socket = NlSocket::connect(family.protocol(), None, Groups::empty())?;
            socket.enable_ext_ack(true)?;
            if family == Family::Route {
                // Before Linux 4.20 there is no such option, and dumps are unfiltered: we filter what comes
                // in any case.
                let _ = socket.enable_strict_checking(true);
            }
            Ok(Self { inner: socket, next_seq: 1, buffer: vec![0; BUFFER_BYTES] })
        };
        open().map_err(|source| SocketError::Open { family: family.name(), source })
    }

    /// Sends a batch and checks every acknowledgement that it asked for.
    ///
    /// An empty batch is nothing to do. All messages are always tried by the kernel: rtnetlink goes on past a
    /// refused one, `nf_tables` undoes the whole batch.
    ///
    /// # Errors
    /// [`RequestError::Refused`] with the first message that was refused; [`RequestError::Socket`] otherwise.
    pub fn transact(&mut self, batch: &Batch) -> Result<(), RequestError> {
        self.exchange(batch, |_| {})
    }

    /// As [`Socket::transact`], and shows `on_reply` every message that answers the batch, acknowledgements
    /// aside.
    ///
    /// # Errors
    /// Those of [`Socket::transact`].
    pub fn exchange(
        &mut self,
        batch: &Batch,
        mut on_reply: impl FnMut(Message<'_>),
    ) -> Result<(), RequestError> {
        if batch.is_empty() {
            return Ok(()); // The kernel would answer ENODATA.
        }
        let mut answers = Answers::to(batch, self.send(batch)?);
        while let Some(len) = self.receive()? {
            for message in Messages::new(&self.buffer[..len]) {
                if let Some(reply) = answers.take(message?) {
                    on_reply(reply);
                }
            }
            if answers.is_complete() {
                break;
            }
        }
        answers.outcome()
    }

    /// Sends a request for a list and returns what `parse` makes of each entry, leaving out where it makes
    /// nothing.
    ///
    /// A list that changed while it was written is asked for again, from the start.
    ///
    /// # Errors
    /// [`RequestError::Refused`] where the kernel does not give this list; [`SocketError::Restless`] where it
    /// never stood still.
    pub fn dump<T>(
        &mut self,
        request: &Batch,
        mut parse: impl FnMut(Message<'_>) -> Option<T>,
    ) -> Result<Vec<T>, RequestError> {
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(entries) = self.dump_once(request, &mut parse)? {
                return Ok(entries);
            }
        }
        Err(SocketError::Restless { attempts: DUMP_ATTEMPTS }.into())
    }

    /// `None` where the list is not to be trusted: it changed under the kernel's hands, or a part of it was
    /// lost.
    fn dump_once<T>(
        &mut self,
        request: &Batch,
        parse: &mut impl FnMut(Message<'_>) -> Option<T>,
    ) -> Result<Option<Vec<T>>, RequestError> {
        let seq = self.send(request)?;
        let mut entries = Vec::new();
        let mut is_trusted = true;
        loop {
            let len = match self.receive() {
                Ok(Some(len)) => len,
                // Nothing more comes. After a loss that is the end; the one message that said so may be what
                // was lost.
                Ok(None) if !is_trusted => return Ok(None),
                Ok(None) => return Err(SocketError::Unanswered.into()),
                Err(SocketError::Overrun) => {
                    is_trusted = false;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            for message in Messages::new(&self.buffer[..len]) {
                let message = message?;
                if index_in(seq, 1, &message).is_none() {
                    continue;
                }
                is_trusted &= !message.is_interrupted_dump();
                match message.outcome() {
                    None => entries.extend(parse(message)),
                    Some(Outcome { errno: Some(errno), extack, .. }) => {
                        return Err(RequestError::Refused(Refusal { index: 0, errno, extack }));
                    }
                    Some(Outcome { is_done: true, .. }) => return Ok(is_trusted.then_some(entries)),
                    Some(_) => {}
                }
            }
        }
    }

    /// Sends a batch and returns the sequence number of its first message.
    fn send(&mut self, batch: &Batch) -> Result<u32, SocketError> {
        let first_seq = self.next_seq;
        let count = u32::try_from(batch.len()).expect("a batch has fewer than 2^32 messages");
        self.next_seq = first_seq.wrapping_add(count);
        self.discard_leftovers()?;
        self.inner.send(batch.numbered(first_seq), Msg::empty()).map_err(SocketError::Send)?;
        Ok(first_seq)
    }

    /// Forgets answers to a request that ended in an error of the socket, so that they fill no buffer.
    fn discard_leftovers(&mut self) -> Result<(), SocketError> {
        loop {
            match self.receive() {
                Ok(None) => return Ok(()),
                Ok(Some(_)) | Err(SocketError::Overrun | SocketError::Truncated { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Fetches a datagram into the buffer and returns its length; `None` where there is none.
    fn receive(&mut self) -> Result<Option<usize>, SocketError> {
        loop {
            match self.inner.recv(&mut self.buffer[..], Msg::DONTWAIT | Msg::TRUNC) {
                Ok((len, _)) if len > self.buffer.len() => {
                    return Err(SocketError::Truncated { len, room: self.buffer.len() });
                }
                Ok((len, _)) => return Ok(Some(len)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => {
                    return Err(SocketError::Overrun);
                }
                Err(error) => return Err(SocketError::Receive(error)),
            }
        }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("fd", &self.as_raw_fd()).finish_non_exhaustive()
    }
}

/// The kernel writes dumps in parts of at most 32 KiB; a lone message about a link with many virtual
/// functions may be longer.
const BUFFER_BYTES: usize = 128 * 1024;
/// How often to ask for a list that changes while it is written.
const DUMP_ATTEMPTS: u32 = 16;

#[cfg(test)]
mod tests {
    use neli::consts::{nl::NlmF, rtnl::Rtm};

    use super::*;

    /// `struct ifinfomsg` with only `ifi_index` set.
    fn link_header(ifindex: i32) -> [u8; 16] {
        let mut header = [0; 16];
        header[4..8].copy_from_slice(&ifindex.to_ne_bytes());
        header
    }

    fn ifindex_of(message: Message<'_>) -> Option<i32> {
        let (header, _) = message.split_header::<16>()?;
        Some(i32::from_ne_bytes(*header[4..].first_chunk()?))
    }

    #[test]
    fn a_dump_lists_loopback() {
        let mut socket = Socket::open(Family::Route).unwrap();
        let mut request = Batch::new();
        request.dump(Rtm::Getlink.into(), &link_header(0), |_| {});
        assert!(socket.dump(&request, ifindex_of).unwrap().contains(&1));
        // The socket is as good as new.
        assert!(socket.dump(&request, ifindex_of).unwrap().contains(&1));
    }

    #[test]
    fn replies_and_acknowledgements_of_a_batch_are_told_apart() {
        let mut socket = Socket::open(Family::Route).unwrap();
        let mut batch = Batch::new();
        batch.request(Rtm::Getlink.into(), NlmF::empty(), &link_header(1), |_| {});
        batch.request(Rtm::Getlink.into(), NlmF::empty(), &link_header(1), |_| {});
        let mut seen = Vec::new();
        socket.exchange(&batch, |reply| seen.extend(ifindex_of(reply))).unwrap();
        assert_eq!(seen, [1, 1]);
    }

    #[test]
    fn the_first_refusal_of_a_batch_is_the_one_reported() {
        let mut socket = Socket::open(Family::Route).unwrap();
        let mut batch = Batch::new();
        batch.request(Rtm::Getlink.into(), NlmF::empty(), &link_header(1), |_| {});
        batch.request(Rtm::Getlink.into(), NlmF::empty(), &link_header(i32::MAX), |_| {});
        batch.request(Rtm::Getlink.into(), NlmF::empty(), &[], |_| {});
        let error = socket.transact(&batch).unwrap_err();
        let RequestError::Refused(refusal) = error else { panic!("{error:?}") };
        assert_eq!((refusal.index, refusal.errno), (1, Errno::NODEV));
        // Nothing of it is left over for the next request.
        let mut batch = Batch::new();
        batch.request(Rtm::Getlink.into(), NlmF::empty(), &link_header(1), |_| {});
        socket.transact(&batch).unwrap();
    }

    #[test]
    fn a_refused_dump_says_why() {
        let mut socket = Socket::open(Family::Route).unwrap();
        let mut request = Batch::new();
        request.dump(Rtm::Getlink.into(), &[0xff; 16], |_| {});
        let error = socket.dump(&request, |_| Some(())).unwrap_err();
        let RequestError::Refused(refusal) = error else { panic!("{error:?}") };
        assert_eq!(refusal.errno, Errno::INVAL);
        assert!(refusal.extack.is_some(), "strict checking explains itself");
    }

    /// nfnetlink answers only the first message of a batch for a subsystem that does not exist.
    #[test]
    fn a_batch_refused_as_a_whole_does_not_hang() {
        let mut socket = Socket::open(Family::Netfilter).unwrap();
        let mut batch = Batch::new();
        let no_such_subsystem = [0, 0, 0, 0xee];
        batch.message(0x10, NlmF::REQUEST, &no_such_subsystem, |_| {});
        batch.request(0xee00, NlmF::empty(), &[0; 4], |_| {});
        batch.message(0x11, NlmF::REQUEST, &no_such_subsystem, |_| {});
        let error = socket.transact(&batch).unwrap_err();
        let RequestError::Refused(refusal) = error else { panic!("{error:?}") };
        assert_eq!(refusal.index, 0);
    }

    #[test]
    fn a_message_that_nobody_answers_is_reported() {
        let mut socket = Socket::open(Family::Route).unwrap();
        let mut batch = Batch::new();
        // Without NLM_F_REQUEST the kernel takes it for an answer, and is silent.
        batch.message(Rtm::Getlink.into(), NlmF::empty(), &link_header(1), |_| {});
        socket.transact(&batch).unwrap();
        assert!(matches!(
            socket.dump(&batch, |_| Some(())),
            Err(RequestError::Socket(SocketError::Unanswered))
        ));
    }

    #[test]
    fn a_socket_may_change_threads() {
        let mut socket = std::thread::spawn(|| Socket::open(Family::SockDiag).unwrap()).join().unwrap();
        socket.transact(&Batch::new()).unwrap();
        // A request of no known family, and yet an answer: this socket works.
        let mut batch = Batch::new();
        batch.request(SOCK_DIAG_BY_FAMILY, NlmF::empty(), &[0xff; 4], |_| {});
        assert!(matches!(socket.transact(&batch), Err(RequestError::Refused(_))));
    }

    /// `linux/sock_diag.h`
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
}
