//! Whether the host's firewall lets pass what comes by the wire.
//!
//! # Theory of operation
//! The kernel of the traced namespace is made to send a SYN of each family that the host has a default route for, before the program
//! starts and before anything is recorded. The table counts it on both sides of everybody's forward rules, and drops it there: nothing
//! leaves the host (docs/firewalls.md).
//!
//! # Kernel interface
//! connect(2) without waiting.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nsntrace_link::IpFamily;
use nsntrace_nat::{Nat as Table, Seen};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, socket_with};

use crate::failure::Failure;

/// What it takes to look before something is done about a firewall, and after. Then twice: the kernel drops what waits in any queue whenever
/// somebody takes a chain away (`nfqnl_nf_hook_drop()` in net/netfilter/nfnetlink_queue.c), as another run does that ends. One packet that is
/// lost says nothing.
pub(crate) struct Knocks {
    pub(super) before: Knock,
    pub(super) after: [Knock; 2],
}

impl Knocks {
    /// Opens the sockets in the calling thread's namespace.
    pub(crate) fn open() -> Result<Self, Failure> {
        let after = [Knock::open(BY_A_THREAD)?, Knock::open(BY_A_THREAD)?];
        Ok(Self { before: Knock::open(BY_THE_KERNEL)?, after })
    }
}

/// Sockets of the traced namespace that are there to be refused, once.
pub(super) struct Knock {
    /// Many times what a packet needs from one hook to the next. Waited for only where somebody drops it.
    patience: Duration,
    v4: OwnedFd,
    /// None where the kernel knows no IPv6.
    v6: Option<OwnedFd>,
}

impl Knock {
    fn open(patience: Duration) -> Result<Self, Failure> {
        let open = |family| {
            socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
        };
        let v4 = open(AddressFamily::INET).map_err(|errno| Failure::of("cannot open a socket", &errno))?;
        Ok(Self { patience, v4, v6: open(AddressFamily::INET6).ok() })
    }

    /// Which families do not get through, of those that have an address here and a default route on the host.
    pub(super) fn refused(
        self,
        table: &mut Table,
        v4: Option<Ipv4Addr>,
        v6: Option<Ipv6Addr>,
    ) -> Result<Vec<IpFamily>, Failure> {
        let v4 = v4.map(|source| (IpFamily::V4, self.v4, IpAddr::V4(source)));
        let v6 = v6.zip(self.v6).map(|(source, socket)| (IpFamily::V6, socket, IpAddr::V6(source)));
        let (mut sockets, mut families, mut sources) = (Vec::new(), Vec::new(), Vec::new());
        for (family, socket, source) in [v4, v6].into_iter().flatten() {
            sources
                .push(bound(&socket, source).map_err(|errno| Failure::of("cannot bind a socket", &errno))?);
            families.push(family);
            sockets.push(socket);
        }
        if sockets.is_empty() {
            return Ok(families);
        }
        table.begin_probe(&sources)?;
        let seen = knock(table, &families, &sockets, self.patience);
        // Whatever came of it, the program's connections are not to be counted, let alone dropped.
        table.end_probe()?;
        let refused = families.into_iter().zip(seen?).filter(|(_, seen)| seen.left == 0);
        Ok(refused.map(|(family, _)| family).collect())
    }
}

/// Gives a socket an address of this namespace, and a port.
fn bound(socket: &OwnedFd, source: IpAddr) -> rustix::io::Result<SocketAddr> {
    bind(socket, &SocketAddr::new(source, 0))?;
    SocketAddr::try_from(getsockname(socket)?).map_err(|_unnamed: Errno| Errno::AFNOSUPPORT)
}

/// Connects, and waits until all were seen to leave, or as long as that takes at most.
fn knock(
    table: &mut Table,
    families: &[IpFamily],
    sockets: &[OwnedFd],
    patience: Duration,
) -> Result<Vec<Seen>, Failure> {
    for (family, socket) in families.iter().zip(sockets) {
        // In progress; or there is no way already here, and nothing will be seen.
        let _under_way = connect(socket, &target(*family));
    }
    let deadline = Instant::now() + patience;
    loop {
        let seen = table.probed()?;
        if seen.iter().all(|seen| seen.left > 0) || Instant::now() >= deadline {
            return Ok(seen);
        }
        // Nobody tells when a counter changes.
        sleep(STEP);
    }
}

/// Somebody behind the default route, to whom most are allowed to talk if they are allowed to talk to anybody. One of those whom
/// `--use-public-dns` asks; this does not reach them.
fn target(family: IpFamily) -> SocketAddr {
    let address = match family {
        IpFamily::V4 => IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1)),
        IpFamily::V6 => IpAddr::V6(Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1111)),
    };
    SocketAddr::new(address, HTTPS)
}

const HTTPS: u16 = 443;
const BY_THE_KERNEL: Duration = Duration::from_millis(20);
/// Past a firewall, a thread of ours hands it on, which may have to wait for a processor.
const BY_A_THREAD: Duration = Duration::from_millis(500);
const STEP: Duration = Duration::from_millis(1);
