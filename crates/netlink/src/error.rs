//! Why a request had no success: the kernel refused it, or the socket did not carry it.

use std::{fmt, io};

use rustix::io::Errno;

use crate::Malformed;

/// Why a request had no success.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The kernel understood us and said no.
    #[error("the kernel refused the request")]
    Refused(#[source] Refusal),
    /// The question or the answer did not get through.
    #[error("the netlink socket failed")]
    Socket(#[source] SocketError),
}

/// The kernel's no to one message of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which message of the batch, counted from 0.
    pub index: usize,
    /// Why.
    pub errno: Errno,
    /// The kernel's own words on it (`NLMSGERR_ATTR_MSG`, "extack"), where it had any.
    pub extack: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errno = io::Error::from(self.errno);
        match &self.extack {
            Some(words) => write!(f, "{errno}: {words}"),
            None => write!(f, "{errno}"),
        }
    }
}

impl std::error::Error for Refusal {}

/// Why a netlink socket did not carry what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// No such socket could be made: `EPROTONOSUPPORT` where the kernel lacks the family, `EMFILE`.
    #[error("cannot open a {family} netlink socket")]
    Open {
        /// The family as netlink(7) calls it.
        family: &'static str,
        /// What `socket()`, `bind()` or `setsockopt()` said.
        #[source]
        source: io::Error,
    },
    /// The messages could not be handed to the kernel.
    #[error("cannot send over netlink")]
    Send(#[source] io::Error),
    /// The answer could not be fetched.
    #[error("cannot receive over netlink")]
    Receive(#[source] io::Error),
    /// The kernel had more to say than the socket's buffer holds (`ENOBUFS`), and some of it is lost.
    #[error("the kernel's answers overran the netlink socket's buffer")]
    Overrun,
    /// One datagram was longer than we ever expect one to be.
    #[error("a netlink datagram of {len} bytes is longer than the {room} bytes there is room for")]
    Truncated {
        /// Its whole length.
        len: usize,
        /// How much of it could be received.
        room: usize,
    },
    /// An answer broke the format.
    #[error("cannot read the kernel's answer")]
    Malformed(#[source] Malformed),
    /// The kernel processed the request and left out an answer that it owes us.
    #[error("the kernel did not answer")]
    Unanswered,
    /// What was listed kept changing while it was listed, each of `attempts` times.
    #[error("the list kept changing while the kernel wrote it, {attempts} times in a row")]
    Restless {
        /// How often the list was asked for.
        attempts: u32,
    },
}

impl From<SocketError> for RequestError {
    fn from(source: SocketError) -> Self {
        Self::Socket(source)
    }
}

impl From<Malformed> for SocketError {
    fn from(source: Malformed) -> Self {
        Self::Malformed(source)
    }
}

impl From<Malformed> for RequestError {
    fn from(source: Malformed) -> Self {
        Self::Socket(source.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_errno_and_words() {
        let mut refusal = Refusal { index: 3, errno: Errno::PERM, extack: None };
        assert_eq!(refusal.to_string(), "Operation not permitted (os error 1)");
        refusal.extack = Some("Device is down".to_owned());
        assert_eq!(refusal.to_string(), "Operation not permitted (os error 1): Device is down");
    }
}
