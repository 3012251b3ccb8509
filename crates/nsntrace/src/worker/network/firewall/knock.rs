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

/// What it takes to look before something is done about a firewall, and after.
pub(crate) struct Knocks {
    pub(super) before: Knock,
    pub(super) after: Knock,
}

impl Knocks {
    /// Opens the sockets in the calling thread's namespace.
    pub(crate) fn open() -> Result<Self, Failure> {
        Ok(Self { before: Knock::open(BY_THE_KERNEL, 1)?, after: Knock::open(BY_A_THREAD, ROUNDS)? })
    }
}

/// Sockets of the traced namespace that are there to be refused, once.
pub(super) struct Knock {
    /// Many times what a packet needs from one hook to the next. Waited for only where somebody drops it.
    patience: Duration,
    callers: Vec<Caller>,
}

/// A socket, and when it connects.
struct Caller {
    family: IpFamily,
    socket: OwnedFd,
    delay: Duration,
}

impl Knock {
    /// So many callers of each family, one after the other.
    fn open(patience: Duration, rounds: u32) -> Result<Self, Failure> {
        let mut callers = Vec::new();
        for delay in (0..rounds).map(|round| PAUSE * round) {
            for family in IpFamily::ALL {
                match open(family) {
                    Ok(socket) => callers.push(Caller { family, socket, delay }),
                    // This kernel knows no IPv6.
                    Err(_) if family == IpFamily::V6 => {}
                    Err(errno) => return Err(Failure::of("cannot open a socket", &errno)),
                }
            }
        }
        Ok(Self { patience, callers })
    }

    /// Which families do not get through, of those that have an address here and a default route on the host.
    pub(super) fn refused(
        mut self,
        table: &mut Table,
        v4: Option<Ipv4Addr>,
        v6: Option<Ipv6Addr>,
    ) -> Result<Vec<IpFamily>, Failure> {
        let source_of = |family| match family {
            IpFamily::V4 => v4.map(IpAddr::V4),
            IpFamily::V6 => v6.map(IpAddr::V6),
        };
        self.callers.retain(|caller| source_of(caller.family).is_some());
        let mut sources = Vec::new();
        for caller in &self.callers {
            let source = source_of(caller.family).map(|source| bound(&caller.socket, source));
            let source = source.transpose().map_err(|errno| Failure::of("cannot bind a socket", &errno))?;
            sources.extend(source);
        }
        if sources.is_empty() {
            return Ok(Vec::new());
        }
        table.begin_probe(&sources)?;
        let refused = self.knock(table);
        // Whatever came of it, the program's connections are not to be counted, let alone dropped.
        table.end_probe()?;
        refused
    }

    /// Connects, and waits until one of each family was seen to leave, or as long as that takes at most.
    fn knock(&self, table: &mut Table) -> Result<Vec<IpFamily>, Failure> {
        let began = Instant::now();
        let mut callers = self.callers.iter().peekable();
        loop {
            let waited = began.elapsed();
            while let Some(caller) = callers.next_if(|caller| caller.delay <= waited) {
                // In progress; or there is no way already here, and nothing will be seen.
                let _under_way = connect(&caller.socket, &target(caller.family));
            }
            let seen = table.probed()?;
            let mut refused = IpFamily::ALL.to_vec();
            refused.retain(|&family| self.is_refused(family, &seen));
            if refused.is_empty() || waited >= self.patience {
                return Ok(refused);
            }
            // Nobody tells when a counter changes.
            sleep(STEP);
        }
    }

    /// Whether a family has knocked, and none of it has left.
    fn is_refused(&self, family: IpFamily, seen: &[Seen]) -> bool {
        let of_family = self.callers.iter().zip(seen).filter(|(caller, _)| caller.family == family);
        of_family.map(|(_, seen)| seen.left).max() == Some(0)
    }
}

fn open(family: IpFamily) -> rustix::io::Result<OwnedFd> {
    let family = match family {
        IpFamily::V4 => AddressFamily::INET,
        IpFamily::V6 => AddressFamily::INET6,
    };
    socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
}

/// Gives a socket an address of this namespace, and a port.
fn bound(socket: &OwnedFd, source: IpAddr) -> rustix::io::Result<SocketAddr> {
    bind(socket, &SocketAddr::new(source, 0))?;
    SocketAddr::try_from(getsockname(socket)?).map_err(|_unnamed: Errno| Errno::AFNOSUPPORT)
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
/// How often is knocked there: the kernel drops what waits in any queue whenever somebody takes a chain away (`nfqnl_nf_hook_drop()` in
/// net/netfilter/nfnetlink_queue.c), as another run does that ends. One packet that is lost says nothing.
const ROUNDS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(150);
const STEP: Duration = Duration::from_millis(1);
