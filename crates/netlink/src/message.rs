//! Reading messages: what one receive brought, split at its headers.
//!
//! # References
//! netlink(7); `struct nlmsghdr`, `struct nlmsgerr`, `enum nlmsgerr_attrs` in include/uapi/linux/netlink.h;
//! `netlink_ack()` in net/netlink/af_netlink.c.

use neli::consts::nl::{NlmF, Nlmsg, NlmsgerrAttr};
use rustix::io::Errno;

use crate::{Attributes, batch::aligned};

/// The messages in a buffer, in their order.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    /// Messages laid out one after the other in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let bytes = std::mem::take(&mut self.rest);
        let Some(message) = Message::parse(bytes) else { return Some(Err(Malformed)) };
        self.rest = bytes.get(aligned(HEADER + message.payload.len())..).unwrap_or_default();
        Some(Ok(message))
    }
}

/// A message breaks the format in netlink(7): its length is shorter than its header or longer than what was
/// received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a netlink message has an impossible length")]
pub struct Malformed;

/// One message, on loan from the buffer that it was received into.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    nlmsg_type: u16,
    flags: u16,
    seq: u32,
    payload: &'a [u8],
}

impl<'a> Message<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, _) = bytes.split_first_chunk::<HEADER>()?;
        let [l0, l1, l2, l3, t0, t1, f0, f1, s0, s1, s2, s3, ..] = *header;
        let len = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).ok()?;
        Some(Self {
            nlmsg_type: u16::from_ne_bytes([t0, t1]),
            flags: u16::from_ne_bytes([f0, f1]),
            seq: u32::from_ne_bytes([s0, s1, s2, s3]),
            payload: bytes.get(HEADER..len)?,
        })
    }

    /// What the message is about: `RTM_NEWLINK`, `NFT_MSG_NEWTABLE` with its subsystem, ...
    pub fn nlmsg_type(&self) -> u16 {
        self.nlmsg_type
    }

    /// The number of the request that this answers; 0 for what the kernel says by itself.
    pub fn nlmsg_seq(&self) -> u32 {
        self.seq
    }

    /// All after the netlink header.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The family's fixed header of `N` bytes and the attributes behind it. `None` where the message is
    /// shorter.
    pub fn split_header<const N: usize>(&self) -> Option<(&'a [u8; N], Attributes<'a>)> {
        let (header, _) = self.payload.split_first_chunk::<N>()?;
        Some((header, Attributes::new(self.payload.get(aligned(N)..).unwrap_or_default())))
    }

    /// Whether a dump lost its thread, because what it walks changed under it (`NLM_F_DUMP_INTR`).
    pub(crate) fn is_interrupted_dump(&self) -> bool {
        self.flags & NlmF::DUMP_INTR.bits() != 0
    }

    /// What the message says about the request as a whole, where it is that kind of message.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        let [error, done] = [Nlmsg::Error, Nlmsg::Done].map(u16::from);
        match self.nlmsg_type {
            kind if kind == error => {
                Some(Outcome { is_done: false, ..self.verdict(self.extack_after_error()) })
            }
            kind if kind == done => Some(Outcome { is_done: true, ..self.verdict(self.extack_after(4)) }),
            _ => None,
        }
    }

    /// Zero or a negated errno begins the payload of both `NLMSG_ERROR` and `NLMSG_DONE`; the latter may
    /// leave it out.
    fn verdict(&self, extack: Option<String>) -> Outcome {
        let code = self.payload.first_chunk::<4>().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
        // `MAX_ERRNO` (linux/err.h) is 4095; a number beyond is none that anybody has a name for.
        let errno = match code {
            0.. => None,
            -4095..=-1 => Some(Errno::from_raw_os_error(-code)),
            ..-4095 => Some(Errno::PROTO),
        };
        Outcome { is_done: false, errno, extack }
    }

    /// `struct nlmsgerr` quotes the request, only its header where `NLM_F_CAPPED`; the kernel's words come
    /// after.
    fn extack_after_error(&self) -> Option<String> {
        let quoted_len = if self.flags & NlmF::CAPPED.bits() == 0 {
            usize::try_from(u32::from_ne_bytes(*self.payload.get(4..)?.first_chunk()?)).ok()?
        } else {
            HEADER
        };
        self.extack_after(quoted_len.checked_add(4 + 3)? & !3)
    }

    fn extack_after(&self, offset: usize) -> Option<String> {
        if self.flags & NlmF::ACK_TLVS.bits() == 0 {
            return None;
        }
        let words = Attributes::new(self.payload.get(offset..)?).get(NlmsgerrAttr::Msg.into())?;
        words.str().map(str::to_owned)
    }
}

