//! Keys of connections that live, for the file that comes next: who puts files together again finds them whichever of them he has.

use std::collections::{HashMap, VecDeque};

use nsntrace_report::FlowNumber;

use super::super::super::explain::{Random, Secret, Survey};

/// Keys for files that are still to come.
#[derive(Debug, Default)]
pub(super) struct Kept {
    secrets: VecDeque<(Secret, Repeats)>,
    bytes: usize,
    flows: HashMap<Random, FlowNumber>,
}

/// In how many further files a secret of an unknown connection was.
type Repeats = u8;

impl Kept {
    /// The connection of a handshake.
    pub(super) fn is_of(&mut self, random: Random, flow: FlowNumber) {
        self.flows.insert(random, flow);
    }

    /// Keeps a secret. When there are too many, those of connections that have ended go; then the oldest.
    pub(super) fn keep(&mut self, secret: Secret, survey: Option<&Survey>) {
        self.bytes += secret.line.len();
        self.secrets.push_back((secret, 0));
        if self.bytes > MAX_BYTES {
            self.forget_ended(survey);
        }
        while self.bytes > MAX_BYTES {
            let Some((oldest, _)) = self.secrets.pop_front() else { return };
            self.bytes -= oldest.line.len();
        }
    }

    /// The lines of connections that live, as far as one knows.
    pub(super) fn of_living(&mut self, survey: Option<&Survey>) -> Vec<u8> {
        self.forget_ended(survey);
        let mut lines = Vec::new();
        for (secret, repeats) in &mut self.secrets {
            lines.extend_from_slice(&secret.line);
            *repeats = repeats.saturating_add(1);
        }
        lines
    }

    fn forget_ended(&mut self, survey: Option<&Survey>) {
        let (flows, lives) = (&self.flows, survey.map(Survey::living));
        self.secrets.retain(|(secret, repeats)| match (flows.get(&secret.random), &lives) {
            (Some(&flow), Some(lives)) => lives(flow),
            // Whose it is, nobody will ever know.
            _ => *repeats == 0,
        });
        self.bytes = self.secrets.iter().map(|(secret, _)| secret.line.len()).sum();
        self.flows.retain(|_, flow| lives.as_ref().is_some_and(|lives| lives(*flow)));
    }
}

/// Of sixteen thousand connections.
const MAX_BYTES: usize = 16 << 20;
