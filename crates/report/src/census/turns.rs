//! Where a flow of UDP ends: its local port may be another socket's from some time on.
//!
//! # Theory of operation
//! Datagrams do not say that a conversation is over, and thousands of sockets for one question each share less than thirty thousand ports. Whoever hears
//! of sockets that come and go says when; a flow that sends after that is another. Both may be heard of first, the time and the flow.

use std::mem;
use std::net::IpAddr;

use super::{Endpoint, Flow};

/// What is known of local ports of UDP.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Of each port the latest flow, counted from 1; none while there is no UDP.
    flows: Vec<u32>,
    /// Of late, in the order in which they were heard of.
    latest: Vec<Turn>,
}

/// A socket that is gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// What it was bound to.
    pub(super) local: Endpoint,
    /// When it may have begun to be there, and when it was heard of as gone.
    pub(super) times_ns: [u64; 2],
}

impl Turns {
    /// What has the address of that socket may be another socket's before and after it.
    pub(super) fn turn(&mut self, turn: Turn, flows: &mut [Flow]) {
        for at_ns in turn.times_ns {
            self.end_flows(&turn.local, at_ns, flows);
        }
        if self.latest.len() >= MAX_LATEST {
            self.latest.copy_within(MAX_LATEST / 2.., 0);
            self.latest.truncate(MAX_LATEST / 2);
        }
        self.latest.push(turn);
    }

    fn end_flows(&self, local: &Endpoint, at_ns: u64, flows: &mut [Flow]) {
        let mut number = self.flows.get(usize::from(local.port)).copied().unwrap_or(0);
        while let Some(flow) = (number as usize).checked_sub(1).and_then(|place| flows.get_mut(place)) {
            if covers(local.address, flow.local.address) {
                // Those before it have ended by then, too.
                if flow.over_ns <= at_ns {
                    return;
                }
                flow.ends_by(at_ns);
            }
            number = flow.before;
        }
    }

    /// There is a new flow, which is counted as `number`, from 0.
    pub(super) fn add(&mut self, number: u32, flow: &mut Flow) {
        if self.flows.is_empty() {
            self.flows = vec![0; 1 << 16];
        }
        let Endpoint { address, port } = flow.local;
        flow.before = mem::replace(&mut self.flows[usize::from(port)], number + 1);
        let later = self.latest.partition_point(|turn| turn.times_ns[1] <= flow.first_ns);
        for Turn { local, times_ns } in &self.latest[later..] {
            if local.port == port && covers(local.address, address) {
                for at_ns in times_ns {
                    flow.ends_by(*at_ns);
                }
            }
        }
    }
}

impl Flow {
    fn ends_by(&mut self, at_ns: u64) {
        if at_ns > self.first_ns {
            self.over_ns = self.over_ns.min(at_ns);
        }
    }
}

/// Whether what is sent from `address` may be of a socket that is bound to `local`: all there are are of IPv4 as well for one of IPv6.
fn covers(local: IpAddr, address: IpAddr) -> bool {
    local == address || local.is_unspecified() && (local.is_ipv6() || address.is_ipv4())
}

/// Sockets. Where more go while a block of the ring fills, the flows of some do not end.
const MAX_LATEST: usize = 1 << 12;
