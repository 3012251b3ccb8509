//! Choosing two addresses that nobody uses: one for each end of a veth. Pure: no I/O, and the caller brings
//! the randomness.
//!
//! # Theory of operation
//! Several runs at once must not choose alike, nor may a run choose what a leftover conntrack entry of an
//! earlier one is about; so the choice is random, and evenly so, over all pairs that are free. It is exact: a
//! pool with one free pair left yields that pair.
//!
//! A pair is a /31 (RFC 3021) or a /127 (RFC 6164). Pairs are counted as intervals: a pool is one, a route
//! cuts its own out of it, and of what remains the n-th is taken.
//!
//! IPv4 pools, in the order in which they are tried: private use (RFC 1918), benchmarking (RFC 2544), shared
//! address space (RFC 6598). Left out is what Docker takes without a route to show for it yet: 10.0.0.0/16
//! (first of swarm's pool), 172.17.0.0/16 to 172.31.0.0/16, and 192.168.0.0/16, which also is half of the
//! world's homes, reached by roaming laptops and VPNs.
//!
//! The IPv6 pool is the documentation prefix (RFC 3849): with a unique local address programs would prefer
//! IPv4 (RFC 6724, rule 5 and its table of labels), and these are masqueraded anyway.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{IpFamily, Prefix};

/// Two neighbouring addresses, and nothing else in their network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<A> {
    /// The even address, for the host's end.
    pub host: A,
    /// The odd one, for the traced program's end.
    pub traced: A,
}

/// The prefix length of an IPv4 block.
pub const IPV4_PREFIX_LEN: u8 = 31;
/// The prefix length of an IPv6 block.
pub const IPV6_PREFIX_LEN: u8 = 127;

/// No block is free: routes and addresses cover every pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("routes and addresses of this host cover all of {pools}")]
pub struct Exhausted {
    /// What was searched.
    pub pools: &'static str,
}

/// A free IPv4 block: one that overlaps none of `occupied`, which are the host's routes and addresses.
///
/// `random` wants to be 128 random bits, as [`random_bits`](crate::random_bits) gives them. Default routes
/// among `occupied`, and the two halves that VPN clients make of one, count for nothing: they lead
/// everywhere, and use no address.
///
/// # Errors
/// [`Exhausted`] where every pool is covered.
pub fn choose_ipv4(occupied: &[Prefix], random: u128) -> Result<Block<Ipv4Addr>, Exhausted> {
    let taken = taken(occupied, IpFamily::V4, IPV4_DEFAULT_LIKE);
    let pools = IPV4_POOLS.iter().map(|pool| free_in(pool.pairs, &with(&taken, pool.reserved)));
    // The pools are ranked: a later one only where the earlier ones are full.
    let gaps = pools.into_iter().find(|gaps| !gaps.is_empty());
    let pair = gaps.and_then(|gaps| pick(&gaps, random)).ok_or(Exhausted { pools: IPV4_POOL_NAMES })?;
    Ok(Block { host: ipv4(pair * 2), traced: ipv4(pair * 2 + 1) })
}

/// A free IPv6 block, as [`choose_ipv4`] chooses one.
///
/// # Errors
/// [`Exhausted`] where the host routes the documentation prefix, if only to refuse it.
pub fn choose_ipv6(occupied: &[Prefix], random: u128) -> Result<Block<Ipv6Addr>, Exhausted> {
    let taken = taken(occupied, IpFamily::V6, IPV6_DEFAULT_LIKE);
    let gaps = free_in(IPV6_POOL, &taken);
    let pair = pick(&gaps, random).ok_or(Exhausted { pools: "2001:db8::/32" })?;
    Ok(Block { host: Ipv6Addr::from_bits(pair * 2), traced: Ipv6Addr::from_bits(pair * 2 + 1) })
}

