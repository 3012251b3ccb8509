//! UDP: which flows there are.
//!
//! # Theory of operation
//! Rules in r send each datagram to the doorway, unless it belongs to a flow: then the kernel finds the flow's own socket
//! by the two addresses. What was in the doorway when a flow began came before anything that its socket receives, so that
//! socket is read only after the doorway was found empty, or after as many datagrams as it can have held.
//!
//! # Kernel interface
//! `recvmsg(2)` with `IP_ORIGDSTADDR`; `bind(2)` to the address of another, `connect(2)`. `CAP_NET_BIND_SERVICE` over r for ports below 1024.
//!
//! # References
//! Documentation/networking/tproxy.rst; `nft_tproxy_eval_v4()` in net/netfilter/nft_tproxy.c; udp(7).

mod doorway;
mod flow;

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use nsntrace_reactor::{Key, Slots};
use nsntrace_sys::receive_datagram;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

pub(crate) use doorway::Doorway;
use flow::{Ends, Flow};

use crate::ProxyError;
use crate::engine::{Context, Token};
use crate::maker::Maker;
use crate::outside::is_shortage;
use crate::reach::{is_reachable, may_be_reported};
use crate::wire::Cause;

/// All flows of the program.
#[derive(Debug)]
pub(crate) struct Flows {
    doorway: Doorway,
    maker: Maker,
    slots: Slots<Flow>,
    by_ends: HashMap<Ends, Key>,
    /// Flows whose own sockets are not read yet, each with the count of datagrams at which they may be.
    unsettled: VecDeque<(Key, u64)>,
    /// Datagrams that came through the doorway so far.
    entered: u64,
}

impl Flows {
    /// No flows yet.
    ///
    /// # Errors
    /// [`ProxyError::Events`]: `ENOSPC`, `ENOMEM`.
    pub(crate) fn new(doorway: Doorway, maker: Maker, context: &Context) -> Result<Self, ProxyError> {
        context
            .poller
            .watch(&doorway, Token::Datagrams, EventFlags::IN)
            .map_err(ProxyError::events("watch the doorway of datagrams"))?;
        let (slots, by_ends, unsettled) = (Slots::new(), HashMap::new(), VecDeque::new());
        Ok(Self { doorway, maker, slots, by_ends, unsettled, entered: 0 })
    }

    /// The doorway is readable.
    pub(crate) fn datagrams(&mut self, context: &mut Context) {
        let mut buffer = std::mem::take(&mut context.scratch);
        let mut is_empty = false;
        for _ in 0..BURST {
            match self.doorway.receive(&mut buffer) {
                Ok(Some(arrival)) => {
                    self.entered += 1;
                    self.enter(&arrival, &buffer[..arrival.datagram.len], context);
                }
                Err(Errno::WOULDBLOCK) => {
                    is_empty = true;
                    break;
                }
                Ok(None) | Err(_) => {} // An error is told once, and says nothing about the next one.
            }
        }
        context.scratch = buffer;
        self.settle(if is_empty { u64::MAX } else { self.entered }, context);
    }

    /// The program's side of a flow is readable.
    pub(crate) fn inside(&mut self, key: Key, context: &mut Context) {
        let Some(flow) = self.slots.get_mut(key) else { return };
        let mut buffer = std::mem::take(&mut context.scratch);
        let mut is_over = false;
        for _ in 0..BURST {
            match receive_datagram(flow.inside(), &mut buffer) {
                Ok(datagram) => flow.ask(&datagram, &buffer[..datagram.len], context),
                Err(Errno::WOULDBLOCK | Errno::INTR) => break,
                Err(_) => {
                    // The program is not there any more.
                    is_over = true;
                    break;
                }
            }
        }
        context.scratch = buffer;
        if is_over {
            self.close(key);
        }
    }

    /// The peer's side of a flow is readable, or has an error.
    pub(crate) fn outside(&mut self, key: Key, context: &mut Context) {
        let Some(flow) = self.slots.get_mut(key) else { return };
        let mut buffer = std::mem::take(&mut context.scratch);
        flow.answer(&mut buffer, BURST, context);
        context.scratch = buffer;
    }

    /// Ends the flows that have been silent for too long. Called about once a second while there is something.
    pub(crate) fn tick(&mut self, now: Instant, _context: &mut Context) {
        let expired: Vec<_> =
            self.slots.iter().filter(|(_, flow)| flow.is_expired(now)).map(|(key, _)| key).collect();
        for key in expired {
            self.close(key);
        }
    }

    /// Whether there is something that can become too old.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.slots.is_empty()
    }

    /// Passes a datagram of the doorway on.
    fn enter(&mut self, arrival: &doorway::Arrival, bytes: &[u8], context: &mut Context) {
        let ends = arrival.ends;
        if !is_reachable(ends.peer.ip()) {
            if may_be_reported(ends.peer.ip()) {
                ends.refuse(bytes, Cause::prohibited(ends.peer.ip()), context);
            }
            return;
        }
        let known = self.by_ends.get(&ends).copied();
        match known.map_or_else(|| self.open(ends, context), Ok) {
            Ok(key) => {
                if let Some(flow) = self.slots.get_mut(key) {
                    flow.ask(&arrival.datagram, bytes, context);
                }
            }
            // Lost, as on a wire that is too narrow: it says nothing about the peer.
            Err(errno) if is_shortage(errno) => {}
            Err(errno) => ends.refuse(bytes, Cause::of(errno, ends.peer.ip()), context),
        }
    }

    /// Begins a flow, if need be in place of the one that has been silent for longest.
    fn open(&mut self, ends: Ends, context: &Context) -> Result<Key, Errno> {
        if self.slots.len() >= context.config.limits.flows.max(1) {
            self.close_oldest();
        }
        let device = context.config.device.as_deref();
        let flow = match Flow::open(ends, &self.maker, device) {
            Err(errno) if is_shortage(errno) && self.close_oldest() => Flow::open(ends, &self.maker, device)?,
            result => result?,
        };
        let key = self.slots.insert_with(|_| flow);
        self.by_ends.insert(ends, key);
        self.unsettled.push_back((key, self.entered + self.doorway.room()));
        let watched = match self.slots.get_mut(key) {
            Some(flow) => context.poller.watch(flow.outside(), Token::FlowOutside(key), EventFlags::IN),
            None => Ok(()),
        };
        watched.map(|()| key).inspect_err(|_| self.close(key))
    }

    /// Reads the own sockets of flows from now on whose turn it is at this count of datagrams.
    fn settle(&mut self, count: u64, context: &Context) {
        while let Some(&(key, _)) = self.unsettled.front().filter(|&&(_, at)| at <= count) {
            self.unsettled.pop_front();
            let Some(flow) = self.slots.get_mut(key) else { continue };
            if context.poller.watch(flow.inside(), Token::FlowInside(key), EventFlags::IN).is_err() {
                self.close(key);
            }
        }
    }

    fn close_oldest(&mut self) -> bool {
        let oldest = self.slots.iter().min_by_key(|(_, flow)| flow.last_used()).map(|(key, _)| key);
        oldest.is_some_and(|key| {
            self.close(key);
            true
        })
    }

    fn close(&mut self, key: Key) {
        if let Some(flow) = self.slots.remove(key) {
            self.by_ends.remove(&flow.ends());
        }
    }
}

/// Datagrams taken from one socket at once, so that others get their turn.
const BURST: usize = 64;
