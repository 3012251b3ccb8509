//! Laying out messages: headers, attributes, nested attributes, padding.
//!
//! # Theory of operation
//! A [`Batch`] is one buffer with one or more messages, sent by one system call. Lengths are written after
//! what they measure: a message or a nested attribute takes a closure that fills it, and when that returns,
//! its length is known. Sequence numbers are the socket's business ([`crate::Socket`]), and written at the
//! moment of sending.
//!
//! ```text
//! +-----------+------------+-------------+-----------+----------+----------------+------------+
//! | nlmsg_len | nlmsg_type | nlmsg_flags | nlmsg_seq | nlmsg_pid| family's header| attributes |
//! |    u32    |    u16     |     u16     |    u32    |   u32    |   to 4 bytes   |            |
//! +-----------+------------+-------------+-----------+----------+----------------+------------+
//! ```
//!
//! # References
//! netlink(7); `struct nlmsghdr`, `struct nlattr` in include/uapi/linux/netlink.h.

use neli::consts::nl::NlmF;

/// Messages for one send, in their order.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where each message starts in `bytes`.
    starts: Vec<usize>,
}

impl Batch {
    /// A batch without messages.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a request that the kernel shall acknowledge: `NLM_F_REQUEST | NLM_F_ACK` and `flags`.
    ///
    /// `header` is the family's own fixed header (`struct ifinfomsg`, `struct nfgenmsg`, ...), `fill` writes
    /// the attributes.
    pub fn request(
        &mut self,
        nlmsg_type: u16,
        flags: NlmF,
        header: &[u8],
        fill: impl FnOnce(&mut AttributeWriter<'_>),
    ) {
        self.message(nlmsg_type, NlmF::REQUEST | NlmF::ACK | flags, header, fill);
    }

    /// Appends a request for all objects of a kind: `NLM_F_REQUEST | NLM_F_DUMP`. Its answer is for
    /// [`crate::Socket::dump`].
    pub fn dump(&mut self, nlmsg_type: u16, header: &[u8], fill: impl FnOnce(&mut AttributeWriter<'_>)) {
        self.message(nlmsg_type, NlmF::REQUEST | NlmF::DUMP, header, fill);
    }

    /// Appends a message with these flags and no others.
    ///
    /// # Panics
    /// Where the message or one of its attributes is longer than its length field can say (4 GiB, 64 KiB).
    pub fn message(
        &mut self,
        nlmsg_type: u16,
        flags: NlmF,
        header: &[u8],
        fill: impl FnOnce(&mut AttributeWriter<'_>),
    ) {
        let start = self.bytes.len();
        self.starts.push(start);
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&nlmsg_type.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.bits().to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 8]);
        self.bytes.extend_from_slice(header);
        pad(&mut self.bytes);
        fill(&mut AttributeWriter { bytes: &mut self.bytes });
        let len = u32::try_from(self.bytes.len() - start).expect("a message is shorter than 4 GiB");
        self.bytes[start..start + 4].copy_from_slice(&len.to_ne_bytes());
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there is no message.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The bytes to send, numbered from `first_seq` on.
    pub(crate) fn numbered(&self, first_seq: u32) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        for (start, seq) in self.starts.iter().zip(0..) {
            let seq = first_seq.wrapping_add(seq);
            bytes[start + SEQ_OFFSET..start + SEQ_OFFSET + 4].copy_from_slice(&seq.to_ne_bytes());
        }
        bytes
    }

    /// Which of the messages the kernel was asked to acknowledge.
    pub(crate) fn wants_ack(&self) -> Vec<bool> {
        let flags_at = |start: &usize| u16::from_ne_bytes([self.bytes[start + 6], self.bytes[start + 7]]);
        self.starts.iter().map(|start| flags_at(start) & NlmF::ACK.bits() != 0).collect()
    }
}

/// Attributes alone, for values that embed them in a layout of their own, as `RTA_MULTIPATH` does.
pub fn attributes(fill: impl FnOnce(&mut AttributeWriter<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    fill(&mut AttributeWriter { bytes: &mut bytes });
    bytes
}

/// Appends attributes to a message, or inside of another attribute.
#[derive(Debug)]
pub struct AttributeWriter<'a> {
    bytes: &'a mut Vec<u8>,
}

impl AttributeWriter<'_> {
    /// An attribute whose value is these bytes; none at all for an attribute that says all by being there.
    pub fn bytes(&mut self, nla_type: u16, value: &[u8]) {
        self.enclose(nla_type, |bytes| bytes.extend_from_slice(value));
    }

