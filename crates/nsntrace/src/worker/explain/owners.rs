//! Whose a flow is.
//!
//! # Theory of operation
//! Two voices, in any order: the witness says who made a socket of which cookie, the kernel which cookie has some addresses, now or when the socket went. A thread
//! listens to both, so that nobody who speaks has to wait; whoever asks listens first, so that he knows what was said before. What is not known yet may be
//! a moment later: a socket that goes is announced from a queue of the kernel's. Who has listened rests before he listens again, for to wake a thread
//! costs whoever speaks, and with him the program, more than all the rest of a socket.

use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nsntrace_owners::{Carrier, Certainty, Departure, Line, Owner, Registry, Turn, Word};
use nsntrace_report::{Endpoint, Flow, Protocol};
use nsntrace_sockdiag::{self as sockdiag, Departures, Heard, SockDiag};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::RecvFlags;

use super::super::recording::now_ns;
use crate::failure::Failure;

/// What the kernel is asked by, of the traced namespace.
pub(crate) struct Sockets {
    sockdiag: SockDiag,
    /// None without privilege, or on a kernel that does not tell.
    departures: Option<Departures>,
}

impl Sockets {
    /// Opens them in the calling thread's namespace.
    pub(crate) fn open() -> Result<Self, Failure> {
        Ok(Self { sockdiag: SockDiag::open()?, departures: Departures::open().ok() })
    }
}

/// Knows whose flows are.
#[derive(Clone)]
pub(crate) struct Owners(Arc<Shared>);

struct Shared {
    line: Arc<Line>,
    /// To wait by for sockets that go.
    departures: Option<OwnedFd>,
    state: Mutex<State>,
}

struct State {
    registry: Registry,
    sockets: Sockets,
    is_witness_gone: bool,
    /// Somebody waits for what is said next, and listens himself.
    is_awaited: bool,
    /// Of some sockets it was not heard that they went.
    is_unheard: bool,
    /// When somebody was last asked to look who holds what, and how often that had been done.
    looked: Option<(Instant, u64)>,
}

impl Owners {
    /// Listens from now on.
    pub(crate) fn start(line: Arc<Line>, sockets: Sockets) -> Result<Self, Failure> {
        let departures =
            sockets.departures.as_ref().map(|departures| departures.as_fd().try_clone_to_owned());
        let departures =
            departures.transpose().map_err(|error| Failure::of("cannot duplicate a descriptor", &error))?;
        let state = State {
            registry: Registry::default(),
            sockets,
            is_witness_gone: false,
            is_awaited: false,
            is_unheard: false,
            looked: None,
        };
        let owners = Self(Arc::new(Shared { line, departures, state: Mutex::new(state) }));
        let listening = owners.clone();
        let thread = thread::Builder::new().name("nsntrace-owners".into()).spawn(move || listening.listen());
        thread.map_err(|error| Failure::of("cannot start a thread", &error))?;
        Ok(owners)
    }

    /// Hears what was said up to now.
    pub(crate) fn hear(&self) {
        self.state().take_in(&self.0.line);
    }

    /// Whose a flow is. Waits until `deadline` for somebody to say so.
    pub(crate) fn whose(&self, flow: &Flow, deadline: Instant) -> Option<Owner> {
        let gone = self.state().find_gone(flow);
        if gone.is_some() {
            return gone;
        }
        let found = loop {
            let mut state = self.state();
            state.is_awaited = true;
            state.take_in(&self.0.line);
            let found = state.find(flow, &self.0.line);
            let is_witness_gone = state.is_witness_gone;
            drop(state);
            let left = deadline.saturating_duration_since(Instant::now());
            if found.is_some() || left.is_zero() || !is_somebodys(flow) {
                break found;
            }
            if !self.wait(is_witness_gone, Timespec::try_from(left).ok().as_ref()) {
                break None;
            }
        };
        self.state().is_awaited = false;
        found
    }

    /// When ports of UDP may have passed from one socket to another, as far as nobody was told yet. Waits for nobody: while others look for
    /// owners, it is told the next time.
    pub(crate) fn take_turns(&self) -> Vec<Turn> {
        self.0.state.try_lock().map_or_else(|_busy| Vec::new(), |mut state| state.registry.take_turns())
    }

    /// Whether sockets went up to now of which it was not heard: some owners may be missing, or be those before.
    pub(crate) fn is_unheard(&self) -> bool {
        let mut state = self.state();
        state.take_in(&self.0.line);
        state.is_unheard
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread's life: until neither has anything to say.
    fn listen(&self) {
        loop {
            let is_witness_gone = self.state().is_witness_gone;
            if !self.wait(is_witness_gone, None) {
                return;
            }
            thread::sleep(REST);
            let mut state = self.state();
            if !state.is_awaited {
                state.take_in(&self.0.line);
            }
        }
    }

    /// Waits until something is said. False if there is nobody to say anything.
    fn wait(&self, is_witness_gone: bool, timeout: Option<&Timespec>) -> bool {
        let line = (!is_witness_gone).then(|| self.0.line.as_fd());
        let fds = line.into_iter().chain(self.0.departures.as_ref().map(|departures| departures.as_fd()));
        let mut polled: Vec<_> = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        if polled.is_empty() {
            return false;
        }
        poll(&mut polled, timeout).map_or_else(|errno| errno == rustix::io::Errno::INTR, |_ready| true)
    }
}

impl State {
    /// Takes in what was said up to now.
    fn take_in(&mut self, line: &Line) {
        line.notes(|cookie, maker| self.registry.note(cookie, maker));
        while !self.is_witness_gone {
            match line.hear(RecvFlags::DONTWAIT) {
                Ok(Some(word)) => self.registry.hear(word),
                Ok(None) => break,
                Err(_gone) => self.is_witness_gone = true,
            }
        }
        let Self { registry, sockets: Sockets { departures, .. }, .. } = self;
        if let Some(departures) = departures {
            let heard = departures.drain(|gone| {
                let sockdiag::Departure { protocol, local, peer, cookie } = gone;
                let heard_ns = now_ns();
                registry.depart(&Departure { carrier: carrier(protocol), local, peer, cookie, heard_ns });
            });
            // What is lost stays unknown, and that is told.
            self.is_unheard |= !matches!(heard, Ok(Heard::Everything));
        }
    }

