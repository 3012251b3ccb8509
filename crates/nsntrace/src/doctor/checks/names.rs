//! Whom a program would ask for names.
//!
//! # Theory of operation
//! Nothing is asked, and no packet is sent. For a server on loopback somebody must have port 53, which procfs tells; for another one there
//! must be a route, which is what connecting a UDP socket looks for.
//!
//! ```text
//!   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
//!  423: 3500007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 6128 2 ffff9f0a40b2a000 0
//! ```
//!
//! # Kernel interface
//! connect(2), `/proc/self/net/udp`, `/proc/self/net/udp6`. No privilege.
//!
//! # References
//! resolv.conf(5), udp(7), proc_net(5); `udp4_format_sock()` in net/ipv4/udp.c.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use nsntrace_relay::{Nameserver, nameservers};

use crate::doctor::bench::Bench;
use crate::doctor::check::Answer;
use crate::failure::Failure;
use crate::nameservice::RESOLV_CONF;

/// Good if one of them can be asked; the others are named, too.
pub(super) fn servers(_bench: &mut Bench) -> Answer {
    let text = fs::read(RESOLV_CONF).unwrap_or_default();
    let servers = nameservers(&String::from_utf8_lossy(&text));
    let outlooks: Vec<_> = servers.iter().map(outlook).collect();
    let words: Vec<_> = outlooks.iter().map(|(Ok(words) | Err(words))| words.as_str()).collect();
    let words = words.join(", ");
    if outlooks.iter().any(Result::is_ok) {
        return Ok(words);
    }
    Err(Failure::new(words).hint("see /etc/resolv.conf; --use-public-dns asks public servers instead").into())
}

/// What can be said of a server, if a program could ask it, and if not.
fn outlook(server: &Nameserver) -> Result<String, String> {
    let address = server.address.to_canonical();
    if let Some(scope) = &server.scope {
        return Err(format!("{address}%{scope} cannot be asked from inside a trace"));
    }
    if address.is_loopback() || address.is_unspecified() {
        let is_served = is_served(address, &TABLES.map(|path| fs::read_to_string(path).unwrap_or_default()));
        return if is_served {
            Ok(format!("{address} by relay"))
        } else {
            Err(format!("nobody listens at {address}"))
        };
    }
    match connect(address) {
        Ok(()) => Ok(address.to_string()),
        Err(error) => Err(format!("{address} cannot be reached ({})", said(&error))),
    }
}

/// Whether somebody has the port of name servers at an address of loopback, as far as these tables tell.
fn is_served(address: IpAddr, tables: &[String]) -> bool {
    let serves = |local: SocketAddr| {
        let ip = local.ip().to_canonical();
        local.port() == DOMAIN && (ip == address || ip.is_unspecified() || address.is_unspecified())
    };
    let is_unknown = tables.iter().all(String::is_empty);
    is_unknown || tables.iter().flat_map(|table| table.lines()).filter_map(local_address).any(serves)
}

/// The second field of a line: an address in words of 32 bits as the machine has them, and a port.
fn local_address(line: &str) -> Option<SocketAddr> {
    let (address, port) = line.split_whitespace().nth(1)?.split_once(':')?;
    let word = |index: usize| u32::from_str_radix(address.get(8 * index..8 * index + 8)?, 16).ok();
    let ip: IpAddr = match address.len() {
        8 => Ipv4Addr::from(word(0)?.to_ne_bytes()).into(),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?].map(u32::to_ne_bytes);
            let octets: [u8; 16] = words.concat().try_into().ok()?;
            Ipv6Addr::from(octets).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// Asks the kernel for a way to a server. Nothing is sent.
fn connect(address: IpAddr) -> io::Result<()> {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind(SocketAddr::new(any, 0))?.connect(SocketAddr::new(address, DOMAIN))
}

/// The error in words alone.
fn said(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_ascii_lowercase()
}

const TABLES: [&str; 2] = ["/proc/self/net/udp", "/proc/self/net/udp6"];
const DOMAIN: u16 = 53;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_of_ours_is_in_the_tables() {
        for address in ["127.0.0.1", "::1"] {
            let socket = UdpSocket::bind((address.parse::<IpAddr>().unwrap(), 0)).unwrap();
            let tables = TABLES.map(|path| fs::read_to_string(path).unwrap());
            let mut listed = tables.iter().flat_map(|table| table.lines()).filter_map(local_address);
            assert!(listed.any(|listed| listed == socket.local_addr().unwrap()), "{address}");
        }
    }

    #[track_caller]
    fn check_served(address: &str, at: &[u8], port: u16, expected: bool) {
        let words = at.chunks(4).map(|word| u32::from_ne_bytes(word.try_into().unwrap()));
        let hexadecimal = words.map(|word| format!("{word:08X}")).collect::<Vec<_>>().concat();
        let table =
            format!("  sl  local_address rem_address\n  1: {hexadecimal}:{port:04X} 00000000:0000 07\n");
        assert_eq!(
            is_served(address.parse().unwrap(), &[table, String::new()]),
            expected,
            "{address} {at:?}"
        );
    }

    #[test]
    fn who_listens_where_it_counts_serves() {
        check_served("127.0.0.53", &[127, 0, 0, 53], 53, true);
        check_served("127.0.0.53", &[0, 0, 0, 0], 53, true);
        check_served("127.0.0.53", &[0; 16], 53, true);
        check_served("127.0.0.53", &[127, 0, 0, 1], 53, false);
        check_served("127.0.0.53", &[127, 0, 0, 53], 5353, false);
        check_served("::1", &Ipv6Addr::LOCALHOST.octets(), 53, true);
        check_served("::1", &[127, 0, 0, 1], 53, false);
        check_served("0.0.0.0", &[127, 0, 0, 1], 53, true);
    }

    #[test]
    fn who_cannot_tell_suspects_nobody() {
        assert!(is_served(Ipv4Addr::LOCALHOST.into(), &[String::new(), String::new()]));
        for line in ["", "x", "1: 0100007F", "1: 0100007F:zz", "1: 010:0035", "1: é100007F:0035"] {
            assert_eq!(local_address(line), None, "{line}");
        }
    }

    #[test]
    fn errors_are_told_in_words() {
        assert_eq!(said(&io::Error::from_raw_os_error(101)), "network is unreachable");
        assert_eq!(said(&io::Error::other("It")), "it");
    }

    #[test]
    fn a_server_of_a_device_is_not_asked() {
        let server = Nameserver { address: "fe80::1".parse().unwrap(), scope: Some("eth0".into()) };
        assert_eq!(outlook(&server).unwrap_err(), "fe80::1%eth0 cannot be asked from inside a trace");
    }
}
