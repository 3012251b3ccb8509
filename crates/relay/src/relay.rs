//! Listeners served from elsewhere.
//!
//! # Theory of operation
//! One epoll instance holds every socket and a timer; its own descriptor is readable when any of them wants attention. The
//! owner watches that descriptor and calls [`Relay::service`], which never waits and does a bounded amount of work: what
//! remains makes the descriptor readable again. Sockets to servers are made in the network namespace of the thread that
//! calls it.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nsntrace_reactor::{Poller, Ready};
use rustix::event::epoll::EventFlags;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::tcp::Connections;
use crate::token::Token;
use crate::udp::Flows;
use crate::{Limits, Listener, RelayError};

/// Passes what listeners hear on to their servers, and the answers back. Dropping it closes everything.
#[derive(Debug)]
pub struct Relay {
    listeners: Vec<Listener>,
    flows: Flows,
    connections: Connections,
    poller: Poller<Token>,
    limits: Limits,
    /// Listeners that are not watched until there are descriptors again.
    paused: Vec<u32>,
    /// One datagram or one read of a connection, on its way.
    scratch: Box<[u8]>,
    ready: Vec<Ready<Token>>,
}

impl Relay {
    /// A relay for these listeners.
    ///
    /// # Errors
    /// [`RelayError::Events`]: `EMFILE` if no descriptors are left.
    pub fn new(listeners: Vec<Listener>) -> Result<Self, RelayError> {
        Self::with_limits(listeners, Limits::default())
    }

    /// A relay for these listeners that does no more than `limits` at once.
    ///
    /// # Errors
    /// As [`Relay::new`].
    pub fn with_limits(listeners: Vec<Listener>, limits: Limits) -> Result<Self, RelayError> {
        let poller = Poller::new().map_err(RelayError::events("make an event loop"))?;
        for (listener, index) in listeners.iter().zip(0..) {
            poller
                .watch(&listener.udp, Token::Datagrams(index), EventFlags::IN)
                .and_then(|()| poller.watch(&listener.tcp, Token::Connections(index), EventFlags::IN))
                .map_err(RelayError::events("watch a listener"))?;
        }
        Ok(Self {
            listeners,
            flows: Flows::new(limits.udp_clients.max(1)),
            connections: Connections::new(limits.tcp_connections.max(1)),
            poller,
            limits,
            paused: Vec::new(),
            scratch: vec![0; MAX_DATAGRAM].into_boxed_slice(),
            ready: Vec::new(),
        })
    }

    /// Does what can be done without waiting, up to a bound. Called when the relay's descriptor is readable. Servers that
    /// cannot be reached are their clients' to know, and no error here.
    ///
    /// # Errors
    /// [`RelayError::Events`] if the event loop itself fails, which no client and no server can bring about.
    pub fn service(&mut self) -> Result<(), RelayError> {
        let mut ready = std::mem::take(&mut self.ready);
        self.poller.ready(&mut ready).map_err(RelayError::events("wait"))?;
        for (token, _) in ready.drain(..) {
            self.attend(token)?;
        }
        self.ready = ready; // For its memory.
        self.remind().map_err(RelayError::events("set a timer"))
    }

    /// Serves until `stop` is readable, or its other end closed.
    ///
    /// # Errors
    /// As [`Relay::service`].
    pub fn run(&mut self, stop: BorrowedFd<'_>) -> Result<(), RelayError> {
        loop {
            let mut fds =
                [PollFd::new(&self.poller, PollFlags::IN), PollFd::from_borrowed_fd(stop, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(RelayError::events("wait")(errno)),
            }
            if !fds[1].revents().is_empty() {
                return Ok(());
            }
            self.service()?;
        }
    }

    fn attend(&mut self, token: Token) -> Result<(), RelayError> {
        match token {
            Token::Timer => self.expire()?,
            Token::Datagrams(index) => {
                if let Some(listener) = self.listeners.get(index as usize) {
                    self.flows.ask(index, listener, &mut self.scratch, &self.poller);
                }
            }
            Token::Connections(index) => self.accept(index)?,
            Token::Flow(key) => self.flows.answer(key, &self.listeners, &mut self.scratch),
            Token::Client(key) | Token::Server(key) => {
                self.connections.serve(key, &mut self.scratch, &self.poller);
            }
        }
        Ok(())
    }

    /// Accepts connections. Where descriptors run out, the longest silent gives up its own; where nobody is left to, the
    /// listener rests, for the kernel would report it again at once.
    fn accept(&mut self, index: u32) -> Result<(), RelayError> {
        let Some(listener) = self.listeners.get(index as usize) else { return Ok(()) };
        if self.connections.accept(listener, &self.poller).is_ok() {
            return Ok(());
        }
        if self.flows.drop_oldest() || self.connections.drop_oldest() {
            return Ok(());
        }
        self.paused.push(index);
        self.poller
            .rewatch(&listener.tcp, Token::Connections(index), EventFlags::IN, EventFlags::empty())
            .map_err(RelayError::events("rest a listener"))
    }

    /// Closes what has been silent for too long, and wakes the listeners that rest.
    fn expire(&mut self) -> Result<(), RelayError> {
        self.poller.reminded();
        let now = Instant::now();
        self.flows.expire(self.limits.udp_idle, now);
        self.connections.expire(self.limits.tcp_idle, now);
        for index in self.paused.drain(..) {
            if let Some(listener) = self.listeners.get(index as usize) {
                self.poller
                    .rewatch(&listener.tcp, Token::Connections(index), EventFlags::empty(), EventFlags::IN)
                    .map_err(RelayError::events("wake a listener"))?;
            }
        }
        Ok(())
    }

    /// Sets the timer to the first moment at which there is something to do. None is set while all is quiet.
    fn remind(&mut self) -> Result<(), Errno> {
        let now = Instant::now();
        if !self.paused.is_empty() {
            self.poller.remind(now + REST, now)?;
        }
        // What is used is due later than it was, and what is new not sooner than this: then there is no need to look.
        let soonest = self.limits.udp_idle.min(self.limits.tcp_idle);
        if now.checked_add(soonest).is_some_and(|moment| self.poller.reminds_by(moment)) {
            return Ok(());
        }
        let flows = self.flows.oldest_use().and_then(|at| at.checked_add(self.limits.udp_idle));
        let connections = self.connections.oldest_use().and_then(|at| at.checked_add(self.limits.tcp_idle));
        match flows.into_iter().chain(connections).min() {
            Some(due) => self.poller.remind(due, now),
            None => Ok(()),
        }
    }
}

impl AsFd for Relay {
    /// The descriptor to watch: readable when there is something to do.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}

/// The longest datagram that UDP carries, and the most that is read from a connection at once.
const MAX_DATAGRAM: usize = 65535;
/// How long a listener rests when there are no descriptors.
const REST: Duration = Duration::from_secs(1);
