//! Connections: what a client sends goes to the server and back, byte by byte and end by end.
//!
//! A connection that cannot be made, or that one side resets, is reset on the other (`SO_LINGER` of 0 s), so a client
//! learns at once what it would learn from the server itself.
//!
//! # Kernel interface
//! `accept4(2)`, `connect(2)`, `recv(2)`, `send(2)` with `MSG_NOSIGNAL`, `shutdown(2)`; `TCP_NODELAY`, `SO_LINGER`.
//!
//! # References
//! tcp(7); RFC 7766; RFC 9293 section 3.6 (half-closed connections).

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nsntrace_reactor::{Key, Poller, Slots};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{SocketFlags, SocketType, sockopt};

use crate::listener::{Listener, socket};
use crate::pipe::Pipe;
use crate::token::Token;

/// All connections of a relay.
#[derive(Debug)]
pub(crate) struct Connections {
    slots: Slots<Connection>,
    limit: usize,
}

#[derive(Debug)]
struct Connection {
    client: End,
    server: End,
    up: Pipe,
    down: Pipe,
    last_used: Instant,
}

/// One end of a connection.
#[derive(Debug)]
struct End {
    socket: OwnedFd,
    token: Token,
    /// What the socket is watched for.
    interest: EventFlags,
}

/// What became of a connection that was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    Closed,
    Reset,
}

impl Connections {
    pub(crate) fn new(limit: usize) -> Self {
        Self { slots: Slots::new(), limit }
    }

    /// Takes the connections that wait at a listener, up to a bound, and connects each to the server.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOBUFS` and `ENOMEM`: nothing more can be accepted for now, though clients wait.
    pub(crate) fn accept(&mut self, listener: &Listener, poller: &Poller<Token>) -> Result<(), Errno> {
        for _ in 0..BURST {
            match rustix::net::accept_with(&listener.tcp, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(client) => self.begin(client, listener.server, poller)?,
                Err(errno) if is_shortage(errno) => return Err(errno),
                // Nobody waits, or the one who did is gone (accept(2), "Error handling").
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Moves what can be moved in the connection `key`. Ends it when both directions have ended.
    pub(crate) fn serve(&mut self, key: Key, scratch: &mut [u8], poller: &Poller<Token>) {
        let fate = match self.slots.get_mut(key) {
            Some(connection) => connection.turn(scratch, poller).unwrap_or(Fate::Reset),
            None => return, // Closed by an earlier event of the same batch.
        };
        match fate {
            Fate::Open => {}
            Fate::Closed => drop(self.slots.remove(key)),
            Fate::Reset => self.reset(key),
        }
    }

    /// Resets what has been silent for longer than `idle`.
    pub(crate) fn expire(&mut self, idle: Duration, now: Instant) {
        let is_expired =
            |connection: &Connection| now.saturating_duration_since(connection.last_used) >= idle;
        let expired: Vec<_> =
            self.slots.iter().filter(|(_, connection)| is_expired(connection)).map(|(key, _)| key).collect();
        for key in expired {
            self.reset(key);
        }
    }

    /// When the one that has been silent for longest was last used.
    pub(crate) fn oldest_use(&self) -> Option<Instant> {
        self.oldest().map(|(_, last_used)| last_used)
    }

    /// Resets the one that has been silent for longest. False if there is none.
    pub(crate) fn drop_oldest(&mut self) -> bool {
        match self.oldest() {
            Some((key, _)) => {
                self.reset(key);
                true
            }
            None => false,
        }
    }

    fn oldest(&self) -> Option<(Key, Instant)> {
        self.slots.iter().map(|(key, connection)| (key, connection.last_used)).min_by_key(|&(_, at)| at)
    }

    /// Connects an accepted client to the server. Fails for want of descriptors alone; otherwise a server that cannot be
    /// asked is the client's to know.
    fn begin(
        &mut self,
        client: OwnedFd,
        server_address: SocketAddr,
        poller: &Poller<Token>,
    ) -> Result<(), Errno> {
        let server = match connect(server_address) {
            Err(errno) if is_shortage(errno) && self.drop_oldest() => connect(server_address),
            result => result,
        };
        let server = match server {
            Ok(server) => server,
            Err(errno) => {
                reset(&client);
                return if is_shortage(errno) { Err(errno) } else { Ok(()) };
            }
        };
        if self.slots.len() >= self.limit {
            self.drop_oldest();
        }
        // Each message is written at once, and Nagle's algorithm would keep the last part of it for a round trip.
        for socket in [&client, &server] {
            let _ = sockopt::set_tcp_nodelay(socket, true); // A slower connection is still one.
        }
        let key = self.slots.insert_with(|key| Connection {
            client: End::new(client, Token::Client(key)),
            server: End::new(server, Token::Server(key)),
            up: Pipe::default(),
            down: Pipe::default(),
            last_used: Instant::now(),
        });
        if self.slots.get_mut(key).is_none_or(|connection| connection.watch(poller).is_err()) {
            self.reset(key);
        }
        Ok(())
    }

    fn reset(&mut self, key: Key) {
        if let Some(connection) = self.slots.remove(key) {
            reset(&connection.client.socket);
            reset(&connection.server.socket);
        }
    }
}

impl Connection {
    fn turn(&mut self, scratch: &mut [u8], poller: &Poller<Token>) -> Result<Fate, Errno> {
        let up = self.up.turn(&self.client.socket, &self.server.socket, scratch)?;
        let down = self.down.turn(&self.server.socket, &self.client.socket, scratch)?;
        if self.up.is_done() && self.down.is_done() {
            return Ok(Fate::Closed);
        }
        if up || down {
            self.last_used = Instant::now();
        }
        self.watch(poller)?;
        Ok(Fate::Open)
    }

    /// Watches each end for what would let a direction go on. A server that is still being connected can neither be read
    /// nor written, so this holds for it too.
    fn watch(&mut self, poller: &Poller<Token>) -> Result<(), Errno> {
        self.client.watch(poller, interest(&self.up, &self.down))?;
        self.server.watch(poller, interest(&self.down, &self.up))
    }
}

impl End {
    fn new(socket: OwnedFd, token: Token) -> Self {
        Self { socket, token, interest: EventFlags::empty() }
    }

    fn watch(&mut self, poller: &Poller<Token>, interest: EventFlags) -> Result<(), Errno> {
        poller.rewatch(&self.socket, self.token, self.interest, interest)?;
        self.interest = interest;
        Ok(())
    }
}

/// What the end that `from` reads and `to` writes must be watched for.
fn interest(from: &Pipe, to: &Pipe) -> EventFlags {
    let mut interest = EventFlags::empty();
    interest.set(EventFlags::IN, from.wants_input());
    interest.set(EventFlags::OUT, to.wants_output());
    interest
}

fn connect(server: SocketAddr) -> Result<OwnedFd, Errno> {
    let socket = socket(SocketType::STREAM, server)?;
    match rustix::net::connect(&socket, &server) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(errno) => Err(errno),
    }
}

/// Makes the coming close a reset.
fn reset(socket: &OwnedFd) {
    // Where it fails the close is an orderly one, and the other side learns of the end all the same.
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

/// Whether there was no descriptor or memory, so that another try makes no sense before something is closed.
pub(crate) fn is_shortage(errno: Errno) -> bool {
    matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
}

/// Connections accepted at once, so that those in progress get their turn.
const BURST: usize = 32;
