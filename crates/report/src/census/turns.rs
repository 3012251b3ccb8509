//! Where a flow of UDP ends: its local port may be another socket's from some time on.
//!
//! # Theory of operation
//! Datagrams do not say that a conversation is over, and thousands of sockets for one question each share less than thirty thousand ports. Whoever hears
//! of sockets that come and go says when; a flow that sends after that is another. Both may be heard of first, the time and the flow.

use std::mem;

use super::Flow;

/// What is known of local ports of UDP.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Of each port the latest flow, counted from 1; none while there is no UDP.
    flows: Vec<u32>,
    /// Of late.
    latest: Vec<(u16, u64)>,
}

impl Turns {
    /// A port may be another socket's from a time on.
    pub(super) fn turn(&mut self, port: u16, at_ns: u64, flows: &mut [Flow]) {
        let mut number = self.flows.get(usize::from(port)).copied().unwrap_or(0);
        while let Some(flow) = (number as usize).checked_sub(1).and_then(|place| flows.get_mut(place)) {
            flow.ends_by(at_ns);
            number = flow.before;
        }
        if self.latest.len() >= MAX_LATEST {
            self.latest.copy_within(MAX_LATEST / 2.., 0);
            self.latest.truncate(MAX_LATEST / 2);
        }
        self.latest.push((port, at_ns));
    }

    /// There is a new flow, which is counted as `number`, from 0.
    pub(super) fn add(&mut self, number: u32, flow: &mut Flow) {
        if self.flows.is_empty() {
            self.flows = vec![0; 1 << 16];
        }
        let port = flow.local.port;
        flow.before = mem::replace(&mut self.flows[usize::from(port)], number + 1);
        for (_, at_ns) in self.latest.iter().filter(|(turned, _)| *turned == port) {
            flow.ends_by(*at_ns);
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

/// Two for each socket that went of late: more than there are in the time that the ring holds a block.
const MAX_LATEST: usize = 1 << 12;
