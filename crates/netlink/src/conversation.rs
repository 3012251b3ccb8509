//! A socket for business that goes on: it asks once, hears from then on, and answers.
//!
//! # Kernel interface
//! As [`Subscription`], without groups; `send()`.
//!
//! # References
//! netlink(7); socket(7).

use std::os::fd::{AsFd, BorrowedFd};

use rustix::net::{SendFlags, send};

use crate::{Batch, Family, Heard, Message, RequestError, SocketError, Subscription, answers::Answers};

/// A non-blocking socket that the kernel says something to by itself, once it was asked to.
#[derive(Debug)]
pub struct Conversation {
    ear: Subscription,
    next_seq: u32,
}

impl Conversation {
    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`SocketError::Open`]: `EPROTONOSUPPORT` where the kernel was built without the family, `EMFILE` and `ENFILE` where there are
    /// no descriptors left.
    pub fn open(family: Family) -> Result<Self, SocketError> {
        Ok(Self { ear: Subscription::of(family, 0)?, next_seq: 1 })
    }

    /// Makes room for `bytes` of messages that wait, or for as much of that as we may have: what it costs the kernel, which is several
    /// times what a short message has.
    pub fn set_room(&self, bytes: usize) {
        self.ear.set_room(bytes);
    }

    /// Sends a batch and checks every acknowledgement that it asked for. To be called before there is anything else to hear, for it
    /// would not be heard.
    ///
    /// # Errors
    /// [`RequestError::Refused`] with the first message that was refused; [`RequestError::Socket`] otherwise.
    pub fn ask(&mut self, batch: &Batch) -> Result<(), RequestError> {
        let mut answers = Answers::to(batch, self.send(batch)?);
        // The kernel has answered before `send()` returned.
        self.ear.drain(|message| {
            answers.take(message);
        })?;
        answers.outcome()
    }

    /// Sends a batch. Where the kernel does not like it, it says so in a message that nobody waits for.
    ///
    /// # Errors
    /// [`SocketError::Send`].
    pub fn tell(&mut self, batch: &Batch) -> Result<(), SocketError> {
        self.send(batch).map(drop)
    }

    /// Shows `on_message` what waits, but at most `limit` datagrams. Never blocks.
    ///
    /// # Errors
    /// [`SocketError::Receive`] or [`SocketError::Malformed`]; a loss is no error, but [`Heard::NotEverything`].
    pub fn hear(&mut self, limit: usize, on_message: impl FnMut(Message<'_>)) -> Result<Heard, SocketError> {
        self.ear.hear(limit, on_message)
    }

    /// Sends a batch and returns the number of its first message.
    fn send(&mut self, batch: &Batch) -> Result<u32, SocketError> {
        let first_seq = self.next_seq;
        let count = u32::try_from(batch.len()).expect("a batch has fewer than 2^32 messages");
        self.next_seq = first_seq.wrapping_add(count);
        let sent = send(&self.ear, &batch.numbered(first_seq), SendFlags::empty());
        sent.map_err(|errno| SocketError::Send(errno.into()))?;
        Ok(first_seq)
    }
}

/// For poll: readable where a message waits or was lost.
impl AsFd for Conversation {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ear.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use neli::consts::{nl::NlmF, rtnl::Rtm};
    use rustix::io::Errno;

    use super::*;

    /// `struct ifinfomsg` with only `ifi_index` set.
    fn link_header(ifindex: i32) -> [u8; 16] {
        let mut header = [0; 16];
        header[4..8].copy_from_slice(&ifindex.to_ne_bytes());
        header
    }

    #[test]
    fn what_is_asked_is_acknowledged_or_refused() {
        let mut socket = Conversation::open(Family::Route).unwrap();
        let mut batch = Batch::new();
        batch.request(Rtm::Getlink.into(), NlmF::empty(), &link_header(1), |_| {});
        socket.ask(&batch).unwrap();
        batch.request(Rtm::Getlink.into(), NlmF::empty(), &link_header(i32::MAX), |_| {});
        let error = socket.ask(&batch).unwrap_err();
        let RequestError::Refused(refusal) = error else { panic!("{error:?}") };
        assert_eq!((refusal.index, refusal.errno), (1, Errno::NODEV));
    }

    #[test]
    fn what_is_told_is_heard_of_as_often_as_one_listens() {
        let mut socket = Conversation::open(Family::Route).unwrap();
        socket.set_room(1 << 20);
        let mut batch = Batch::new();
        for _ in 0..3 {
            batch.message(Rtm::Getlink.into(), NlmF::REQUEST, &link_header(1), |_| {});
        }
        socket.tell(&batch).unwrap();
        let mut count = 0;
        socket.hear(2, |_| count += 1).unwrap();
        assert_eq!(count, 2);
        assert_eq!(socket.hear(9, |_| count += 1).unwrap(), Heard::Everything);
        assert_eq!(count, 3);
    }
}
