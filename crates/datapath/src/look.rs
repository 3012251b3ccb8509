//! A look at each frame before it is written.

use nsntrace_capture::{Direction, Frame, Frames};
use nsntrace_dissect::{dissect, glance};
use nsntrace_report::{Census, Endpoint, Flow, FlowNumber, Head, Seen, Sight};

use crate::LOOPBACK_IFINDEX;
use crate::copies::Copier;

/// Counts frames by flow.
#[derive(Debug, Default)]
pub struct Look {
    census: Census,
    /// Flows of the block at hand, a frame each.
    flows: Vec<Option<FlowNumber>>,
}

/// What was seen that is for others to read.
#[derive(Debug, Default)]
pub struct News {
    /// Flows that are new.
    pub flows: Vec<(FlowNumber, Flow)>,
    /// What is worth reading.
    pub heads: Vec<Head>,
}

impl Look {
    /// Looks at a block's frames. Their flows are [kept](Self::flows) where somebody writes them down, and copies made where somebody prints them.
    #[inline(never)]
    pub fn see(
        &mut self,
        frames: Frames<'_>,
        keeps_flows: bool,
        news: &mut News,
        mut copier: Option<&mut Copier>,
    ) {
        self.flows.clear();
        for frame in frames {
            let heads_before = news.heads.len();
            let flow = self.see_one(&frame, news);
            if let Some(copier) = &mut copier {
                copier.copy(&frame, flow, news.heads.len() > heads_before);
            }
            if keeps_flows {
                self.flows.push(flow);
            }
        }
    }

    /// Hears that a socket of UDP is gone: see [`Census::turn`].
    pub fn turn(&mut self, local: Endpoint, times_ns: [u64; 2]) {
        self.census.turn(local, times_ns);
    }

    /// The flows of the block that was seen last, a frame each; none if they were not kept.
    pub fn flows(&self) -> &[Option<FlowNumber>] {
        &self.flows
    }

    /// The count of all.
    pub fn census(&self) -> &Census {
        &self.census
    }

    /// The count of all, when no more will come.
    pub fn finish(self) -> Census {
        self.census
    }

    fn see_one(&mut self, frame: &Frame<'_>, news: &mut News) -> Option<FlowNumber> {
        let sight = Sight {
            timestamp_ns: frame.timestamp_ns,
            is_outbound: frame.direction == Direction::Outbound,
            is_loopback: frame.ifindex == LOOPBACK_IFINDEX,
            len: frame.original_len,
        };
        // Most packets are neither new nor news.
        if let Some(seen) = glance(frame.bytes).and_then(|glance| self.census.glance(&glance, &sight)) {
            return seen.flow;
        }
        self.read(frame.bytes, &sight, news)
    }

    fn read(&mut self, bytes: &[u8], sight: &Sight, news: &mut News) -> Option<FlowNumber> {
        let packet = dissect(bytes)?;
        let seen = self.census.see(&packet, sight);
        if seen.is_new {
            news.flows.extend(self.flow(&seen));
        }
        news.heads.extend(self.census.head(&packet, &seen));
        seen.flow
    }

    fn flow(&self, seen: &Seen) -> Option<(FlowNumber, Flow)> {
        let number = seen.flow?;
        Some((number, self.census.flow(number)?.clone()))
    }
}