/// An IPv4 address is the lower four bytes of its number.
fn ipv4(bits: u128) -> Ipv4Addr {
    let [.., a, b, c, d] = bits.to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

/// Pairs from `first` to `last`, both included; a pair's number is its addresses' without the last bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Interval {
    first: u128,
    last: u128,
}

impl Interval {
    /// The pairs that a network touches, given its lowest address and how many bits of its addresses vary.
    const fn of_network(address: u128, host_bits: u32) -> Self {
        let size_less_one = if host_bits == 128 { u128::MAX } else { (1 << host_bits) - 1 };
        Self { first: address >> 1, last: (address | size_less_one) >> 1 }
    }

    const fn of_ipv4(octets: [u8; 4], prefix_len: u32) -> Self {
        Self::of_network(u32::from_be_bytes(octets) as u128, 32 - prefix_len)
    }

    fn len(self) -> u128 {
        self.last - self.first + 1
    }
}

/// What the networks of one family take away, in order; those with a prefix no longer than `default_like`
/// aside.
fn taken(occupied: &[Prefix], family: IpFamily, default_like: u8) -> Vec<Interval> {
    let networks = occupied.iter().filter(|net| net.family() == family && net.prefix_len() > default_like);
    let interval = |net: &Prefix| {
        let bits = match net.address() {
            IpAddr::V4(v4) => v4.to_bits().into(),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        Interval::of_network(bits, (family.bits() - net.prefix_len()).into())
    };
    let mut taken: Vec<Interval> = networks.map(interval).collect();
    taken.sort_unstable();
    taken
}

fn with(taken: &[Interval], reserved: Option<Interval>) -> Vec<Interval> {
    let mut all: Vec<Interval> = taken.iter().copied().chain(reserved).collect();
    all.sort_unstable();
    all
}

/// What of a pool is left. `taken` is sorted and may overlap itself.
fn free_in(pool: Interval, taken: &[Interval]) -> Vec<Interval> {
    let mut gaps = Vec::new();
    let mut next = pool.first;
    for cut in taken.iter().filter(|cut| cut.last >= pool.first && cut.first <= pool.last) {
        if cut.first > next {
            gaps.push(Interval { first: next, last: cut.first - 1 });
        }
        next = next.max(cut.last + 1);
    }
    if next <= pool.last {
        gaps.push(Interval { first: next, last: pool.last });
    }
    gaps
}

/// The pair that `random` falls on; `None` where there is none.
fn pick(gaps: &[Interval], random: u128) -> Option<u128> {
    let total: u128 = gaps.iter().map(|gap| gap.len()).sum();
    let mut index = random.checked_rem(total)?;
    for gap in gaps {
        if index < gap.len() {
            return Some(gap.first + index);
        }
        index -= gap.len();
    }
    None
}

struct Pool {
    pairs: Interval,
    reserved: Option<Interval>,
}

const IPV4_POOLS: [Pool; 4] = [
    Pool { pairs: Interval::of_ipv4([10, 0, 0, 0], 8), reserved: Some(Interval::of_ipv4([10, 0, 0, 0], 16)) },
    Pool { pairs: Interval::of_ipv4([172, 16, 0, 0], 16), reserved: None },
    Pool { pairs: Interval::of_ipv4([198, 18, 0, 0], 15), reserved: None },
    Pool { pairs: Interval::of_ipv4([100, 64, 0, 0], 10), reserved: None },
];
const IPV4_POOL_NAMES: &str = "10.0.0.0/8, 172.16.0.0/16, 198.18.0.0/15 and 100.64.0.0/10";
const IPV6_POOL: Interval = Interval::of_network(0x2001_0db8 << 96, 96);
/// 0.0.0.0/0, and its halves 0.0.0.0/1 and 128.0.0.0/1.
const IPV4_DEFAULT_LIKE: u8 = 1;
/// ::/0, and what VPN clients put in its place: 2000::/3, or 2000::/4 and 3000::/4.
const IPV6_DEFAULT_LIKE: u8 = 4;

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "random bits, of which any will do")]
mod tests {
    use super::*;

