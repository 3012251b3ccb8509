//! What flows are found by.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::net::IpAddr;

use nsntrace_dissect::Way;

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
    pub(super) fn of(way: &Way) -> Self {
        let (src_port, dst_port) = (way.rest >> 16 & 0xffff, way.rest & 0xffff);
        let (src, dst) = ((way.src, src_port), (way.dst, dst_port));
        let (low, high) = if src <= dst { (src, dst) } else { (dst, src) };
        let rest = way.rest >> 32 << 32 | low.1 << 16 | high.1;
        Self { low: low.0, high: high.0, rest }
    }
}

/// The ends of a packet as numbers, as a [`glance`](nsntrace_dissect::glance) has them.
pub(super) fn way(ends: &Ends) -> Way {
    let number = |end: &Endpoint| match end.address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    let protocol = match ends.protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Icmp => 1,
        Protocol::Other(number) => 256 + u16::from(number),
    };
    let kind = Way::kind(protocol, ends.src.address.is_ipv6());
    Way::new((number(&ends.src), ends.src.port), (number(&ends.dst), ends.dst.port), kind)
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