/// What `NLMSG_ERROR` or `NLMSG_DONE` says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The message ends a dump.
    pub(crate) is_done: bool,
    /// Why the request was refused; `None` where it was not.
    pub(crate) errno: Option<Errno>,
    /// The kernel's words on it.
    pub(crate) extack: Option<String>,
}

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(len: u32, nlmsg_type: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = len.to_ne_bytes().to_vec();
        bytes.extend_from_slice(&nlmsg_type.to_ne_bytes());
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&5_u32.to_ne_bytes());
        bytes.extend_from_slice(&0_u32.to_ne_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    fn outcome(nlmsg_type: u16, flags: u16, payload: &[u8]) -> Option<Outcome> {
        let bytes = message(16 + u32::try_from(payload.len()).unwrap(), nlmsg_type, flags, payload);
        Messages::new(&bytes).next().unwrap().unwrap().outcome()
    }

    /// `NLMSGERR_ATTR_MSG` saying "no".
    fn extack() -> Vec<u8> {
        [7_u16.to_ne_bytes().as_slice(), &1_u16.to_ne_bytes(), b"no\0\0"].concat()
    }

    #[test]
    fn an_error_carries_its_errno_and_the_words_behind_the_quoted_request() {
        let quoted = message(18, 16, 1, &[0xcc, 0xcc, 0, 0]);
        let payload = [(-16_i32).to_ne_bytes().as_slice(), &quoted, &extack()].concat();
        let refused = outcome(2, 0x200, &payload).unwrap();
        assert_eq!((refused.errno, refused.extack.as_deref()), (Some(Errno::BUSY), Some("no")));
    }

    #[test]
    fn a_capped_error_quotes_the_header_alone() {
        let quoted = message(4000, 16, 1, &[]);
        let payload = [(-1_i32).to_ne_bytes().as_slice(), &quoted, &extack()].concat();
        let refused = outcome(2, 0x300, &payload).unwrap();
        assert_eq!((refused.errno, refused.extack.as_deref()), (Some(Errno::PERM), Some("no")));
    }

    #[test]
    fn an_acknowledgement_is_an_error_without_errno() {
        let payload = [0_i32.to_ne_bytes().as_slice(), &message(16, 16, 1, &[])].concat();
        assert_eq!(outcome(2, 0x100, &payload), Some(Outcome { is_done: false, errno: None, extack: None }));
    }

    #[test]
    fn the_end_of_a_dump_may_be_a_refusal() {
        let payload = [(-22_i32).to_ne_bytes().as_slice(), &extack()].concat();
        let done = outcome(3, 0x202, &payload).unwrap();
        assert_eq!(
            (done.is_done, done.errno, done.extack.as_deref()),
            (true, Some(Errno::INVAL), Some("no"))
        );
        assert_eq!(outcome(3, 2, &[]), Some(Outcome { is_done: true, errno: None, extack: None }));
        assert_eq!(outcome(16, 2, &[]), None);
    }

    #[test]
    fn lengths_that_lie_are_malformed() {
        for len in [0, 15, 21, u32::MAX] {
            let bytes = message(len, 2, 0, &[0; 4]);
            let seen: Vec<_> = Messages::new(&bytes).map(|m| m.map(|m| m.nlmsg_type())).collect();
            assert_eq!(seen, [Err(Malformed)], "{len}");
        }
        assert_eq!(Messages::new(&[0; 3]).next().map(|m| m.map(|m| m.nlmsg_type())), Some(Err(Malformed)));
    }

    #[test]
    fn hostile_errors_have_no_words() {
        for quoted_len in [0, 17, 1 << 20, u32::MAX] {
            let payload =
                [(-1_i32).to_ne_bytes().as_slice(), &quoted_len.to_ne_bytes(), &[0xff; 20]].concat();
            assert_eq!(outcome(2, 0x200, &payload).unwrap().extack, None);
        }
        assert_eq!(outcome(2, 0x200, &[]).unwrap().errno, None);
        assert_eq!(outcome(2, 0x200, &i32::MIN.to_ne_bytes()).unwrap().errno, Some(Errno::PROTO));
    }
}
