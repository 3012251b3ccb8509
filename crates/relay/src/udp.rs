//! Datagrams: each client port gets a socket of its own to the server, so that answers find their way back and the kernel
//! picks a fresh source port, which is half of what protects a query from forged answers (RFC 5452 section 9.2).
//!
//! The sockets are connected: answers of others are dropped by the kernel, and a server that is not there shows as an
//! error (ICMP), which the client is told at once by a SERVFAIL.
//!
//! # Kernel interface
//! `recvfrom(2)`, `sendto(2)`, `connect(2)`, `send(2)`, `recv(2)`.
//!
//! # References
//! udp(7), "Error handling"; RFC 5452.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nsntrace_reactor::{Key, Poller, Slots};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketType};

use crate::failure::Failure;
use crate::listener::{Listener, socket};
use crate::tcp::is_shortage;
use crate::token::Token;

/// All client ports that a relay knows.
#[derive(Debug)]
pub(crate) struct Flows {
    slots: Slots<Flow>,
    by_client: HashMap<Client, Key>,
    limit: usize,
}

/// Who asked, and at which listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Client {
    listener: u32,
    address: SocketAddr,
}

#[derive(Debug)]
struct Flow {
    socket: OwnedFd,
    client: Client,
    /// What to say if the server turns out not to be there, for each query without an answer.
    unanswered: VecDeque<Failure>,
    last_used: Instant,
}

impl Flows {
    pub(crate) fn new(limit: usize) -> Self {
        Self { slots: Slots::new(), by_client: HashMap::new(), limit }
    }

    /// Passes the queries that wait at listener number `index` on, up to a bound.
    pub(crate) fn ask(
        &mut self,
        index: u32,
        listener: &Listener,
        scratch: &mut [u8],
        poller: &Poller<Token>,
    ) {
        for _ in 0..BURST {
            // Nothing waits, or an error that is reported once and says nothing about the next datagram.
            let Ok((len, _, from)) = rustix::net::recvfrom(&listener.udp, &mut *scratch, RecvFlags::empty())
            else {
                return;
            };
            let Some(address) = from.and_then(|from| SocketAddr::try_from(from).ok()) else { continue };
            self.pass_on(Client { listener: index, address }, listener, &scratch[..len], poller);
        }
    }

    /// Passes the answers that wait at the flow `key` back, up to a bound.
    pub(crate) fn answer(&mut self, key: Key, listeners: &[Listener], scratch: &mut [u8]) {
        let Some(flow) = self.slots.get_mut(key) else { return };
        let Some(listener) = listeners.get(flow.client.listener as usize) else { return };
        for _ in 0..BURST {
            match rustix::net::recv(&flow.socket, &mut *scratch, RecvFlags::empty()) {
                Ok((len, _)) => flow.pass_back(listener, &scratch[..len]),
                Err(Errno::WOULDBLOCK | Errno::INTR) => return,
                Err(_) => flow.fail_all(listener),
            }
        }
    }

    /// Forgets the clients that have been silent for longer than `idle`.
    pub(crate) fn expire(&mut self, idle: Duration, now: Instant) {
        let is_expired = |flow: &Flow| now.saturating_duration_since(flow.last_used) >= idle;
        let expired: Vec<_> =
            self.slots.iter().filter(|(_, flow)| is_expired(flow)).map(|(key, _)| key).collect();
        for key in expired {
            self.close(key);
        }
    }

    /// When the client that has been silent for longest was last heard of.
    pub(crate) fn oldest_use(&self) -> Option<Instant> {
        self.oldest().map(|(_, last_used)| last_used)
    }

    /// Forgets the client that has been silent for longest. False if there is none.
    pub(crate) fn drop_oldest(&mut self) -> bool {
        match self.oldest() {
            Some((key, _)) => {
                self.close(key);
                true
            }
            None => false,
        }
    }

    fn oldest(&self) -> Option<(Key, Instant)> {
        self.slots.iter().map(|(key, flow)| (key, flow.last_used)).min_by_key(|&(_, at)| at)
    }