    fn net(text: &str) -> Prefix {
        let (address, len) = text.split_once('/').unwrap();
        Prefix::new(address.parse().unwrap(), len.parse().unwrap()).unwrap()
    }

    fn nets(texts: &[&str]) -> Vec<Prefix> {
        texts.iter().map(|text| net(text)).collect()
    }

    #[track_caller]
    fn check_ipv4(occupied: &[&str], random: u128, expected: &str) {
        let block = choose_ipv4(&nets(occupied), random).unwrap();
        assert_eq!(format!("{} {}", block.host, block.traced), expected);
    }

    #[test]
    fn the_first_pair_is_the_first_after_swarm() {
        check_ipv4(&[], 0, "10.1.0.0 10.1.0.1");
        check_ipv4(&["0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1"], 0, "10.1.0.0 10.1.0.1");
        check_ipv4(&["10.1.0.1/32"], 0, "10.1.0.2 10.1.0.3");
        check_ipv4(&["10.1.0.0/16", "10.0.0.0/15", "10.1.4.0/24"], 0, "10.2.0.0 10.2.0.1");
    }

    #[test]
    fn the_last_pair_is_the_last_of_the_pool() {
        let pairs = (1 << 23) - (1 << 15);
        check_ipv4(&[], pairs - 1, "10.255.255.254 10.255.255.255");
        check_ipv4(&[], pairs, "10.1.0.0 10.1.0.1");
    }

    #[test]
    fn pools_are_tried_in_their_order() {
        check_ipv4(&["10.0.0.0/8"], 0, "172.16.0.0 172.16.0.1");
        check_ipv4(&["10.0.0.0/8", "172.16.0.0/12"], 0, "198.18.0.0 198.18.0.1");
        check_ipv4(&["10.0.0.0/8", "172.16.0.0/12", "198.18.0.0/15"], 0, "100.64.0.0 100.64.0.1");
    }

    #[test]
    fn one_free_pair_is_found() {
        let mut occupied: Vec<String> =
            (0..23).map(|bit| format!("10.{}.{}.{}/{}", 0, 0, 0, 9 + bit)).collect();
        // Halves of 10/8 down to the pair 10.128.0.0/31, which alone is left out.
        for prefix_len in 9..=31_u32 {
            let sibling = 0x0a80_0000_u32 ^ (1 << (32 - prefix_len));
            occupied.push(format!("{}/{prefix_len}", Ipv4Addr::from_bits(sibling)));
        }
        let texts: Vec<&str> = occupied.iter().map(String::as_str).collect();
        check_ipv4(&texts, u128::MAX, "10.128.0.0 10.128.0.1");
    }

    #[test]
    fn covered_pools_are_an_error_that_names_them() {
        let all = ["10.0.0.0/8", "172.16.0.0/16", "198.18.0.0/15", "100.64.0.0/10"];
        let error = choose_ipv4(&nets(&all), 7).unwrap_err();
        let expected = "routes and addresses of this host cover all of \
                        10.0.0.0/8, 172.16.0.0/16, 198.18.0.0/15 and 100.64.0.0/10";
        assert_eq!(error.to_string(), expected);
        assert!(choose_ipv4(&nets(&["0.0.0.0/2", "64.0.0.0/2", "128.0.0.0/2", "192.0.0.0/2"]), 7).is_err());
        assert_eq!(choose_ipv6(&nets(&["2001:db8::/32"]), 0), Err(Exhausted { pools: "2001:db8::/32" }));
    }