    /// Without asking the kernel: most short connections are gone when they are looked at, and to ask is a third of what they cost.
    fn find_gone(&self, flow: &Flow) -> Option<Owner> {
        if flow.protocol != Protocol::Tcp || !flow.is_outgoing {
            return None;
        }
        self.registry.begun_at(address(flow.local), address(flow.remote), flow.first_ns)
    }

    fn find(&mut self, flow: &Flow, line: &Line) -> Option<Owner> {
        let protocol = match flow.protocol {
            Protocol::Tcp => sockdiag::Protocol::Tcp,
            Protocol::Udp => sockdiag::Protocol::Udp,
            Protocol::Icmp if flow.is_outgoing => {
                return self.registry.pinger(flow.local.port, flow.local.address.is_ipv6());
            }
            Protocol::Icmp | Protocol::Other(_) => return None,
        };
        let (local, peer) = (address(flow.local), address(flow.remote));
        let living = self.find_living(protocol, local, peer, line);
        if protocol == sockdiag::Protocol::Udp {
            // The one that lives need not be the one that sent the flow's first packet, and is not if it was asked for later: then it is yet to be
            // told whose socket has gone.
            let living = living.filter(|living| !flow.is_outgoing || living.since_ns <= flow.first_ns);
            return self.registry.at((local, peer), flow.first_ns, living);
        }
        living.or_else(|| self.registry.departed(carrier(protocol), local, peer))
    }

    fn find_living(
        &mut self,
        protocol: sockdiag::Protocol,
        local: SocketAddr,
        peer: SocketAddr,
        line: &Line,
    ) -> Option<Owner> {
        let mut find = |peer| self.sockets.sockdiag.find(protocol, local, peer).ok().flatten();
        let found = find(peer)?;
        let is_listener =
            |found: &sockdiag::Found| protocol == sockdiag::Protocol::Tcp && found.peer.port() == 0;
        let certainty = if is_listener(&found) { Certainty::Listener } else { Certainty::Created };
        if let Some(owner) = self.registry.by_cookie(found.cookie, certainty) {
            return Some(owner);
        }
        // One that was accepted nobody has seen being made.
        let listener = (protocol == sockdiag::Protocol::Tcp).then(|| find(nobody(peer))).flatten();
        let listener = listener.filter(is_listener);
        listener
            .and_then(|listener| self.registry.by_cookie(listener.cookie, Certainty::Listener))
            .or_else(|| self.registry.departed(carrier(protocol), local, peer))
            .or_else(|| self.holder(found.inode, line))
    }

    /// Who holds a socket. Has somebody look, but not all the time.
    fn holder(&mut self, inode: u64, line: &Line) -> Option<Owner> {
        if inode == 0 {
            return None;
        }
        let held = self.registry.holder(inode);
        let is_due = self
            .looked
            .is_none_or(|(when, looks)| self.registry.looks() > looks && when.elapsed() >= LOOK_AGAIN);
        if held.is_none() && is_due && !self.is_witness_gone {
            self.looked = Some((Instant::now(), self.registry.looks()));
            self.registry.forget_holders();
            line.say(&Word::Look);
        }
        held
    }
}

/// Packets of others are the kernel's.
pub(super) fn is_somebodys(flow: &Flow) -> bool {
    match flow.protocol {
        Protocol::Tcp | Protocol::Udp => true,
        Protocol::Icmp => flow.is_outgoing && flow.local.port != 0,
        Protocol::Other(_) => false,
    }
}

fn carrier(protocol: sockdiag::Protocol) -> Carrier {
    match protocol {
        sockdiag::Protocol::Tcp => Carrier::Tcp,
        sockdiag::Protocol::Udp => Carrier::Udp,
    }
}

fn address(endpoint: Endpoint) -> SocketAddr {
    SocketAddr::new(endpoint.address, endpoint.port)
}

/// A peer that nobody is connected to.
fn nobody(peer: SocketAddr) -> SocketAddr {
    match peer {
        SocketAddr::V4(_) => SocketAddr::from(([0; 4], 0)),
        SocketAddr::V6(_) => SocketAddr::from(([0_u16; 8], 0)),
    }
}

/// As long as what is said has room, by far; and a program that makes one socket after the other wakes us a hundred times a second.
const REST: Duration = Duration::from_millis(10);
/// A look costs milliseconds of a processor.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