    /// A one-byte value.
    pub fn u8(&mut self, nla_type: u16, value: u8) {
        self.bytes(nla_type, &[value]);
    }

    /// A `u16` as this machine writes it.
    pub fn u16(&mut self, nla_type: u16, value: u16) {
        self.bytes(nla_type, &value.to_ne_bytes());
    }

    /// A `u32` as this machine writes it.
    pub fn u32(&mut self, nla_type: u16, value: u32) {
        self.bytes(nla_type, &value.to_ne_bytes());
    }

    /// An `i32` as this machine writes it.
    pub fn i32(&mut self, nla_type: u16, value: i32) {
        self.bytes(nla_type, &value.to_ne_bytes());
    }

    /// A `u16` in network order, `__be16` in the kernel's headers.
    pub fn u16_be(&mut self, nla_type: u16, value: u16) {
        self.bytes(nla_type, &value.to_be_bytes());
    }

    /// A `u32` in network order, `__be32` in the kernel's headers.
    pub fn u32_be(&mut self, nla_type: u16, value: u32) {
        self.bytes(nla_type, &value.to_be_bytes());
    }

    /// A `u64` in network order, `__be64` in the kernel's headers.
    pub fn u64_be(&mut self, nla_type: u16, value: u64) {
        self.bytes(nla_type, &value.to_be_bytes());
    }

    /// Text with the closing zero that `NLA_NUL_STRING` asks for.
    pub fn str(&mut self, nla_type: u16, value: &str) {
        self.enclose(nla_type, |bytes| {
            bytes.extend_from_slice(value.as_bytes());
            bytes.push(0);
        });
    }

    /// An attribute that holds attributes, marked `NLA_F_NESTED`.
    pub fn nested(&mut self, nla_type: u16, fill: impl FnOnce(&mut AttributeWriter<'_>)) {
        self.nested_after(nla_type, &[], fill);
    }

    /// An attribute that holds a fixed header and then attributes, as `VETH_INFO_PEER` holds a `struct
    /// ifinfomsg`.
    pub fn nested_after(
        &mut self,
        nla_type: u16,
        header: &[u8],
        fill: impl FnOnce(&mut AttributeWriter<'_>),
    ) {
        self.enclose(nla_type | NLA_F_NESTED, |bytes| {
            bytes.extend_from_slice(header);
            pad(bytes);
            fill(&mut AttributeWriter { bytes });
        });
    }

    /// Writes a header, lets `fill` write the value, then comes back for the length.
    fn enclose(&mut self, nla_type: u16, fill: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&nla_type.to_ne_bytes());
        fill(self.bytes);
        let len = u16::try_from(self.bytes.len() - start).expect("an attribute is shorter than 64 KiB");
        self.bytes[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        pad(self.bytes);
    }
}

/// `NLMSG_ALIGN()` and `NLA_ALIGN()`: the next multiple of four.
pub(crate) const fn aligned(len: usize) -> usize {
    len.next_multiple_of(4)
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(aligned(bytes.len()), 0);
}

/// Bytes of `struct nlattr`.
pub(crate) const ATTRIBUTE_HEADER: usize = 4;
/// linux/netlink.h: the value is attributes.
const NLA_F_NESTED: u16 = 1 << 15;
/// linux/netlink.h: `nla_type` without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
pub(crate) const NLA_TYPE_MASK: u16 = 0x3fff;
/// Offset of `nlmsg_seq` in `struct nlmsghdr`.
const SEQ_OFFSET: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attributes, Messages};

