//! The queue: bound, served.
//!
//! # Theory of operation
//! A packet that a rule hands over waits in the kernel, and its number is written to our socket. We read what numbers there are and
//! answer the last of them, which lets go all. `NF_STOP` ends the packet's way through this hook: `nf_reinject()` calls what comes behind
//! the hook, and chains of a later priority never see it.
//!
//! What finds the queue full, or no room in the socket, is dropped, as by any queue on the way: TCP sends it again. Fail-open
//! (`NFQA_CFG_F_FAIL_OPEN`) would be worse: such a packet would go on to the rules that it is to be spared, and one that answers with a
//! reset would end the connection.
//!
//! Super-packets stay whole (`NFQA_CFG_F_GSO`): cut up, they cost nine tenths of the speed.
//!
//! # Kernel interface
//! `NFNL_SUBSYS_QUEUE` over `NETLINK_NETFILTER`: `NFQNL_MSG_CONFIG`, `NFQNL_MSG_PACKET`, `NFQNL_MSG_VERDICT_BATCH` (Linux 3.1);
//! `NFQA_CFG_F_GSO` (Linux 3.10). poll(2). `CAP_NET_ADMIN` over the network namespace.
//!
//! # References
//! `nfqnl_recv_verdict_batch()` in net/netfilter/nfnetlink_queue.c; `nf_reinject()`, there or in net/netfilter/nf_queue.c;
//! `NF_STOP` in include/uapi/linux/netfilter.h.

use std::os::fd::AsFd;

use nsntrace_netlink::{Conversation, Family, RequestError};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::getpid;

use crate::{
    QueueError,
    message::{bind, packet_id, stop_up_to},
};

/// A queue of the network namespace of the thread that bound it. Dropped, it is gone, and what waited in it is lost.
#[derive(Debug)]
pub struct Queue {
    conversation: Conversation,
    number: u16,
}

impl Queue {
    /// Binds a number that nobody has.
    ///
    /// # Errors
    /// [`QueueError::Unsupported`]; [`QueueError::Refused`]: `EPERM` without `CAP_NET_ADMIN` over the network namespace.
    pub fn bind() -> Result<Self, QueueError> {
        let mut conversation = Conversation::open(Family::Netfilter).map_err(QueueError::Netlink)?;
        conversation.set_room(ROOM_BYTES);
        for attempt in 0.. {
            let number = candidate(attempt);
            match conversation.ask(&bind(number, MAX_LEN)) {
                Err(error) if attempt < ATTEMPTS && is_somebodys(&error) => {}
                Err(error) => return Err(QueueError::binding(error)),
                Ok(()) => return Ok(Self { conversation, number }),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// Its number, for the rule that hands packets over.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Lets every packet go past the rest of its hook, until `stop` is readable or at its end.
    ///
    /// # Errors
    /// [`QueueError::Netlink`], [`QueueError::Wait`]. Packets that are handed over afterwards are lost.
    pub fn serve(&mut self, stop: impl AsFd) -> Result<(), QueueError> {
        loop {
            if self.is_stopped(&stop)? {
                return Ok(());
            }
            self.release()?;
        }
    }

    /// Waits for packets, or for the end.
    fn is_stopped(&self, stop: &impl AsFd) -> Result<bool, QueueError> {
        let mut fds = [PollFd::new(&self.conversation, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => Ok(!fds[1].revents().is_empty()),
            Err(errno) => Err(QueueError::Wait(errno)),
        }
    }

    /// Lets go what waits.
    fn release(&mut self) -> Result<(), QueueError> {
        let mut last = None;
        // Of a loss there is nothing to know: what could not be told was not queued.
        self.conversation
            .hear(AT_ONCE, |message| last = packet_id(message).or(last))
            .map_err(QueueError::Netlink)?;
        match last {
            Some(last) => self.conversation.tell(&stop_up_to(self.number, last)).map_err(QueueError::Netlink),
            None => Ok(()),
        }
    }
}

/// The number to try next: of the upper half, for people begin at 0; and another first one for each process.
fn candidate(attempt: u32) -> u16 {
    let pid = getpid().as_raw_nonzero().get().cast_unsigned();
    let low = u16::try_from(pid.wrapping_add(attempt) & 0x7fff).expect("15 bits fit");
    0x8000 | low
}

/// Whether a number has another reader: `EPERM`, or `EBUSY` where that is this socket.
fn is_somebodys(error: &RequestError) -> bool {
    matches!(error, RequestError::Refused(refusal) if matches!(refusal.errno, Errno::PERM | Errno::BUSY))
}

/// How many packets may wait in the kernel; 64 MiB at most, were each a super-packet. It is the kernel's default.
const MAX_LEN: u32 = 1024;
/// Room for the numbers of as many packets, each of which costs the kernel about a page's quarter. (It takes twice what is asked for.)
const ROOM_BYTES: usize = 1 << 20;
/// How many numbers are read before their packets are let go: none waits for long.
const AT_ONCE: usize = 64;
/// How many numbers are tried.
const ATTEMPTS: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_tried_are_different_and_not_those_that_people_choose() {
        let mut numbers: Vec<_> = (0..ATTEMPTS).map(candidate).collect();
        assert!(numbers.iter().all(|number| *number >= 0x8000));
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), ATTEMPTS as usize);
    }
}
