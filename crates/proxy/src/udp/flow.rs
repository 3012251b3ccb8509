//! One flow: what the program sends from one address to another, and the answers.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nsntrace_sys::{Datagram, receive_datagram, send_datagrams};
use rustix::io::Errno;

use crate::engine::Context;
use crate::maker::Maker;
use crate::outside::{Mishap, Outside, Purpose, Travel};
use crate::wire::{Cause, quoted_datagram};

/// The two addresses of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ends {
    pub(super) program: SocketAddr,
    pub(super) peer: SocketAddr,
}

/// Two sockets that stand in for one another.
#[derive(Debug)]
pub(super) struct Flow {
    ends: Ends,
    /// In r: it has the peer's address and is connected to the program.
    inside: OwnedFd,
    outside: Outside,
    last_used: Instant,
    asked: u64,
    answered: u64,
    /// How long the datagrams were that were sent last, in bytes.
    last_len: usize,
}

impl Ends {
    /// Those of a datagram that came through the doorway.
    pub(super) fn of(datagram: &Datagram) -> Option<Self> {
        Some(Self { program: canonical(datagram.source?), peer: canonical(datagram.original_destination?) })
    }

    /// Tells the program that a datagram went nowhere.
    pub(super) fn refuse(&self, bytes: &[u8], cause: Cause, context: &mut Context) {
        self.report(cause, None, bytes.len(), bytes, context);
    }

    /// Tells the program what became of a datagram of `len` bytes, of which `bytes` are the first.
    fn report(
        &self,
        cause: Cause,
        reporter: Option<IpAddr>,
        len: usize,
        bytes: &[u8],
        context: &mut Context,
    ) {
        let (program, peer) = (self.program.ip(), self.peer.ip());
        let reporter = reporter.unwrap_or(context.config.router(peer));
        if let Some(quoted) = quoted_datagram(self.program, self.peer, len, bytes) {
            context.outbox.error(&quoted, program, peer, Some(reporter), cause);
        }
    }
}

impl Flow {
    /// Makes both sockets.
    ///
    /// # Errors
    /// Those of [`Outside::open`], and `EADDRINUSE`, which the options of the sockets in r see to that it is not.
    pub(super) fn open(ends: Ends, maker: &Maker, device: Option<&str>) -> Result<Self, Errno> {
        let outside = Outside::open(Purpose::Datagrams, ends.peer, device)?;
        let inside = maker.take()?;
        let families = maker.families();
        rustix::net::bind(&inside, &families.spell(ends.peer))?;
        rustix::net::connect(&inside, &families.spell(ends.program))?;
        let now = Instant::now();
        Ok(Self { ends, inside, outside, last_used: now, asked: 0, answered: 0, last_len: 0 })
    }

    pub(super) fn ends(&self) -> Ends {
        self.ends
    }

    pub(super) fn inside(&self) -> BorrowedFd<'_> {
        self.inside.as_fd()
    }

    pub(super) fn outside(&self) -> BorrowedFd<'_> {
        self.outside.socket()
    }

    pub(super) fn last_used(&self) -> Instant {
        self.last_used
    }

    /// Whether nothing more is to be expected of it.
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        let idle = if self.ends.peer.port() == DNS && self.answered >= self.asked {
            ANSWERED_IDLE
        } else if self.answered > 0 {
            BOTH_SPOKE_IDLE
        } else {
            UNANSWERED_IDLE
        };
        now.saturating_duration_since(self.last_used) >= idle
    }

    /// Passes on to the peer what the program sent.
    pub(super) fn ask(&mut self, datagram: &Datagram, bytes: &[u8], context: &mut Context) {
        self.last_used = Instant::now();
        self.asked += 1;
        self.last_len = datagram.segment_len.map_or(bytes.len(), usize::from);
        self.outside.travel(Travel { ttl: datagram.ttl, may_fragment: datagram.fragment_len.is_some() });
        let Err(errno) = send(self.outside.socket(), bytes, datagram.segment_len) else { return };
        // What an earlier datagram met is reported by the next call on the socket, and only once.
        if !self.tell_mishaps(context) {
            return self.ends.refuse(bytes, Cause::of(errno, self.ends.peer.ip()), context);
        }
        // With this one it was about this datagram.
        if errno != Errno::MSGSIZE {
            let _ = send(self.outside.socket(), bytes, datagram.segment_len);
        }
    }

    /// Passes on to the program what the peer sent, and what others say about what was sent to it; up to a bound.
    pub(super) fn answer(&mut self, buffer: &mut [u8], burst: usize, context: &mut Context) {
        for turn in 0..burst {
            match receive_datagram(self.outside.socket(), buffer) {
                Ok(datagram) => {
                    self.last_used = Instant::now();
                    self.answered += 1;
                    // A program that is gone, or slower than its socket's buffer, loses the answer as on any wire.
                    let _ = send(self.inside.as_fd(), &buffer[..datagram.len], datagram.segment_len);
                }
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if turn > 0 => return,
                // Nothing came, so it was an error that called.
                Err(Errno::WOULDBLOCK) => {
                    self.tell_mishaps(context);
                    return;
                }
                Err(_) => {
                    self.tell_mishaps(context);
                }
            }
        }
    }

    /// Tells the program what became of what it sent. False if nothing is known.
    fn tell_mishaps(&mut self, context: &mut Context) -> bool {
        let mut buffer = [0; QUOTED];
        let mut found = false;
        for _ in 0..MISHAPS {
            let Some(Mishap { cause, reporter, len }) = self.outside.mishap(&mut buffer) else { break };
            found = true;
            let bytes = buffer.get(..len).unwrap_or_default();
            self.ends.report(cause, reporter, self.last_len, bytes, context);
        }
        found
    }
}

/// Sends on a connected socket. What finds no room is lost, as on any wire.
fn send(socket: BorrowedFd<'_>, bytes: &[u8], segment_len: Option<u16>) -> Result<(), Errno> {
    let sent = match segment_len {
        // Segments that the kernel cannot make, for their number or a device: one by one they go.
        Some(len) => send_datagrams(socket, bytes, segment_len).map(drop).or_else(|errno| match errno {
            Errno::INVAL | Errno::IO | Errno::MSGSIZE | Errno::OPNOTSUPP => {
                bytes.chunks(len.into()).try_for_each(|one| send_datagrams(socket, one, None).map(drop))
            }
            errno => Err(errno),
        }),
        None => send_datagrams(socket, bytes, None).map(drop),
    };
    match sent {
        Err(Errno::WOULDBLOCK | Errno::INTR | Errno::NOBUFS) => Ok(()),
        sent => sent,
    }
}

/// An address of IPv4 as such, though it came by a socket of IPv6.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Flows in which one side has spoken, and both have: `net.netfilter.nf_conntrack_udp_timeout` and `_timeout_stream`.
const UNANSWERED_IDLE: Duration = Duration::from_secs(30);
const BOTH_SPOKE_IDLE: Duration = Duration::from_mins(2);
/// Flows to a name server in which each question has its answer. A second answer would be somebody else's.
const ANSWERED_IDLE: Duration = Duration::from_secs(2);
const DNS: u16 = 53;
/// How much of a datagram is quoted at most.
const QUOTED: usize = 1280;
/// What is told at once of one flow.
const MISHAPS: usize = 64;
