//! Pings: echo requests of the program, asked by ping sockets of the host.
//!
//! # Theory of operation
//! One socket for each identifier and host that is pinged. The kernel gives the socket an identifier of its own, and hands
//! it the replies and errors that have it; the program is sent them with its own.
//!
//! Where the host allows no ping sockets the program is told that pings are prohibited, which is better than silence.
//!
//! # Kernel interface
//! `socket(SOCK_DGRAM, IPPROTO_ICMP)`, `socket(SOCK_DGRAM, IPPROTO_ICMPV6)` (Linux 3.11): `net.ipv4.ping_group_range`.
//!
//! # References
//! icmp(7); net/ipv4/ping.c; RFC 792, RFC 4443.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use nsntrace_reactor::{Key, Slots};
use nsntrace_sys::{Datagram, receive_datagram, send_datagrams};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

use crate::engine::{Context, Token};
use crate::outside::{Mishap, Outside, Purpose, Travel, is_shortage};
use crate::reach::{is_reachable, may_be_reported};
use crate::wire::{Cause, Echo, Fragments, Outbox, Packet, Ping, echo_reply, quoted_echo};

/// All pings of the program.
#[derive(Debug)]
pub(crate) struct Pings {
    pingers: Slots<Pinger>,
    by_ends: HashMap<Ends, Key>,
    fragments: Fragments,
}

/// Who pings whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Ends {
    program: IpAddr,
    peer: IpAddr,
    /// The program's, by which it knows its replies.
    identifier: u16,
}

/// A socket that pings one host.
#[derive(Debug)]
struct Pinger {
    ends: Ends,
    outside: Outside,
    /// TTL and sequence number of what was sent last.
    ttl: u8,
    sequence: u16,
    last_used: Instant,
}

impl Pings {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self { pingers: Slots::new(), by_ends: HashMap::new(), fragments: Fragments::default() }
    }

    /// Takes an echo request of the program, or a part of one.
    pub(crate) fn ask(&mut self, packet: &Packet<'_>, context: &mut Context) {
        let travel = Travel { ttl: Some(packet.ttl), may_fragment: packet.may_fragment() };
        if packet.fragment.is_none() {
            if let Some(ping) = Ping::read(packet) {
                self.ping(&ping, travel, context);
            }
        } else if let Some(whole) = self.fragments.take(packet, Instant::now())
            && let Some(ping) = Ping::of_parts(packet, &whole)
        {
            self.ping(&ping, travel, context);
        }
    }

    /// Passes on what a ping socket received, and what others say about what it sent; up to a bound.
    pub(crate) fn answer(&mut self, key: Key, context: &mut Context) {
        let Some(pinger) = self.pingers.get_mut(key) else { return };
        let mut buffer = std::mem::take(&mut context.scratch);
        pinger.answer(&mut buffer, &mut context.outbox, context.config.router(pinger.ends.peer));
        context.scratch = buffer;
    }

    /// Forgets what is too old. Called about once a second while there is something.
    pub(crate) fn tick(&mut self, now: Instant, _context: &mut Context) {
        let is_expired = |pinger: &Pinger| now.saturating_duration_since(pinger.last_used) >= IDLE;
        let expired: Vec<_> =
            self.pingers.iter().filter(|(_, pinger)| is_expired(pinger)).map(|(key, _)| key).collect();
        for key in expired {
            self.close(key);
        }
    }

    /// Whether there is something that can become too old.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.pingers.is_empty()
    }

    fn ping(&mut self, ping: &Ping<'_>, travel: Travel, context: &mut Context) {
        let Ping { source: program, destination: peer, .. } = *ping;
        let ends = Ends { program, peer, identifier: ping.echo.identifier };
        let router = context.config.router(peer);
        if !is_reachable(peer) {
            if may_be_reported(peer) {
                ends.report(ping, Cause::prohibited(peer), router, &mut context.outbox);
            }
            return;
        }
        let known = self.by_ends.get(&ends).copied();
        match known.map_or_else(|| self.open(ends, context), Ok) {
            Ok(key) => {
                if let Some(pinger) = self.pingers.get_mut(key) {
                    pinger.ask(ping, travel, &mut context.outbox, router);
                }
            }
            // Lost, as on a wire that is too narrow: it says nothing about the peer.
            Err(errno) if is_shortage(errno) => {}
            Err(errno) => ends.report(ping, Cause::of(errno, peer), router, &mut context.outbox),
        }
    }

    /// Makes a socket, if need be in place of the one that has been silent for longest.
    fn open(&mut self, ends: Ends, context: &Context) -> Result<Key, Errno> {
        if self.pingers.len() >= context.config.limits.pings.max(1) {
            self.close_oldest();
        }
        let device = context.config.device.as_deref();
        let open = || Outside::open(Purpose::Pings, SocketAddr::new(ends.peer, 0), device);
        let outside = match open() {
            Err(errno) if is_shortage(errno) && self.close_oldest() => open()?,
            result => result?,
        };
        let last_used = Instant::now();
        let key = self.pingers.insert_with(|_| Pinger { ends, outside, ttl: 0, sequence: 0, last_used });
        self.by_ends.insert(ends, key);
        let watched = match self.pingers.get_mut(key) {
            Some(pinger) => context.poller.watch(pinger.outside.socket(), Token::Ping(key), EventFlags::IN),
            None => Ok(()),
        };
        watched.map(|()| key).inspect_err(|_| self.close(key))
    }

    fn close_oldest(&mut self) -> bool {
        let oldest = self.pingers.iter().min_by_key(|(_, pinger)| pinger.last_used).map(|(key, _)| key);
        oldest.is_some_and(|key| {
            self.close(key);
            true
        })
    }

    fn close(&mut self, key: Key) {
        if let Some(pinger) = self.pingers.remove(key) {
            self.by_ends.remove(&pinger.ends);
        }
    }
}

