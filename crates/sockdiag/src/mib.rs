//! Whether a network namespace has ever had a TCP connection.
//!
//! ```text
//! Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails …
//! Tcp: 1 200 120000 -1 3 0 0 …
//! ```
//!
//! # Theory of operation
//! The kernel counts connections that were begun from here and those that were accepted, of IPv4 and IPv6 together, and never takes one back. So it
//! does not matter when it is asked: a count of those that are open would be wrong for a moment while one goes on to `FIN-WAIT-2`, which takes another place in its table. Of a
//! kernel that writes something else nothing is believed. A socket that was made by `TCP_REPAIR` is not counted.
//!
//! # Kernel interface
//! `/proc/thread-self/net/snmp`. No privilege.
//!
//! # References
//! `proc_net(5)`; RFC 4022, `tcpActiveOpens` and `tcpPassiveOpens`; `snmp_seq_show_tcp_udp()` in `net/ipv4/proc.c`; `tcp_connect()` in
//! `net/ipv4/tcp_output.c`, `tcp_create_openreq_child()` in `net/ipv4/tcp_minisocks.c`.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

/// The counts of the namespace in which they were opened.
#[derive(Debug)]
pub(crate) struct Mib(File);

impl Mib {
    /// None without procfs.
    pub(crate) fn open() -> Option<Self> {
        Some(Self(File::open(PATH).ok()?))
    }

    /// Whether there has been no connection; no if the kernel cannot be understood.
    pub(crate) fn is_without_connections(&self) -> bool {
        let mut text = [0; LONGEST];
        let len = self.0.read_at(&mut text, 0).unwrap_or(0);
        is_without_connections(&text[..len])
    }
}

fn is_without_connections(text: &[u8]) -> bool {
    let mut lines = text.split(|byte| *byte == b'\n');
    if !lines.any(|line| line.starts_with(NAMES)) {
        return false;
    }
    let mut numbers = lines.next().unwrap_or_default().split(|byte| *byte == b' ').skip(5);
    [numbers.next(), numbers.next()] == [Some(b"0".as_slice()); 2]
}

/// Not /proc/self: that is the process, whose namespace is its first thread's.
const PATH: &str = "/proc/thread-self/net/snmp";
const NAMES: &[u8] = b"Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens ";
/// Bytes up to there, by far: 40 names and numbers, and a few for each kind of ICMP that was met.
const LONGEST: usize = 4096;

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use nsntrace_testkit::{Netns, isolated, sh};

    use super::*;

    #[test]
    fn numbers_are_believed_only_as_they_are_known() {
        let names = String::from_utf8_lossy(NAMES);
        let without = |numbers: &str| {
            is_without_connections(format!("Ip: A B\nIp: 1 2\n{names}X\n{numbers}\nUdp: A").as_bytes())
        };
        assert!(without("Tcp: 1 200 120000 -1 0 0 7"));
        for numbers in
            ["Tcp: 1 200 120000 -1 10 0 7", "Tcp: 1 200 120000 -1 0 10 7", "Tcp: 1 200 120000 -1 0", ""]
        {
            assert!(!without(numbers), "{numbers}");
        }
        assert!(!is_without_connections(b"Tcp: A B C D E F\nTcp: 1 200 120000 -1 0 0 7\n"));
        assert!(!is_without_connections(NAMES) && !is_without_connections(b""));
    }

    #[test]
    fn a_connection_is_never_taken_back() {
        isolated(|| {
            let elsewhere = Mib::open().unwrap();
            for host in ["127.0.0.1:0", "[::1]:0"] {
                Netns::new().inside(|| begin_and_end(host));
                assert!(elsewhere.is_without_connections());
            }
        });
    }

    fn begin_and_end(host: &str) {
        sh("ip link set lo up");
        let mib = Mib::open().unwrap();
        // Lengthens the file.
        sh("ping -c 1 -w 5 127.0.0.1");
        let _udp = UdpSocket::bind(host).unwrap();
        let listener = TcpListener::bind(host).unwrap();
        assert!(mib.is_without_connections());
        drop(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        drop(listener);
        assert!(!mib.is_without_connections());
    }

    #[test]
    fn a_connection_that_is_refused_was_one() {
        isolated(|| {
            sh("ip link set lo up");
            let mib = Mib::open().unwrap();
            TcpStream::connect("127.0.0.1:9").unwrap_err();
            assert!(!mib.is_without_connections());
        });
    }
}
