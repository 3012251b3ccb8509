//! Reading attributes: type, length and value, any of which may hold attributes itself.
//!
//! # Theory of operation
//! An iterator over borrowed bytes. It checks every length against the bytes that are there and ends where
//! they stop making sense, as the kernel's own `nla_for_each_attr()` does; no input makes it panic or read
//! twice.
//!
//! ```text
//!  <------- nla_len ------->
//! +---------+---------+-----+ - - +---------+
//! | nla_len | nla_type| ... | pad | nla_len |     nla_len: u16, without the padding
//! +---------+---------+-----+ - - +---------+     nla_type: u16, the two upper bits are flags
//! ```
//!
//! # References
//! netlink(7); include/uapi/linux/netlink.h; Documentation/userspace-api/netlink/intro.rst.

use crate::batch::{ATTRIBUTE_HEADER, NLA_TYPE_MASK, aligned};

/// The attributes in a piece of a message, in their order.
#[derive(Clone, Debug, Default)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// Attributes laid out one after the other in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The first attribute of a type; the kernel repeats none that we ask for by name.
    pub fn get(&self, nla_type: u16) -> Option<Attribute<'a>> {
        self.clone().find(|attribute| attribute.nla_type == nla_type)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let (header, _) = self.rest.split_first_chunk::<ATTRIBUTE_HEADER>()?;
        let [len_low, len_high, type_low, type_high] = *header;
        let len = usize::from(u16::from_ne_bytes([len_low, len_high]));
        let payload = self.rest.get(ATTRIBUTE_HEADER..len)?;
        self.rest = self.rest.get(aligned(len)..).unwrap_or_default();
        Some(Attribute { nla_type: u16::from_ne_bytes([type_low, type_high]) & NLA_TYPE_MASK, payload })
    }
}

/// One attribute. The readers answer `None` where the value has another size than asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    nla_type: u16,
    payload: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// The type, without the flags that share its field.
    pub fn nla_type(&self) -> u16 {
        self.nla_type
    }

    /// The value as it came.
    pub fn bytes(&self) -> &'a [u8] {
        self.payload
    }

    /// The value as attributes. Meaningless, but harmless, where it holds none.
    pub fn nested(&self) -> Attributes<'a> {
        Attributes::new(self.payload)
    }

    /// The value as one byte.
    pub fn u8(&self) -> Option<u8> {
        self.array().map(u8::from_ne_bytes)
    }

    /// The value as a `u16` of this machine.
    pub fn u16(&self) -> Option<u16> {
        self.array().map(u16::from_ne_bytes)
    }

    /// The value as a `u32` of this machine.
    pub fn u32(&self) -> Option<u32> {
        self.array().map(u32::from_ne_bytes)
    }

    /// The value as an `i32` of this machine.
    pub fn i32(&self) -> Option<i32> {
        self.array().map(i32::from_ne_bytes)
    }

    /// The value as a `u16` in network order.
    pub fn u16_be(&self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// The value as a `u32` in network order.
    pub fn u32_be(&self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// The value as a `u64` in network order.
    pub fn u64_be(&self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// The value as exactly `N` bytes.
    pub fn array<const N: usize>(&self) -> Option<[u8; N]> {
        self.payload.try_into().ok()
    }

    /// The value as text: up to the first zero byte, or all of it where there is none.
    pub fn str(&self) -> Option<&'a str> {
        let text = self.payload.split(|byte| *byte == 0).next()?;
        std::str::from_utf8(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(len: u16, nla_type: u16, rest: &[u8]) -> Vec<u8> {
        [len.to_ne_bytes().as_slice(), &nla_type.to_ne_bytes(), rest].concat()
    }

    #[test]
    fn padding_belongs_to_no_value() {
        let bytes = [attribute(5, 1, &[0xaa, 0, 0, 0]), attribute(8, 2, &[1, 2, 3, 4])].concat();
        let found: Vec<_> = Attributes::new(&bytes).map(|a| (a.nla_type(), a.bytes().to_vec())).collect();
        assert_eq!(found, [(1, vec![0xaa]), (2, vec![1, 2, 3, 4])]);
    }

    #[test]
    fn the_last_padding_may_be_missing() {
        let bytes = attribute(5, 1, &[0xaa]);
        assert_eq!(Attributes::new(&bytes).map(|a| a.u8()).collect::<Vec<_>>(), [Some(0xaa)]);
    }

    #[test]
    fn flags_are_not_part_of_the_type() {
        let bytes = attribute(4, 7 | 0x8000 | 0x4000, &[]);
        assert!(Attributes::new(&bytes).get(7).is_some());
    }

    #[track_caller]
    fn ends_at_once(bytes: &[u8]) {
        assert_eq!(Attributes::new(bytes).next(), None, "{bytes:?}");
    }

    #[test]
    fn a_length_that_lies_ends_the_list() {
        ends_at_once(&[]);
        ends_at_once(&[8, 0, 1]);
        for len in 0..4 {
            ends_at_once(&attribute(len, 1, &[0; 8]));
        }
        ends_at_once(&attribute(13, 1, &[0; 8]));
        ends_at_once(&attribute(u16::MAX, 1, &[0; 8]));
    }

    #[test]
    fn a_value_of_another_size_is_no_number() {
        let bytes = attribute(6, 1, &[1, 2, 0, 0]);
        let attribute = Attributes::new(&bytes).get(1).unwrap();
        assert_eq!((attribute.u8(), attribute.u32(), attribute.u64_be()), (None, None, None));
        assert_eq!(attribute.u16_be(), Some(0x0102));
    }

    #[test]
    fn text_ends_at_its_zero() {
        let text = |bytes| Attribute { nla_type: 1, payload: bytes }.str();
        assert_eq!(text(b"eth0\0"), Some("eth0"));
        assert_eq!(text(b"eth0"), Some("eth0"));
        assert_eq!(text(b"eth0\0junk"), Some("eth0"));
        assert_eq!(text(b""), Some(""));
        assert_eq!(text(b"\xff\0"), None);
    }

    /// Every string of three small bytes that can steer the walk, at every depth: it must end, and it must
    /// not panic.
    #[test]
    fn no_input_panics() {
        fn walk(bytes: &[u8], depth: u8) -> usize {
            Attributes::new(bytes).fold(0, |count, attribute| {
                let _ = (attribute.u8(), attribute.u32(), attribute.str());
                count + 1 + if depth == 0 { 0 } else { walk(attribute.bytes(), depth - 1) }
            })
        }
        let mut state = 0x9e37_79b9_u32;
        for len in 0..96 {
            for _ in 0..400 {
                let bytes: Vec<u8> = (0..len)
                    .map(|_| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        [0, 1, 4, 5, 8, 12, 0x80, 0xff][(state >> 24) as usize % 8]
                    })
                    .collect();
                assert!(walk(&bytes, 4) <= len * 5, "{bytes:?}");
            }
        }
    }
}