impl Pinger {
    /// Passes a request on to the peer.
    fn ask(&mut self, ping: &Ping<'_>, travel: Travel, outbox: &mut Outbox, router: IpAddr) {
        self.last_used = Instant::now();
        (self.ttl, self.sequence) = (ping.ttl, ping.echo.sequence);
        self.outside.travel(travel);
        let message = ping.echo.request(self.ends.peer.is_ipv4());
        let Err(errno) = self.send(&message) else { return };
        // What an earlier request met is reported by the next call on the socket, and only once.
        if !self.tell_mishaps(outbox, router) {
            return self.ends.report(ping, Cause::of(errno, self.ends.peer), router, outbox);
        }
        // With this one it was about this request.
        if errno != Errno::MSGSIZE {
            let _ = self.send(&message);
        }
    }

    fn send(&self, message: &[u8]) -> Result<(), Errno> {
        match send_datagrams(self.outside.socket(), message, None) {
            // A full queue loses pings, as the wire does.
            Ok(_) | Err(Errno::WOULDBLOCK | Errno::INTR | Errno::NOBUFS) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn answer(&mut self, buffer: &mut [u8], outbox: &mut Outbox, router: IpAddr) {
        for turn in 0..BURST {
            match receive_datagram(self.outside.socket(), buffer) {
                Ok(datagram) => self.pass_back(&datagram, buffer, outbox),
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if turn > 0 => return,
                // Nothing came, so it was an error that called.
                Err(Errno::WOULDBLOCK) => {
                    self.tell_mishaps(outbox, router);
                    return;
                }
                Err(_) => {
                    self.tell_mishaps(outbox, router);
                }
            }
        }
    }

    fn pass_back(&mut self, datagram: &Datagram, buffer: &[u8], outbox: &mut Outbox) {
        // The kernel gives a ping socket the replies with its identifier, whoever they are from.
        if datagram.source.is_none_or(|source| source.ip() != self.ends.peer) {
            return;
        }
        self.last_used = Instant::now();
        let message = buffer.get(..datagram.len).unwrap_or_default();
        let Some(echo) = Echo::read_reply(self.ends.peer.is_ipv4(), message) else { return };
        let echo = Echo { identifier: self.ends.identifier, ..echo };
        let reply = echo_reply(self.ends.peer, self.ends.program, datagram.ttl.unwrap_or(TTL), &echo);
        if let Some(reply) = reply {
            outbox.packet(&reply);
        }
    }

    /// Tells the program what became of what it sent. False if nothing is known.
    fn tell_mishaps(&mut self, outbox: &mut Outbox, router: IpAddr) -> bool {
        let mut buffer = [0; QUOTED];
        let mut found = false;
        for _ in 0..MISHAPS {
            let Some(Mishap { cause, reporter, len }) = self.outside.mishap(&mut buffer) else { break };
            found = true;
            let quoted = Echo::read(buffer.get(..len).unwrap_or_default());
            let last = Echo { identifier: 0, sequence: self.sequence, payload: &[] };
            let echo = Echo { identifier: self.ends.identifier, ..quoted.unwrap_or(last) };
            let Ends { program: source, peer: destination, .. } = self.ends;
            let ping = Ping { source, destination, ttl: self.ttl, echo };
            self.ends.report(&ping, cause, reporter.unwrap_or(router), outbox);
        }
        found
    }
}

impl Ends {
    /// Tells the program that a request went nowhere.
    fn report(&self, ping: &Ping<'_>, cause: Cause, reporter: IpAddr, outbox: &mut Outbox) {
        if let Some(quoted) = quoted_echo(self.program, self.peer, ping.ttl, &ping.echo) {
            outbox.error(&quoted, self.program, self.peer, Some(reporter), cause);
        }
    }
}

/// A host that has not been pinged for so long is pinged by a new socket.
const IDLE: Duration = Duration::from_secs(30);
/// Replies taken from one socket at once, so that others get their turn.
const BURST: usize = 64;
/// How much of a request is quoted at most.
const QUOTED: usize = 1280;
/// What is told at once of one host.
const MISHAPS: usize = 64;
/// Where a reply's TTL is not told.
const TTL: u8 = 64;
