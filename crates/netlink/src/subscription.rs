//! A socket that listens: what the kernel announces to multicast groups.
//!
//! # Theory of operation
//! The kernel drops announcements that do not fit into the socket's buffer and says so once with `ENOBUFS`. A
//! listener then knows only that it knows nothing, and has to look for itself.
//!
//! This socket is rustix's and not neli's: a listener is waited on, neli's socket lends out no
//! [`BorrowedFd`], and without requests there is nothing of neli's to miss.
//!
//! # Kernel interface
//! `socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK)`, `bind()` with `nl_groups`,
//! `recv(MSG_TRUNC)`, poll; `SO_RCVBUFFORCE` (`CAP_NET_ADMIN` in the first user namespace), else `SO_RCVBUF`.
//!
//! # References
//! netlink(7); `netlink_overrun()` in net/netlink/af_netlink.c.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SocketFlags, SocketType, bind, netlink::SocketAddrNetlink, recv,
        socket_with, sockopt,
    },
};

use crate::{Family, Message, Messages, SocketError};

/// A non-blocking socket that hears some groups, of `NETLINK_ROUTE` if nothing else is said.
#[derive(Debug)]
pub struct Subscription {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

/// What became of the announcements since the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Every one was shown.
    Everything,
    /// Some were lost: nothing that was learned from announcements can be relied upon.
    NotEverything,
}

impl Subscription {
    /// Listens to `groups`, numbers of `RTNLGRP_*` from 1 to 32, in the network namespace of the calling
    /// thread.
    ///
    /// # Errors
    /// [`SocketError::Open`]: `EMFILE` or `ENFILE` where there are no descriptors left.
    ///
    /// # Panics
    /// Where a group is not from 1 to 32; later ones do not fit into an address.
    pub fn open(groups: &[u32]) -> Result<Self, SocketError> {
        Self::to(Family::Route, groups)
    }

    /// Listens to `groups` of any family.
    ///
    /// # Errors
    /// [`SocketError::Open`]: `EPERM` where the family wants `CAP_NET_ADMIN` for it.
    ///
    /// # Panics
    /// As [`Subscription::open`].
    pub fn to(family: Family, groups: &[u32]) -> Result<Self, SocketError> {
        let mask = groups.iter().fold(0, |mask, group| {
            assert!((1..=32).contains(group), "group {group} does not fit into nl_groups");
            mask | 1 << (group - 1)
        });
        Self::of(family, mask)
    }

    /// Opens a socket that hears of the groups in `nl_groups`, and of what it asks for itself.
    pub(crate) fn of(family: Family, nl_groups: u32) -> Result<Self, SocketError> {
        let open = || -> Result<OwnedFd, Errno> {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket =
                socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, family.rustix_protocol())?;
            bind(&socket, &SocketAddrNetlink::new(0, nl_groups))?;
            Ok(socket)
        };
        match open() {
            Ok(socket) => Ok(Self { socket, buffer: vec![0; BUFFER_BYTES] }),
            Err(errno) => Err(SocketError::Open { family: family.name(), source: errno.into() }),
        }
    }

    /// Makes room for `bytes` of announcements that wait, or for as much of that as we may have.
    pub fn set_room(&self, bytes: usize) {
        if sockopt::set_socket_recv_buffer_size_force(&self.socket, bytes).is_err() {
            // Up to net.core.rmem_max, and not refused.
            let _as_before = sockopt::set_socket_recv_buffer_size(&self.socket, bytes);
        }
    }

    /// Shows `on_message` each announcement that waits, and returns when there is none left. Never blocks.
    ///
    /// # Errors
    /// [`SocketError::Receive`] or [`SocketError::Malformed`]; a loss is no error, but
    /// [`Heard::NotEverything`].
    pub fn drain(&mut self, on_message: impl FnMut(Message<'_>)) -> Result<Heard, SocketError> {
        self.hear(usize::MAX, on_message)
    }

    /// As [`Subscription::drain`], but of at most `limit` datagrams.
    pub(crate) fn hear(
        &mut self,
        limit: usize,
        mut on_message: impl FnMut(Message<'_>),
    ) -> Result<Heard, SocketError> {
        let mut heard = Heard::Everything;
        for _ in 0..limit {
            match recv(&self.socket, &mut self.buffer[..], RecvFlags::TRUNC) {
                Ok((_, len)) if len > self.buffer.len() => heard = Heard::NotEverything,
                Ok((_, len)) => {
                    for message in Messages::new(&self.buffer[..len]) {
                        on_message(message?);
                    }
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS) => heard = Heard::NotEverything,
                Err(errno) => return Err(SocketError::Receive(io::Error::from(errno))),
            }
        }
        Ok(heard)
    }
}

/// For poll: readable where an announcement waits or was lost.
impl AsFd for Subscription {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Room for one announcement. The longest are about links with many virtual functions; one that is longer still counts as lost.
const BUFFER_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_announced_is_nothing_heard() {
        // RTNLGRP_PHONET_ROUTE: no phone is near.
        let mut subscription = Subscription::open(&[22]).unwrap();
        let mut count = 0;
        assert_eq!(subscription.drain(|_| count += 1).unwrap(), Heard::Everything);
        assert_eq!(count, 0);
    }

    #[test]
    #[should_panic(expected = "group 33 does not fit")]
    fn a_group_beyond_the_mask_is_a_mistake_of_ours() {
        let _ = Subscription::open(&[1, 33]);
    }
}
