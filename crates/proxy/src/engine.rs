//! The loop.
//!
//! # Theory of operation
//! One thread, one epoll instance. Each part of the proxy keeps its own sockets, watches them under a [`Token`] of its own, and
//! is called when one of them wants attention; what the parts share is [`Context`]. Everything is non-blocking, and no call
//! does more than a bounded amount of work.
//!
//! Sockets are watched edge-triggered (`EPOLLET`) where a part reads until `EWOULDBLOCK`, and level-triggered where it does not.
//! Where it stops before that, on an edge-triggered socket, it must ask for [`Context::again`].
//!
//! # How a part plugs in
//! - A variant of [`Token`] for each kind of socket, with its number in `pack` and `unpack`.
//! - An arm in [`Proxy::attend`].
//! - `tick(now, &mut Context)`, called about once a second while `is_waiting()`: what is too old ends there. No part has timers.
//! - To the program: what is put into the [`Outbox`] of the context is sent out of the veth after each event; [`Context::send`]
//!   takes a whole Ethernet frame and sends it at once.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nsntrace_reactor::{Key, Poller, Ready};
use nsntrace_sys::PacketSocket;
use rustix::event::epoll::EventFlags;
use rustix::net::SendFlags;

use crate::gate::{Arrival, Gate};
use crate::ping::Pings;
use crate::tcp::Connections;
use crate::udp::Flows;
use crate::wire::{Link, Outbox};
use crate::{Config, Inside, ProxyError};

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// Time is up.
    Timer,
    /// The owner wants the end.
    Stop,
    /// The program wants to connect, or pings. The number is the gate's.
    Gate(u32),
    /// A connection of the program was made.
    Listener,
    /// The program's side of a connection.
    Downstream(Key),
    /// The peer's side of a connection.
    Upstream(Key),
    /// UDP: the doorway has datagrams of flows that are not known.
    Datagrams,
    /// UDP: the program's side of a flow.
    FlowInside(Key),
    /// UDP: the peer's side of a flow.
    FlowOutside(Key),
    /// A ping was answered.
    Ping(Key),
    /// Sockets that were asked for have been made in r.
    Made,
}

impl nsntrace_reactor::Token for Token {
    const TIMER: Self = Self::Timer;

    fn pack(self) -> (u8, Key) {
        match self {
            Self::Timer => (0, Key::default()),
            Self::Stop => (1, Key::default()),
            Self::Gate(index) => (2, Key { index, generation: 0 }),
            Self::Listener => (3, Key::default()),
            Self::Downstream(key) => (4, key),
            Self::Upstream(key) => (5, key),
            Self::Datagrams => (6, Key::default()),
            Self::FlowInside(key) => (7, key),
            Self::FlowOutside(key) => (8, key),
            Self::Ping(key) => (9, key),
            Self::Made => (10, Key::default()),
        }
    }

    fn unpack(kind: u8, key: Key) -> Option<Self> {
        Some(match kind {
            0 => Self::Timer,
            1 => Self::Stop,
            2 => Self::Gate(key.index),
            3 => Self::Listener,
            4 => Self::Downstream(key),
            5 => Self::Upstream(key),
            6 => Self::Datagrams,
            7 => Self::FlowInside(key),
            8 => Self::FlowOutside(key),
            9 => Self::Ping(key),
            10 => Self::Made,
            _ => return None,
        })
    }
}

/// What the parts share.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) poller: Poller<Token>,
    pub(crate) config: Config,
    /// One datagram or frame on its way.
    pub(crate) scratch: Box<[u8]>,
    /// What the program is to be sent after this event.
    pub(crate) outbox: Outbox,
    outlet: PacketSocket,
    again: Vec<Ready<Token>>,
}

impl Context {
    /// Sends a whole Ethernet frame to the program. One that is lost is like any that is lost on the way.
    pub(crate) fn send(&self, frame: &[u8]) {
        let _ = rustix::net::send(&self.outlet, frame, SendFlags::DONTWAIT);
    }

    fn flush(&mut self) {
        for frame in self.outbox.take() {
            self.send(&frame);
        }
    }

    /// Has a socket attended to once more after others had their turn.
    pub(crate) fn again(&mut self, token: Token, flags: EventFlags) {
        self.again.push((token, flags));
    }
}

/// Carries out in the host's namespace what the program does in its own. Dropping it closes everything.
#[derive(Debug)]
pub struct Proxy {
    context: Context,
    gate: Gate,
    connections: Connections,
    flows: Flows,
    pings: Pings,
    listener: OwnedFd,
    ready: Vec<Ready<Token>>,
}

