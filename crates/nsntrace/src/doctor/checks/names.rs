//! Whom a program would ask for names.
//!
//! # Theory of operation
//! Nothing is asked, and no packet leaves the host. A server on loopback is sent an empty datagram, which is no question: where nobody listens
//! the kernel says so at once. For another one there must be a route, which is what connecting a UDP socket looks for.
//!
//! # References
//! resolv.conf(5), udp(7).

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

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
        return match knock(address) {
            Ok(()) => Ok(format!("{address} by relay")),
            Err(error) => Err(format!("{address} does not answer ({})", said(&error))),
        };
    }
    match connected(address) {
        Ok(_socket) => Ok(address.to_string()),
        Err(error) => Err(format!("{address} cannot be reached ({})", said(&error))),
    }
}

/// Whether somebody listens.
fn knock(address: IpAddr) -> io::Result<()> {
    let socket = connected(address)?;
    socket.send(&[])?;
    socket.set_read_timeout(Some(PATIENCE))?;
    match socket.recv(&mut [0]) {
        // Nobody answers to nothing.
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(()),
        other => other.map(|_answered| ()),
    }
}

/// A socket to a server's port, from which nothing has been sent.
fn connected(address: IpAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.connect(SocketAddr::new(address, DOMAIN))?;
    Ok(socket)
}

/// The error in words alone.
fn said(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

const DOMAIN: u16 = 53;
/// Loopback delivers within a system call, or soon after it.
const PATIENCE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_who_listens_is_told_from_nobody() {
        let listener = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        socket.connect(listener.local_addr().unwrap()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send(&[]).unwrap();
        assert_eq!(socket.recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        socket.connect(nobody).unwrap();
        socket.send(&[]).unwrap();
        assert_eq!(socket.recv(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
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
