//! Which addresses the program may reach through the host.
//!
//! # References
//! RFC 6890 (special addresses); RFC 1122 section 3.2.2 (about whom no ICMP error is sent).

use std::net::{IpAddr, Ipv6Addr};

/// Whether a connection of ours may stand in for the program's.
///
/// What listens on the host's loopback device trusts whoever can reach it, and is not to be exposed. Multicast and broadcast
/// have no one peer, and link-local addresses mean other hosts on the other side of a router.
pub(crate) fn is_reachable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            !(address.octets()[0] == 0
                || address.is_loopback()
                || address.is_multicast()
                || address.is_broadcast())
        }
        // A socket of IPv6 takes ::ffff:127.0.0.1 for 127.0.0.1, and ::1 is one of ::/96.
        IpAddr::V6(address) => {
            !(address.to_ipv4().is_some() || address.is_multicast() || is_link_local(address))
        }
    }
}

/// Whether an ICMP error about a packet to this address may be sent.
pub(crate) fn may_be_reported(address: IpAddr) -> bool {
    !(address.is_multicast() || matches!(address, IpAddr::V4(address) if address.is_broadcast()))
}

fn is_link_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_hosts_own_or_has_no_one_peer_is_out_of_reach() {
        let out_of_reach = [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.0.0.53",
            "127.255.255.255",
            "224.0.0.1",
            "239.255.255.250",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:192.0.2.1",
            "::7f00:1",
            "fe80::1",
            "febf::1",
            "ff02::fb",
        ];
        for address in out_of_reach {
            assert!(!is_reachable(address.parse().unwrap()), "{address}");
        }
        for address in
            ["1.1.1.1", "10.0.0.1", "126.255.255.255", "128.0.0.1", "223.255.255.255", "169.254.1.1"]
        {
            assert!(is_reachable(address.parse().unwrap()), "{address}");
        }
        for address in ["2001:db8::1", "fd00::1", "fec0::1", "fe00::1", "64:ff9b::7f00:1"] {
            assert!(is_reachable(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn nobody_is_told_about_what_went_to_many() {
        for (address, may_be) in [
            ("224.0.0.251", false),
            ("ff02::1", false),
            ("255.255.255.255", false),
            ("127.0.0.1", true),
            ("::1", true),
        ] {
            assert_eq!(may_be_reported(address.parse().unwrap()), may_be, "{address}");
        }
    }
}
