//! Connections of the program, each with a half of ours on either side.
//!
//! # Theory of operation
//! ```text
//! SYN ──> asked ── peer connected ──> granted ── accepted ──> joined ──> closed
//!           └───── refused, unreachable: the program is told so
//! ```
//! The program's SYN is answered by nobody until the peer has answered ours. Then it is put on r's loopback device, where
//! TPROXY leads it to the listener, and the connection that the listener accepts is found by its two addresses.
//!
//! A SYN that comes again while the peer is asked is a retransmission, for which the program's own clock is good. Once the
//! peer has said yes it is put on the loopback device again: the listener's queue may have been full. A connection that is
//! granted and not accepted is one that the program does not want any more.
//!
//! # Kernel interface
//! `accept4(2)`, `getsockname(2)`, `send(2)` on a packet socket, epoll edge-triggered.
//!
//! # References
//! Documentation/networking/tproxy.rst; RFC 9293 sections 3.5 and 3.10.7.3; accept(2), "Error handling".

mod direction;
mod joined;
mod pending;
mod pipes;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nsntrace_reactor::{Key, Slots};
use nsntrace_sys::PacketSocket;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{SendFlags, SocketFlags};

use crate::engine::{Context, Token};
use crate::reach::is_reachable;
use crate::wire::{Cause, Syn};
use joined::{Fate, Joined, reset};
use pending::{Pending, Wish, connect, had_connected};
use pipes::Pipes;

/// All connections of the program.
#[derive(Debug)]
pub(crate) struct Connections {
    slots: Slots<Connection>,
    keys: HashMap<Flow, Key>,
    pipes: Pipes,
    /// Sends frames on r's loopback device.
    loopback: PacketSocket,
    listener: OwnedFd,
    /// Granted, the longest ago first; some of them have been accepted since.
    granted: VecDeque<(Instant, Key)>,
    /// Those that wait for a pipe.
    starved: Vec<Key>,
    /// Those that the program must acknowledge more of before they are reset.
    parting: Vec<Key>,
    /// A descriptor to give up when none are left, so that a connection can be accepted and refused.
    spare: Option<OwnedFd>,
    limit: usize,
}

/// Between whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Flow {
    program: SocketAddr,
    peer: SocketAddr,
}

#[derive(Debug)]
struct Connection {
    flow: Flow,
    /// The sequence number of the program's SYN, which no other connection between the same ports has.
    sequence: u32,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Pending(Pending),
    Joined(Joined),
}

impl Connections {
    /// None yet. What `listener` accepts and `loopback` sends is r's.
    pub(crate) fn new(listener: OwnedFd, loopback: PacketSocket, context: &Context) -> Result<Self, Errno> {
        context.poller.watch(&listener, Token::Listener, EventFlags::IN)?;
        Ok(Self {
            slots: Slots::new(),
            keys: HashMap::new(),
            pipes: Pipes::new(),
            loopback,
            spare: spare(&listener),
            listener,
            granted: VecDeque::new(),
            starved: Vec::new(),
            parting: Vec::new(),
            limit: context.config.limits.connections,
        })
    }

    /// The program wants to connect, or says so once more.
    pub(crate) fn wish(&mut self, syn: &Syn<'_>, context: &mut Context) {
        let flow = Flow { program: syn.source, peer: syn.destination };
        let Some(&key) = self.keys.get(&flow) else { return self.begin(flow, syn, context) };
        let Some(connection) = self.slots.get_mut(key) else { return };
        match &mut connection.stage {
            Stage::Pending(pending) => {
                connection.sequence = syn.sequence;
                pending.renew(Wish::new(syn));
                if pending.is_granted {
                    let_through(&self.loopback, syn);
                }
            }
            Stage::Joined(_) if connection.sequence == syn.sequence => {} // It crossed our answer.
            Stage::Joined(_) => {
                // The program has forgotten the old one, for its kernel does not use ports twice.
                self.reset(key);
                self.begin(flow, syn, context);
            }
        }
    }

    /// Connections have been made.
    pub(crate) fn accept(&mut self, context: &mut Context) {
        for _ in 0..BURST {
            if !self.accept_one(context) {
                return;
            }
        }
    }

    /// The program's half of a connection wants attention.
    pub(crate) fn downstream(&mut self, key: Key, flags: EventFlags, context: &mut Context) {
        let Some(connection) = self.slots.get_mut(key) else { return };
        if let Stage::Joined(joined) = &mut connection.stage {
            let fate = joined.downstream(flags, &mut self.pipes);
            self.settle(key, fate, context);
        }
    }

    /// The peer's half of a connection wants attention.
    pub(crate) fn upstream(&mut self, key: Key, flags: EventFlags, context: &mut Context) {
        let Some(connection) = self.slots.get_mut(key) else { return };
        match &mut connection.stage {
            Stage::Joined(joined) => {
                let fate = joined.upstream(flags, &mut self.pipes);
                self.settle(key, fate, context);
            }
            Stage::Pending(pending) if pending.is_granted => {} // It is read once the program is there.
            Stage::Pending(pending) => match pending.answer(flags.contains(EventFlags::OUT)) {
                None => {}
                Some(Ok(())) => self.grant(key, context),
                Some(Err(errno)) if had_connected(errno) => {
                    pending.is_lost = true;
                    self.grant(key, context);
                }
                Some(Err(errno)) => self.refuse(key, errno, context),
            },
        }
    }