    fn ne16(value: u16) -> [u8; 2] {
        value.to_ne_bytes()
    }

    fn ne32(value: u32) -> [u8; 4] {
        value.to_ne_bytes()
    }

    #[test]
    fn a_message_is_laid_out_as_the_header_says() {
        let mut batch = Batch::new();
        batch.request(16, NlmF::CREATE | NlmF::EXCL, &[1, 2, 3, 4, 5], |a| {
            a.u8(1, 0xaa);
            a.u16_be(2, 0x0102);
            a.str(3, "nst0");
            a.nested(4, |a| a.u32(5, 0xdead_beef));
        });
        let expected = [
            ne32(16 + 8 + 8 + 8 + 12 + 12).as_slice(),
            &ne16(16),
            &ne16(0x0001 | 0x0004 | 0x0200 | 0x0400),
            &ne32(77),
            &ne32(0),
            &[1, 2, 3, 4, 5, 0, 0, 0],
            &ne16(5),
            &ne16(1),
            &[0xaa, 0, 0, 0],
            &ne16(6),
            &ne16(2),
            &[1, 2, 0, 0],
            &ne16(9),
            &ne16(3),
            b"nst0\0\0\0\0",
            &ne16(12),
            &ne16(4 | 0x8000),
            &ne16(8),
            &ne16(5),
            &ne32(0xdead_beef),
        ]
        .concat();
        assert_eq!(batch.numbered(77), expected);
    }

    #[test]
    fn a_header_inside_an_attribute_comes_before_its_attributes() {
        let mut batch = Batch::new();
        batch.request(1, NlmF::empty(), &[], |a| a.nested_after(9, &[7; 6], |a| a.bytes(1, &[])));
        let value = [ne16(16).as_slice(), &ne16(9 | 0x8000), &[7; 6], &[0; 2], &ne16(4), &ne16(1)].concat();
        assert_eq!(batch.numbered(0)[16..], value);
    }

    #[test]
    fn messages_are_numbered_in_turn_and_wrap() {
        let mut batch = Batch::new();
        batch.message(16, NlmF::REQUEST, &[], |_| {});
        batch.request(17, NlmF::empty(), &[], |_| {});
        let bytes = batch.numbered(u32::MAX);
        let seen: Vec<_> =
            Messages::new(&bytes).map(|m| m.unwrap()).map(|m| (m.nlmsg_type(), m.nlmsg_seq())).collect();
        assert_eq!(seen, [(16, u32::MAX), (17, 0)]);
        assert_eq!(batch.wants_ack(), [false, true]);
    }

    #[test]
    fn the_reader_finds_what_the_writer_wrote() {
        let mut batch = Batch::new();
        batch.request(16, NlmF::empty(), &[9; 4], |a| {
            a.u16(1, 11);
            a.i32(2, -12);
            a.u32_be(3, 13);
            a.u64_be(4, 14);
            a.nested(5, |a| a.nested(6, |a| a.str(7, "deep")));
            a.bytes(8, &[]);
        });
        let bytes = batch.numbered(1);
        let message = Messages::new(&bytes).next().unwrap().unwrap();
        let (header, attributes) = message.split_header::<4>().unwrap();
        assert_eq!(*header, [9; 4]);
        let find = |nla_type| attributes.get(nla_type).unwrap();
        assert_eq!(find(1).u16(), Some(11));
        assert_eq!(find(2).i32(), Some(-12));
        assert_eq!(find(3).u32_be(), Some(13));
        assert_eq!(find(4).u64_be(), Some(14));
        let deep = |attributes: Attributes<'_>| attributes.get(6)?.nested().get(7)?.str().map(str::to_owned);
        assert_eq!(deep(find(5).nested()).as_deref(), Some("deep"));
        assert_eq!(find(8).bytes(), []);
    }
}
