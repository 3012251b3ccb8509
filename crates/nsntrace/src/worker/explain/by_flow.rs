//! Owners, found by the number of a flow.

use nsntrace_owners::Owner;
use nsntrace_report::FlowNumber;

/// Flows are numbered from 0 on, and most have an owner.
#[derive(Default)]
pub(super) struct ByFlow(Vec<Option<Owner>>);

impl ByFlow {
    pub(super) fn learn(&mut self, flow: FlowNumber, owner: Owner) {
        let place = flow.0 as usize;
        self.0.resize(self.0.len().max(place + 1), None);
        self.0[place] = Some(owner);
    }

    pub(super) fn owner(&self, flow: FlowNumber) -> Option<&Owner> {
        self.0.get(flow.0 as usize)?.as_ref()
    }
}