    #[test]
    fn ipv6_pairs_come_from_the_documentation_prefix() {
        let first = choose_ipv6(&nets(&["::/0", "2000::/3", "10.0.0.0/8"]), 0).unwrap();
        assert_eq!(
            (first.host, first.traced),
            ("2001:db8::".parse().unwrap(), "2001:db8::1".parse().unwrap())
        );
        let second = choose_ipv6(&nets(&["2001:db8::/33"]), (1 << 94) - 1).unwrap();
        assert_eq!(second.traced, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff".parse::<Ipv6Addr>().unwrap());
    }

    /// A small generator of its own, so that a failure can be repeated from its seed.
    fn next(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    fn random_net(state: &mut u64) -> Prefix {
        let bases = [0x0a00_0000_u32, 0xac10_0000, 0xc612_0000, 0x6440_0000, 0xc0a8_0000];
        let base = bases[next(state) as usize % bases.len()];
        let address = base | (next(state) as u32 & 0x003f_ffff);
        Prefix::new(Ipv4Addr::from_bits(address).into(), 8 + (next(state) % 25) as u8).unwrap()
    }

    fn random_within(pool: Prefix, state: &mut u64) -> Prefix {
        let IpAddr::V4(lowest) = pool.address() else { panic!("{pool} is not IPv4") };
        let host_bits = next(state) as u32 & (u32::MAX >> pool.prefix_len());
        Prefix::host(Ipv4Addr::from_bits(lowest.to_bits() | host_bits).into())
    }

    #[test]
    fn no_choice_overlaps_a_route() {
        const POOLS: [&str; 4] = ["10.0.0.0/8", "172.16.0.0/16", "198.18.0.0/15", "100.64.0.0/10"];
        let (mut state, mut exhausted) = (0x1234_5678_9abc_def1, 0);
        for round in 0..4000_u64 {
            let occupied: Vec<Prefix> = (0..round % 60).map(|_| random_net(&mut state)).collect();
            let random = u128::from(next(&mut state)) << 64 | u128::from(next(&mut state));
            let Ok(block) = choose_ipv4(&occupied, random) else {
                exhausted += 1;
                for _ in 0..100 {
                    let somewhere = POOLS.map(|pool| random_within(net(pool), &mut state));
                    let is_covered = |one: &Prefix| {
                        is_within(*one, net("10.0.0.0/16"))
                            || occupied.iter().any(|taken| is_within(*one, *taken))
                    };
                    assert!(somewhere.iter().all(is_covered), "round {round}: {occupied:?}");
                }
                continue;
            };
            let own = Prefix::new(block.host.into(), IPV4_PREFIX_LEN).unwrap();
            assert_eq!(own.address(), IpAddr::from(block.host), "round {round}");
            assert!(own.contains(block.traced.into()), "round {round}");
            assert!(!is_within(own, net("10.0.0.0/16")), "round {round}");
            assert!(POOLS.iter().any(|pool| is_within(own, net(pool))), "round {round}: {own}");
            for taken in occupied {
                assert!(!is_within(own, taken) && !is_within(taken, own), "round {round}: {own} {taken}");
            }
        }
        assert!((1..4000).contains(&exhausted), "both outcomes were seen: {exhausted}");
    }

    fn is_within(inner: Prefix, outer: Prefix) -> bool {
        inner.prefix_len() >= outer.prefix_len() && outer.contains(inner.address())
    }

    #[test]
    fn every_free_pair_is_as_likely() {
        // Two free pairs of the last pool, far apart.
        let mut occupied = nets(&["10.0.0.0/8", "172.16.0.0/16", "198.18.0.0/15"]);
        for prefix_len in 11..=31_u32 {
            for pair in [0x6440_0000_u32, 0x6460_0000] {
                let sibling = pair ^ (1 << (32 - prefix_len));
                occupied.push(Prefix::new(Ipv4Addr::from_bits(sibling).into(), prefix_len as u8).unwrap());
            }
        }
        occupied.retain(|taken| taken.prefix_len() != 11);
        let hosts: Vec<Ipv4Addr> =
            (0..4).map(|random| choose_ipv4(&occupied, random).unwrap().host).collect();
        assert_eq!(
            hosts,
            ["100.64.0.0", "100.96.0.0", "100.64.0.0", "100.96.0.0"]
                .map(|text| text.parse::<Ipv4Addr>().unwrap())
        );
    }
}