    fn pass_on(&mut self, client: Client, listener: &Listener, query: &[u8], poller: &Poller<Token>) {
        let known = self.by_client.get(&client).copied();
        let Ok(key) = known.map_or_else(|| self.open(client, listener.server, poller), Ok) else {
            return refuse(listener, client.address, query);
        };
        if let Some(flow) = self.slots.get_mut(key) {
            flow.ask(listener, query);
        }
    }

    /// Makes a socket to the server for a new client, if need be in place of the one that was silent for longest.
    fn open(&mut self, client: Client, server: SocketAddr, poller: &Poller<Token>) -> Result<Key, Errno> {
        if self.slots.len() >= self.limit {
            self.drop_oldest();
        }
        let socket = match connect(server) {
            Err(errno) if is_shortage(errno) && self.drop_oldest() => connect(server)?,
            result => result?,
        };
        let flow = Flow { socket, client, unanswered: VecDeque::new(), last_used: Instant::now() };
        let key = self.slots.insert_with(|_| flow);
        self.by_client.insert(client, key);
        let watched = match self.slots.get_mut(key) {
            Some(flow) => poller.watch(&flow.socket, Token::Flow(key), EventFlags::IN),
            None => Ok(()),
        };
        watched.map(|()| key).inspect_err(|_| self.close(key))
    }

    fn close(&mut self, key: Key) {
        if let Some(flow) = self.slots.remove(key) {
            self.by_client.remove(&flow.client);
        }
    }
}

impl Flow {
    fn ask(&mut self, listener: &Listener, query: &[u8]) {
        self.last_used = Instant::now();
        if self.send(query).is_err() {
            // What an earlier query met is reported by the next call on the socket, and only once.
            self.fail_all(listener);
            if self.send(query).is_err() {
                return refuse(listener, self.client.address, query);
            }
        }
        let Some(failure) = Failure::to(query) else { return };
        // A query that is asked again has one answer.
        self.unanswered.retain(|other| !other.has_id_of(query));
        if self.unanswered.len() == MAX_UNANSWERED {
            self.unanswered.pop_front();
        }
        self.unanswered.push_back(failure);
    }

    fn send(&self, query: &[u8]) -> Result<(), Errno> {
        match rustix::net::send(&self.socket, query, SendFlags::NOSIGNAL) {
            // A full queue loses datagrams, as the wire does, and resolvers ask again.
            Ok(_) | Err(Errno::WOULDBLOCK | Errno::INTR | Errno::NOBUFS) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn pass_back(&mut self, listener: &Listener, answer: &[u8]) {
        self.last_used = Instant::now();
        self.unanswered.retain(|failure| !failure.has_id_of(answer));
        reply(listener, self.client.address, answer);
    }

    fn fail_all(&mut self, listener: &Listener) {
        for failure in self.unanswered.drain(..) {
            reply(listener, self.client.address, failure.bytes());
        }
    }
}

/// Tells a client that its server cannot be asked.
fn refuse(listener: &Listener, client: SocketAddr, query: &[u8]) {
    if let Some(failure) = Failure::to(query) {
        reply(listener, client, failure.bytes());
    }
}

/// Answers from the very address that was asked, which is what resolvers look at.
fn reply(listener: &Listener, client: SocketAddr, answer: &[u8]) {
    // A client that is gone, or slower than its socket's buffer, loses the answer as on any wire.
    let _ = rustix::net::sendto(&listener.udp, answer, SendFlags::NOSIGNAL, &client);
}

fn connect(server: SocketAddr) -> Result<OwnedFd, Errno> {
    let socket = socket(SocketType::DGRAM, server)?;
    rustix::net::connect(&socket, &server)?;
    Ok(socket)
}

/// Datagrams taken from one socket at once, so that others get their turn.
const BURST: usize = 32;
/// Queries of one client port that wait for answers. glibc has two (A and AAAA).
const MAX_UNANSWERED: usize = 8;
