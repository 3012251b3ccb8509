//! How many sockets a network namespace has.
//!
//! ```text
//! sockets: used 8
//! TCP: inuse 1 orphan 0 tw 0 alloc 1 mem 0        TCP6: inuse 0
//! UDP: inuse 0 mem 0                              UDP6: inuse 0
//! ```
//!
//! # Theory of operation
//! `inuse` counts whatever is in the table of connections, with a process or without, `tw` what stands there for a connection in
//! `TIME-WAIT` or `FIN-WAIT-2`, of both families. A connection that goes on to the second is counted there before it is no more counted
//! here; so IPv6's file is read before the one that ends with `tw`. Of a kernel that wrote something else nothing is believed.
//!
//! # Kernel interface
//! `/proc/thread-self/net/sockstat`, `/proc/thread-self/net/sockstat6`. No privilege.
//!
//! # References
//! `proc_net(5)`; `sockstat_seq_show()` in `net/ipv4/proc.c`, `sockstat6_seq_show()` in `net/ipv6/proc.c`; `tcp_time_wait()` in
//! `net/ipv4/tcp_minisocks.c`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// The counts of the namespace in which they were opened.
#[derive(Debug)]
pub(crate) struct Sockstat {
    v4: File,
    /// None where the kernel has no IPv6.
    v6: Option<File>,
}

impl Sockstat {
    /// None where one of the files cannot be opened.
    pub(crate) fn open() -> Option<Self> {
        let v6 = match File::open(V6) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            opened => Some(opened.ok()?),
        };
        Some(Self { v4: File::open(V4).ok()?, v6 })
    }

    /// Whether no TCP socket is connected, listens, closes or waits. A kernel that cannot be understood says no.
    pub(crate) fn is_without_tcp(&self) -> bool {
        self.v6.as_ref().is_none_or(|v6| has_line(v6, is_without_v6)) && has_line(&self.v4, is_without_v4)
    }
}

fn has_line(file: &File, wanted: fn(&str) -> bool) -> bool {
    let mut text = [0; LONGEST];
    let read = file.read_at(&mut text, 0).ok().and_then(|len| std::str::from_utf8(text.get(..len)?).ok());
    read.is_some_and(|text| text.lines().any(wanted))
}

fn is_without_v6(line: &str) -> bool {
    line == "TCP6: inuse 0"
}

/// Orphans are those of the whole machine.
fn is_without_v4(line: &str) -> bool {
    line.starts_with("TCP: inuse 0 orphan ") && line.contains(" tw 0 ")
}

/// Not /proc/self: that is the process, whose namespace is its first thread's.
const V4: &str = "/proc/thread-self/net/sockstat";
const V6: &str = "/proc/thread-self/net/sockstat6";
/// Bytes of either file: the six lines of IPv4's have eleven numbers.
const LONGEST: usize = 512;

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use nsntrace_testkit::{Netns, eventually, isolated, sh};

    use super::*;

    #[test]
    fn a_line_is_believed_only_as_it_is_known() {
        assert!(is_without_v4("TCP: inuse 0 orphan 7 tw 0 alloc 9 mem 3"));
        for line in [
            "TCP: inuse 10 orphan 0 tw 0 alloc 1 mem 0",
            "TCP: inuse 0 orphan 0 tw 10 alloc 1 mem 0",
            "TCP: inuse 0 orphan 0 alloc 1 mem 0",
            "TCP: inuse 0",
            "UDP: inuse 0 orphan 0 tw 0 mem 0",
            "",
        ] {
            assert!(!is_without_v4(line), "{line}");
        }
        assert!(
            is_without_v6("TCP6: inuse 0")
                && !is_without_v6("TCP6: inuse 01")
                && !is_without_v6("UDP6: inuse 0")
        );
    }

    #[test]
    fn connections_count_until_nothing_waits() {
        isolated(|| {
            sh("ip link set lo up");
            let (here, there) =
                (Sockstat::open().unwrap(), Netns::new().inside(|| Sockstat::open().unwrap()));
            assert!(here.is_without_tcp());
            let _udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            assert!(here.is_without_tcp());
            for address in ["127.0.0.1:0", "[::1]:0"] {
                let listener = TcpListener::bind(address).unwrap();
                assert!(!here.is_without_tcp() && there.is_without_tcp());
                let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                let (far, _) = listener.accept().unwrap();
                drop(listener);
                assert!(!here.is_without_tcp());
                // Neither socket is in TIME-WAIT where one end is reset.
                rustix::net::sockopt::set_socket_linger(&near, Some(std::time::Duration::ZERO)).unwrap();
                drop((near, far));
                eventually(|| here.is_without_tcp());
            }
        });
    }

    #[test]
    fn a_connection_in_fin_wait_2_or_time_wait_counts() {
        isolated(|| {
            sh("ip link set lo up");
            let here = Sockstat::open().unwrap();
            let far = {
                let listener = TcpListener::bind("[::1]:0").unwrap();
                let _near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                listener.accept().unwrap().0
            };
            eventually(|| sh("ss -Htan state fin-wait-2 | wc -l") == "1");
            assert!(!here.is_without_tcp());
            drop(far);
            eventually(|| sh("ss -Htan state time-wait | wc -l") == "1" && sh("ss -Htan | wc -l") == "1");
            assert!(!here.is_without_tcp());
        });
    }
}