impl Proxy {
    /// A proxy for what was opened in r. The veth is there and up. Sockets to the world are made in the network namespace of
    /// the thread that runs it.
    ///
    /// # Errors
    /// [`ProxyError::Inside`]: `ENODEV` without the veth. [`ProxyError::Events`]: `EMFILE` if no descriptors are left.
    pub fn new(inside: Inside, config: Config) -> Result<Self, ProxyError> {
        inside.bind(&config)?;
        let Inside { listener, gate, outlet, doorway, maker, .. } = inside;
        let poller = Poller::new().map_err(ProxyError::events("make an event loop"))?;
        let scratch = vec![0; MAX_DATAGRAM].into_boxed_slice();
        let link = Link { destination: config.program_mac, source: config.mac };
        let outbox = Outbox::new(link, config.mtu);
        let context = Context { poller, config, scratch, outbox, outlet, again: Vec::new() };
        gate.watch(&context)?;
        context
            .poller
            .watch(&listener, Token::Listener, EventFlags::IN)
            .map_err(ProxyError::events("watch the listener"))?;
        let flows = Flows::new(doorway, maker, &context)?;
        let (connections, pings) = (Connections::new(&context.config), Pings::new());
        Ok(Self { context, gate, connections, flows, pings, listener, ready: Vec::new() })
    }

    /// Serves until `stop` is readable or its other end closed, and then until what the program has written is delivered, for
    /// half a minute at most.
    ///
    /// # Errors
    /// [`ProxyError::Events`] if the event loop itself fails, which no program and no peer can bring about.
    pub fn run(&mut self, stop: BorrowedFd<'_>) -> Result<(), ProxyError> {
        self.context
            .poller
            .watch(stop, Token::Stop, EventFlags::IN)
            .map_err(ProxyError::events("watch for the end"))?;
        while self.turn()? {}
        Ok(())
    }

    /// Waits for events and attends to them. False at the end.
    fn turn(&mut self) -> Result<bool, ProxyError> {
        let mut ready = std::mem::take(&mut self.ready);
        let poller = &self.context.poller;
        let collected =
            if self.context.again.is_empty() { poller.wait(&mut ready) } else { poller.ready(&mut ready) };
        collected.map_err(ProxyError::events("wait"))?;
        ready.append(&mut self.context.again);
        let mut goes_on = true;
        for (token, flags) in ready.drain(..) {
            goes_on &= self.attend(token, flags);
            self.context.flush();
        }
        self.ready = ready; // For its memory.
        self.remind()?;
        Ok(goes_on)
    }

    /// False if the end was asked for.
    fn attend(&mut self, token: Token, flags: EventFlags) -> bool {
        match token {
            Token::Timer => self.tick(Instant::now()),
            Token::Stop => return false,
            Token::Gate(index) => self.arrivals(index),
            Token::Listener => self.connections.accept(&self.listener, &mut self.context),
            Token::Downstream(key) => self.connections.downstream(key, flags, &mut self.context),
            Token::Upstream(key) => self.connections.upstream(key, flags, &mut self.context),
            Token::Datagrams => self.flows.datagrams(&mut self.context),
            Token::FlowInside(key) => self.flows.inside(key, &mut self.context),
            Token::FlowOutside(key) => self.flows.outside(key, &mut self.context),
            Token::Ping(key) => self.pings.answer(key, &mut self.context),
            Token::Made => self.flows.made(&mut self.context),
        }
        true
    }

    /// Reads what came to the gate.
    fn arrivals(&mut self, index: u32) {
        for _ in 0..BURST {
            match self.gate.read(index) {
                Some(Arrival::Syn(syn)) => self.connections.wish(&syn, &mut self.context),
                Some(Arrival::Icmp(packet)) => self.pings.ask(&packet, &mut self.context),
                Some(Arrival::Other) => {}
                None => return,
            }
        }
    }

    fn tick(&mut self, now: Instant) {
        self.context.poller.reminded();
        self.connections.tick(now, &mut self.context);
        self.flows.tick(now, &mut self.context);
        self.pings.tick(now, &mut self.context);
    }

    /// Sets the timer while somebody has something that can become too old.
    fn remind(&mut self) -> Result<(), ProxyError> {
        if !(self.connections.is_waiting() || self.flows.is_waiting() || self.pings.is_waiting()) {
            return Ok(());
        }
        let now = Instant::now();
        self.context.poller.remind(now + TICK, now).map_err(ProxyError::events("set a timer"))
    }
}

/// Frames read at once, so that others get their turn.
const BURST: usize = 64;
/// The longest datagram that UDP carries.
const MAX_DATAGRAM: usize = 65535;
const TICK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use nsntrace_reactor::Token as _;

    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        let key = Key { index: 5, generation: 7 };
        for kind in 0..=10 {
            let token = Token::unpack(kind, key).unwrap();
            assert_eq!(token.pack().0, kind);
            assert_eq!(Token::unpack(kind, token.pack().1), Some(token));
        }
        assert_eq!(Token::unpack(11, key), None);
    }
}
