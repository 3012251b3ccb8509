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
//! Before the loop sleeps it looks for as long as it takes to be woken ([`AWAKE`]): an answer from this machine comes sooner, and
//! waking somebody costs the waker about as much again. Others that wait for the processor run between looks.
//!
//! # How a part plugs in
//! - A variant of [`Token`] for each kind of socket, with its number in `pack` and `unpack`.
//! - An arm in [`Proxy::attend`].
//! - `tick(now, &mut Context)`, called about once a second while `is_waiting()`: what is too old ends there. No part has timers.
//! - To the program: what is put into the [`Outbox`] of the context is sent out of the veth after each event; [`Context::send`]
//!   takes a whole Ethernet frame and sends it at once.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nsntrace_reactor::{Key, Poller, Ready};
use nsntrace_sys::PacketSocket;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
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
    ready: Vec<Ready<Token>>,
}

/// Whether to wait until something is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Wait,
    DoNotWait,
}

/// What a turn of the loop has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Nothing,
    Events,
    /// The owner wants the end.
    Stop,
}

impl Proxy {
    /// A proxy for what was opened in r. The veth is there and up. Sockets to the world are made in the network namespace of
    /// the thread that runs it.
    ///
    /// # Errors
    /// [`ProxyError::Inside`]: `ENODEV` without the veth. [`ProxyError::Events`]: `EMFILE` if no descriptors are left.
    pub fn new(inside: Inside, config: Config) -> Result<Self, ProxyError> {
        inside.bind(&config)?;
        let Inside { listener, loopback, gate, outlet, doorway, maker, .. } = inside;
        let poller = Poller::new().map_err(ProxyError::events("make an event loop"))?;
        let scratch = vec![0; MAX_DATAGRAM].into_boxed_slice();
        let link = Link { destination: config.program_mac, source: config.mac };
        let outbox = Outbox::new(link, config.mtu);
        let context = Context { poller, config, scratch, outbox, outlet, again: Vec::new() };
        gate.watch(&context)?;
        let connections = Connections::new(listener, loopback, &context)
            .map_err(ProxyError::events("watch the listener"))?;
        let flows = Flows::new(doorway, maker, &context)?;
        Ok(Self { context, gate, connections, flows, pings: Pings::new(), ready: Vec::new() })
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
        while self.turn(Pace::Wait)? != Turn::Stop {}
        self.context
            .poller
            .rewatch(stop, Token::Stop, EventFlags::IN, EventFlags::empty())
            .map_err(ProxyError::events("look away from the end"))?;
        self.deliver()
    }

    /// Goes on until what the program has written is delivered.
    fn deliver(&mut self) -> Result<(), ProxyError> {
        self.gate.unwatch(&self.context)?;
        self.connections.close_up(&mut self.context);
        let begin = Instant::now();
        // What has come to us already comes first.
        while begin.elapsed() < SOON && self.turn(Pace::DoNotWait)? == Turn::Events {}
        while !self.connections.are_delivered() && begin.elapsed() < PATIENCE {
            let look_again = Instant::now() + SOON;
            while !self.connections.is_empty() && Instant::now() < look_again {
                self.remind_by(look_again)?;
                self.turn(Pace::Wait)?;
            }
        }
        Ok(())
    }

    /// Attends to what is ready.
    fn turn(&mut self, pace: Pace) -> Result<Turn, ProxyError> {
        let mut ready = std::mem::take(&mut self.ready);
        let may_wait = pace == Pace::Wait && self.context.again.is_empty();
        self.collect(&mut ready, may_wait).map_err(ProxyError::events("wait"))?;
        ready.append(&mut self.context.again);
        let mut turn = if ready.is_empty() { Turn::Nothing } else { Turn::Events };
        for (token, flags) in ready.drain(..) {
            if token == Token::Stop {
                turn = Turn::Stop;
            } else {
                self.attend(token, flags);
                self.context.flush();
            }
        }
        self.ready = ready; // For its memory.
        self.remind()?;
        Ok(turn)
    }

    /// Appends what is ready; if it may wait, once there is something.
    fn collect(&self, ready: &mut Vec<Ready<Token>>, may_wait: bool) -> Result<(), Errno> {
        let poller = &self.context.poller;
        let begin = Instant::now();
        poller.ready(ready)?;
        while may_wait && ready.is_empty() {
            if begin.elapsed() >= AWAKE {
                return poller.wait(ready);
            }
            rustix::thread::sched_yield();
            poller.ready(ready)?;
        }
        Ok(())
    }

    fn attend(&mut self, token: Token, flags: EventFlags) {
        match token {
            Token::Timer => self.tick(Instant::now()),
            Token::Stop => {} // The loop's own.
            Token::Gate(index) => self.arrivals(index),
            Token::Listener => self.connections.accept(&mut self.context),
            Token::Downstream(key) => self.connections.downstream(key, flags, &mut self.context),
            Token::Upstream(key) => self.connections.upstream(key, flags, &mut self.context),
            Token::Datagrams => self.flows.datagrams(&mut self.context),
            Token::FlowInside(key) => self.flows.inside(key, &mut self.context),
            Token::FlowOutside(key) => self.flows.outside(key, &mut self.context),
            Token::Ping(key) => self.pings.answer(key, &mut self.context),
        }
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
        if self.connections.is_waiting() || self.flows.is_waiting() || self.pings.is_waiting() {
            self.remind_by(Instant::now() + TICK)?;
        }
        Ok(())
    }

    fn remind_by(&mut self, due: Instant) -> Result<(), ProxyError> {
        self.context.poller.remind(due, Instant::now()).map_err(ProxyError::events("set a timer"))
    }
}

/// How long an idle processor takes to be woken, and some more: a few µs on bare metal, 20 to 40 where it is a virtual one.
const AWAKE: Duration = Duration::from_micros(50);
/// Frames read at once, so that others get their turn.
const BURST: usize = 64;
/// The longest datagram that UDP carries.
const MAX_DATAGRAM: usize = 65535;
const TICK: Duration = Duration::from_secs(1);
/// How often it is looked whether all is delivered: the kernel does not say when the last byte is acknowledged.
const SOON: Duration = Duration::from_millis(250);
/// How long delivery may take.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use nsntrace_reactor::Token as _;

    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        let key = Key { index: 5, generation: 7 };
        for kind in 0..=9 {
            let token = Token::unpack(kind, key).unwrap();
            assert_eq!(token.pack().0, kind);
            assert_eq!(Token::unpack(kind, token.pack().1), Some(token));
        }
        assert_eq!(Token::unpack(10, key), None);
    }
}
