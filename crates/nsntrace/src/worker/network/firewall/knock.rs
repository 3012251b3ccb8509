//! Whether the host's firewall lets pass what comes by the wire.
//!
//! # Theory of operation
//! The kernel of the traced namespace is made to send a SYN of each family that the host has a default route for, before the program
//! starts and before anything is recorded. The table counts it behind everybody's forward rules, and drops it there: nothing
//! leaves the host (docs/firewalls.md).
//!
//! # Kernel interface
//! connect(2) without waiting.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nsntrace_link::IpFamily;
use nsntrace_nat::Nat as Table;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use crate::failure::Failure;

/// What it takes to look before something is done about a firewall, and after.
pub(crate) struct Knocks {
    pub(super) before: Knock,
    pub(super) after: Knock,
}

impl Knocks {
    /// Opens the sockets in the calling thread's namespace.
    pub(crate) fn open() -> Result<Self, Failure> {
        let before = Knock::open(BY_THE_KERNEL, 1, true)?;
        Ok(Self { before, after: Knock::open(BY_A_THREAD, ROUNDS, false)? })
    }
}

/// Sockets of the traced namespace that are there to be refused, once.
pub(super) struct Knock {
    /// Many times what a packet needs from one hook to the next. Waited for only where somebody drops it.
    patience: Duration,
    /// Whether the table watches a way that is open from then on. Of what goes past others it would not see whether it leaves.
    is_watched: bool,
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
    fn open(patience: Duration, rounds: u32, is_watched: bool) -> Result<Self, Failure> {
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
        Ok(Self { patience, is_watched, callers })
    }

    /// Which families do not get through, of those that have an address here and a default route on the host.
    pub(super) fn refused(
        self,
        table: &mut Table,
        sources: &[(IpFamily, IpAddr)],
    ) -> Result<Vec<IpFamily>, Failure> {
        if sources.is_empty() {
            return Ok(Vec::new());
        }
        let addresses: Vec<_> = sources.iter().map(|(_, address)| *address).collect();
        table.begin_probe(&addresses)?;
        let is_watched = self.is_watched;
        // No caller is left to send anything when it has ended.
        let passed = self.knock(table, sources);
        let is_open = passed.as_ref().is_ok_and(|passed| !passed.contains(&0));
        // Whatever came of it, the program's connections are not to be dropped.
        table.end_probe(is_watched && is_open)?;
        let refused = sources.iter().zip(passed?).filter(|(_, passed)| *passed == 0);
        Ok(refused.map(|((family, _), _)| *family).collect())
    }

    /// Connects, and waits until something of each source was let pass, or as long as that takes at most.
    fn knock(self, table: &mut Table, sources: &[(IpFamily, IpAddr)]) -> Result<Vec<u64>, Failure> {
        let began = Instant::now();
        let mut callers = self.callers.iter().peekable();
        loop {
            let waited = began.elapsed();
            while let Some(caller) = callers.next_if(|caller| caller.delay <= waited) {
                if sources.iter().any(|(family, _)| *family == caller.family) {
                    // In progress; or there is no way already here, and nothing will be seen.
                    let _under_way = connect(&caller.socket, &target(caller.family));
                }
            }
            let passed = table.probed()?;
            if !passed.contains(&0) || waited >= self.patience {
                return Ok(passed);
            }
            // Nobody tells when a counter changes.
            sleep(STEP);
        }
    }
}

fn open(family: IpFamily) -> rustix::io::Result<OwnedFd> {
    let family = match family {
        IpFamily::V4 => AddressFamily::INET,
        IpFamily::V6 => AddressFamily::INET6,
    };
    socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
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
