//! Which connections of TLS can be read, and why the others cannot.

use std::collections::HashSet;

use nsntrace_keylog::Presence;
use nsntrace_report::{Analysis, Census, FlowNumber, Keys};

use super::inbox::{Inbox, Random};
use super::ownership::Ownership;

/// What is known at the end.
pub(super) struct Readable<'a> {
    analysis: &'a Analysis,
    ownership: &'a Ownership,
    inbox: &'a Inbox,
    /// Connections whose keys stand behind their packets.
    late: &'a HashSet<Random>,
    /// Pids of those who have logged keys of a connection, in order.
    loggers: Vec<u32>,
}

impl<'a> Readable<'a> {
    pub(super) fn new(
        census: &Census,
        analysis: &'a Analysis,
        ownership: &'a Ownership,
        inbox: &'a Inbox,
        late: &'a HashSet<Random>,
    ) -> Self {
        let mut loggers = Vec::new();
        for (flow, _) in census.flows() {
            if let Some(hello) = analysis.client_hello(flow)
                && inbox.presence(&hello.random) != Presence::Missing
                && let Some(pid) = ownership.pid(flow)
                && let Err(place) = loggers.binary_search(&pid)
            {
                loggers.insert(place, pid);
            }
        }
        Self { analysis, ownership, inbox, late, loggers }
    }

    /// Whether a connection can be read, and if not, why.
    pub(super) fn keys(&self, flow: FlowNumber) -> Keys {
        let Some(hello) = self.analysis.client_hello(flow) else { return Keys::HandshakeUnseen };
        match self.inbox.presence(&hello.random) {
            Presence::Complete | Presence::Partial if self.late.contains(&hello.random) => Keys::Late,
            Presence::Complete => Keys::Present,
            Presence::Partial => Keys::Partial,
            Presence::Missing if self.has_logged(flow) => Keys::Missing,
            Presence::Missing => Keys::NeverLogged,
        }
    }

    /// Whether its process has logged keys of another connection; where it is not known whose it is, whether anybody has logged any.
    fn has_logged(&self, flow: FlowNumber) -> bool {
        let of_process = |pid| self.loggers.binary_search(&pid).is_ok();
        self.ownership.pid(flow).map_or_else(|| !self.inbox.is_empty(), of_process)
    }
}
