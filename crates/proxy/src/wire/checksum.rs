//! The Internet checksum: the one's complement of the one's complement sum of 16-bit words.
//!
//! # References
//! RFC 1071; RFC 9293 section 3.1 and RFC 8200 section 8.1 for the pseudo-headers.

use std::net::IpAddr;

/// A sum of 16-bit words that is not folded yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    /// The sum of the pseudo-header that TCP, UDP and ICMPv6 start from.
    pub(crate) fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, len: usize) -> Self {
        // IPv4 has 16 bits for the length and IPv6 has 32; the sums are the same, for carries are folded in.
        Self(len as u64 + u64::from(protocol)).and_address(source).and_address(destination)
    }

    /// The sum continued by `bytes`. Only the last part of what is summed may have an odd length.
    pub(crate) fn and(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<2>();
        let sum: u64 = words.iter().map(|&word| u64::from(u16::from_be_bytes(word))).sum();
        let last = rest.first().map_or(0, |&byte| u64::from(byte) << 8);
        Self(self.0 + sum + last)
    }

    /// The checksum, as it stands in a header.
    pub(crate) fn checksum(self) -> [u8; 2] {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        let [.., high, low] = (!sum).to_be_bytes();
        [high, low]
    }

    fn and_address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => self.and(&address.octets()),
            IpAddr::V6(address) => self.and(&address.octets()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071() {
        let sum = Sum::default().and(&[0x00, 0x01, 0xf2, 0x03]).and(&[0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.checksum(), [!0xdd, !0xf2]);
    }

    #[test]
    fn an_odd_byte_is_the_high_one() {
        assert_eq!(Sum::default().and(&[0x12]).checksum(), [!0x12, 0xff]);
    }

    #[test]
    fn what_is_checksummed_with_its_checksum_gives_zero() {
        let bytes: Vec<u8> = (0..=255).cycle().take(65_534).collect();
        let sum = Sum::default().and(&bytes);
        assert_eq!(sum.and(&sum.checksum()).checksum(), [0, 0]);
    }
}
