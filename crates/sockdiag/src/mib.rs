//! How many TCP connections a network namespace has had.
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

    /// How many connections have been begun or accepted; none if the kernel cannot be understood.
    pub(crate) fn opens(&self) -> Option<u64> {
        let mut text = [0; LONGEST];
        let len = self.0.read_at(&mut text, 0).ok()?;
        opens(std::str::from_utf8(text.get(..len)?).ok()?)
    }
}

fn opens(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    lines.find(|line| line.starts_with(NAMES))?;
    let mut numbers = lines.next()?.split(' ').skip(5);
    let mut next = || numbers.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

/// Not /proc/self: that is the process, whose namespace is its first thread's.
const PATH: &str = "/proc/thread-self/net/snmp";
const NAMES: &str = "Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens ";
/// Bytes up to there, by far: 40 names and numbers, and a few for each kind of ICMP that was met.
const LONGEST: usize = 4096;

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use nsntrace_testkit::{Netns, isolated, sh};

    use super::*;

    #[test]
    fn numbers_are_believed_only_as_they_are_known() {
        let read = |numbers: &str| opens(&format!("Ip: A B\nIp: 1 2\n{NAMES}X\n{numbers}\nUdp: A"));
        assert_eq!(read("Tcp: 1 200 120000 -1 10 4 7"), Some(14));
        for numbers in ["Tcp: 1 200 120000 -1 0 x 7", "Tcp: 1 200 120000 -1 0", ""] {
            assert_eq!(read(numbers), None, "{numbers}");
        }
        assert_eq!(opens("Tcp: A B C D E F\nTcp: 1 200 120000 -1 0 0 7\n"), None);
        assert_eq!([NAMES, ""].map(opens), [None; 2]);
    }

    #[test]
    fn a_connection_is_never_taken_back() {
        isolated(|| {
            let elsewhere = Mib::open().unwrap();
            for host in ["127.0.0.1:0", "[::1]:0"] {
                Netns::new().inside(|| begin_and_end(host));
                assert_eq!(elsewhere.opens(), Some(0));
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
        assert_eq!(mib.opens(), Some(0));
        drop(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        drop(listener);
        // Both ends'.
        assert_eq!(mib.opens(), Some(2));
    }

    #[test]
    fn a_connection_that_is_refused_was_one() {
        isolated(|| {
            sh("ip link set lo up");
            let mib = Mib::open().unwrap();
            TcpStream::connect("127.0.0.1:9").unwrap_err();
            assert_eq!(mib.opens(), Some(1));
        });
    }
}