    /// Ends what is too old, and looks after what the kernel says nothing about.
    pub(crate) fn tick(&mut self, now: Instant, context: &mut Context) {
        while let Some(&(since, key)) = self.granted.front()
            && (now.saturating_duration_since(since) >= PATIENCE || !self.is_pending(key))
        {
            self.granted.pop_front();
            if self.is_pending(key) {
                self.reset(key);
            }
        }
        for key in std::mem::take(&mut self.parting) {
            self.upstream(key, EventFlags::HUP, context);
        }
        self.feed(context);
    }

    /// Whether there is something that a tick has to look after.
    pub(crate) fn is_waiting(&self) -> bool {
        !(self.granted.is_empty() && self.parting.is_empty() && self.starved.is_empty())
    }

    /// No more connections are wanted: keeps those that the program has made, whether accepted yet or not.
    pub(crate) fn close_up(&mut self, context: &mut Context) {
        while self.accept_one(context) {}
        self.limit = 0;
        let pending: Vec<_> = self.slots.iter().filter(|(_, c)| c.is_pending()).map(|(key, _)| key).collect();
        for key in pending {
            self.reset(key);
        }
    }

    /// Closes the connections whose peers have all that the program has written. Returns whether none are left.
    pub(crate) fn are_delivered(&mut self) -> bool {
        let keys: Vec<_> = self.slots.iter().map(|(key, _)| key).collect();
        for key in keys {
            if let Some(Connection { stage: Stage::Joined(joined), .. }) = self.slots.get_mut(key)
                && joined.is_delivered()
            {
                self.remove(key);
            }
        }
        self.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Begins to connect to the peer.
    fn begin(&mut self, flow: Flow, syn: &Syn<'_>, context: &mut Context) {
        let result = match flow.peer.ip() {
            address if !is_reachable(address) => Err(Errno::NETUNREACH),
            _ if self.slots.len() >= self.limit => Err(Errno::MFILE),
            _ => connect(flow.peer, context.config.device.as_deref()),
        };
        let (upstream, is_connected) = match result {
            Ok(begun) => begun,
            Err(errno) => return tell(syn, errno, context),
        };
        let wish = Wish::new(syn);
        let key = self.slots.insert_with(|_| Connection {
            flow,
            sequence: syn.sequence,
            stage: Stage::Pending(Pending::new(upstream, wish)),
        });
        self.keys.insert(flow, key);
        if let Err(errno) = self.watch(key, context) {
            self.refuse(key, errno, context);
        } else if is_connected {
            self.grant(key, context);
        }
    }

    fn watch(&mut self, key: Key, context: &Context) -> Result<(), Errno> {
        match self.slots.get_mut(key).map(|connection| &connection.stage) {
            Some(Stage::Pending(pending)) => {
                context.poller.watch(&pending.upstream, Token::Upstream(key), EDGES)
            }
            _ => Ok(()),
        }
    }

    /// The peer has said yes: lets the program's SYN through, and accepts what came of it: the program's kernel, which is ours, has
    /// mostly answered within the call.
    fn grant(&mut self, key: Key, context: &mut Context) {
        let Some(connection) = self.slots.get_mut(key) else { return };
        let Stage::Pending(pending) = &mut connection.stage else { return };
        pending.is_granted = true;
        self.granted.push_back((Instant::now(), key));
        if let Some(syn) = pending.wish().syn() {
            let_through(&self.loopback, &syn);
            self.accept_one(context);
        }
    }

    /// The peer has said no, or nobody has said anything.
    fn refuse(&mut self, key: Key, errno: Errno, context: &mut Context) {
        let Some(connection) = self.remove(key) else { return };
        if let Stage::Pending(pending) = connection.stage
            && let Some(syn) = pending.wish().syn()
        {
            tell(&syn, errno, context);
        }
    }

    /// False if nobody waits.
    fn accept_one(&mut self, context: &mut Context) -> bool {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        match rustix::net::acceptfrom_with(&self.listener, flags) {
            Ok((socket, Some(program))) => self.join(socket, SocketAddr::try_from(program).ok(), context),
            Ok((_, None)) | Err(Errno::CONNABORTED | Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => return false,
            Err(_) => return self.shed(),
        }
        true
    }

    /// Finds the other half of what was accepted.
    fn join(&mut self, socket: OwnedFd, program: Option<SocketAddr>, context: &mut Context) {
        let Some(key) = program.and_then(|program| self.key_of(program, &socket)) else {
            return reset(&socket);
        };
        if !self.is_pending(key) || context.poller.watch(&socket, Token::Downstream(key), EDGES).is_err() {
            return reset(&socket);
        }
        self.slots.change(key, |connection| connection.joined(socket));
        // What came from the peer meanwhile was not read, and epoll will not say so again.
        self.upstream(key, EventFlags::IN, context);
    }

    fn key_of(&self, program: SocketAddr, socket: &OwnedFd) -> Option<Key> {
        let peer = SocketAddr::try_from(rustix::net::getsockname(socket).ok()?).ok()?;
        self.keys.get(&Flow { program: canonical(program), peer: canonical(peer) }).copied()
    }

    fn is_pending(&mut self, key: Key) -> bool {
        self.slots.get_mut(key).is_some_and(|connection| connection.is_pending())
    }

    /// Does what a connection's turn has led to.
    fn settle(&mut self, key: Key, fate: Fate, context: &mut Context) {
        match fate {
            Fate::Open => {}
            Fate::Turn => go_on(key, context),
            Fate::Shortage => list(&mut self.starved, key),
            Fate::Parting => list(&mut self.parting, key),
            Fate::Closed => drop(self.remove(key)),
            Fate::Reset => self.reset(key),
        }
        if !self.starved.is_empty() && self.pipes.has_idle() {
            self.feed(context);
        }
    }

    /// Gives those that wait for a pipe another turn.
    fn feed(&mut self, context: &mut Context) {
        for key in self.starved.drain(..) {
            go_on(key, context);
        }
    }

    /// No descriptor is left for what the listener would accept: accepts and refuses it, for otherwise epoll would report
    /// it over and over. False if not even that can be done.
    fn shed(&mut self) -> bool {
        self.spare = None;
        let accepted = rustix::net::acceptfrom_with(&self.listener, SocketFlags::CLOEXEC);
        if let Ok((socket, program)) = &accepted {
            reset(socket);
            let program = program.clone().and_then(|program| SocketAddr::try_from(program).ok());
            if let Some(key) = program.and_then(|program| self.key_of(program, socket)) {
                self.reset(key);
            }
        }
        let is_shed = accepted.is_ok();
        drop(accepted); // Its descriptor is the spare one.
        self.spare = spare(&self.listener);
        is_shed
    }

    fn reset(&mut self, key: Key) {
        match self.remove(key).map(|connection| connection.stage) {
            None => {}
            Some(Stage::Pending(pending)) => reset(&pending.upstream),
            Some(Stage::Joined(joined)) => joined.reset(),
        }
    }

    fn remove(&mut self, key: Key) -> Option<Connection> {
        let connection = self.slots.remove(key)?;
        self.keys.remove(&connection.flow);
        Some(connection)
    }
}

impl Connection {
    fn is_pending(&self) -> bool {
        matches!(self.stage, Stage::Pending(_))
    }

    /// The same one, with the program's half.
    fn joined(mut self, downstream: OwnedFd) -> Self {
        if let Stage::Pending(pending) = self.stage {
            let Pending { upstream, is_lost, .. } = pending;
            self.stage = Stage::Joined(Joined::new(downstream, upstream, is_lost));
        }
        self
    }
}

/// Has both directions of a connection moved on, after others had their turn.
fn go_on(key: Key, context: &mut Context) {
    context.again(Token::Downstream(key), EventFlags::IN);
    context.again(Token::Upstream(key), EventFlags::IN);
}

fn list(keys: &mut Vec<Key>, key: Key) {
    if !keys.contains(&key) {
        keys.push(key);
    }
}

/// Puts a SYN on r's loopback device. If it is lost the program sends it again.
fn let_through(loopback: &PacketSocket, syn: &Syn<'_>) {
    let _ = rustix::net::send(loopback, &syn.again(), SendFlags::DONTWAIT);
}

/// Tells the program how its wish ended.
fn tell(syn: &Syn<'_>, errno: Errno, context: &mut Context) {
    match errno {
        Errno::TIMEDOUT => {} // Its own clock says so.
        Errno::CONNREFUSED => refuse(syn, context),
        errno if is_shortage(errno) => refuse(syn, context),
        errno => {
            let (program, peer) = (syn.source.ip(), syn.destination.ip());
            let reporter = Some(context.config.router(peer));
            context.outbox.error(syn.packet().bytes, program, peer, reporter, Cause::of(errno, peer));
        }
    }
}

fn refuse(syn: &Syn<'_>, context: &Context) {
    if let Some(frame) = syn.reset() {
        context.send(&frame);
    }
}

/// The IPv4 address that an IPv6 socket shows as one of IPv6.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether something was missing on our side that may be there later.
fn is_shortage(errno: Errno) -> bool {
    matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::AGAIN | Errno::NOSPC)
}

/// A descriptor of no meaning.
fn spare(any: &OwnedFd) -> Option<OwnedFd> {
    any.try_clone().ok()
}

/// What both halves are watched for, for as long as they live.
const EDGES: EventFlags =
    EventFlags::IN.union(EventFlags::OUT).union(EventFlags::RDHUP).union(EventFlags::ET);
/// Connections accepted at once, so that those in progress get their turn.
const BURST: usize = 64;
/// How long a connection that the peer has granted waits for the program. It is on the same machine.
const PATIENCE: Duration = Duration::from_secs(10);
