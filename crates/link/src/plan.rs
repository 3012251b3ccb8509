//! Changes that are made together: their messages and, for what goes wrong, their names.

use neli::consts::nl::NlmF;
use nsntrace_netlink::{AttributeWriter, Batch};

use crate::Step;

/// Changes to one network namespace, made in their order by
/// [`RouteSocket::apply`](crate::RouteSocket::apply).
///
/// Each change is a method in the module of its object: links, addresses, routes, rules.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    batch: Batch,
    steps: Vec<Step>,
}

impl Plan {
    /// A plan that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn push(
        &mut self,
        step: Step,
        nlmsg_type: u16,
        flags: NlmF,
        header: &[u8],
        fill: impl FnOnce(&mut AttributeWriter<'_>),
    ) -> &mut Self {
        self.batch.request(nlmsg_type, flags, header, fill);
        self.steps.push(step);
        self
    }

    /// The messages, and a step for each of them.
    pub(crate) fn parts(&self) -> (&Batch, &[Step]) {
        (&self.batch, &self.steps)
    }
}
