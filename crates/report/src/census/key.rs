//! What flows are found by.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::net::IpAddr;

use super::{Endpoint, Ends, Protocol};

/// Both ends, whichever sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    low: u128,
    high: u128,
    /// Ports of both in the same order, and the protocol.
    rest: u64,
}

impl Key {
    pub(super) fn of(ends: &Ends) -> Self {
        let number = |end: &Endpoint| match end.address {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        let (src, dst) = ((number(&ends.src), ends.src.port), (number(&ends.dst), ends.dst.port));
        let (low, high) = if src <= dst { (src, dst) } else { (dst, src) };
        let family = u64::from(ends.src.address.is_ipv6());
        let protocol = match ends.protocol {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Icmp => 1,
            Protocol::Other(number) => 256 + u64::from(number),
        };
        let rest = protocol << 33 | family << 32 | u64::from(low.1) << 16 | u64::from(high.1);
        Self { low: low.0, high: high.0, rest }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for number in [self.low, self.high] {
            let [low, high] = halves(number);
            state.write_u64(low);
            state.write_u64(high);
        }
        state.write_u64(self.rest);
    }
}

/// Makes hashers that nobody outside can foresee, so that nobody can make all flows fall together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seeded(u64);

impl Default for Seeded {
    fn default() -> Self {
        Self(RandomState::new().build_hasher().finish() | 1)
    }
}

impl BuildHasher for Seeded {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded(self.0)
    }
}

/// Each word is folded in by a multiplication of 64 by 64 bits, both halves of which are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Folded(u64);

impl Hasher for Folded {
    fn write_u64(&mut self, word: u64) {
        let [low, high] = halves(u128::from(self.0 ^ word) * u128::from(MULTIPLIER));
        self.0 = low ^ high;
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(byte.into());
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[expect(clippy::cast_possible_truncation, reason = "it is asked for halves")]
fn halves(number: u128) -> [u64; 2] {
    [number as u64, (number >> 64) as u64]
}

/// 2^64 divided by the golden ratio: odd, and its bits are well mixed.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
