//! For which connections there are keys.

use std::collections::HashMap;

use crate::line::{Label, Line};

/// What of a connection can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Presence {
    /// Nothing.
    Missing,
    /// A part: of TLS 1.3 one direction, or the handshake alone.
    Partial,
    /// Everything.
    Complete,
}

/// All lines of a trace.
#[derive(Debug, Default)]
pub struct Keys {
    labels: HashMap<[u8; 32], Labels>,
}

/// Which secrets there are of a connection.
#[derive(Clone, Copy, Debug, Default)]
struct Labels {
    everything: bool,
    client: bool,
    server: bool,
}

impl Keys {
    /// Takes a line. False if it is one too many: more than a million connections.
    pub fn insert(&mut self, line: &Line<'_>) -> bool {
        if self.labels.len() >= MAX_CONNECTIONS && !self.labels.contains_key(&line.client_random) {
            return false;
        }
        let labels = self.labels.entry(line.client_random).or_default();
        match line.label {
            Label::ClientRandom => labels.everything = true,
            Label::ClientTraffic => labels.client = true,
            Label::ServerTraffic => labels.server = true,
            Label::ClientHandshake | Label::ServerHandshake | Label::Other => {}
        }
        true
    }

    /// Whether nobody has logged anything.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// What of a connection can be read, by the random of its client hello.
    pub fn presence(&self, client_random: &[u8; 32]) -> Presence {
        match self.labels.get(client_random) {
            Some(Labels { everything: true, .. } | Labels { client: true, server: true, .. }) => {
                Presence::Complete
            }
            Some(_) => Presence::Partial,
            None => Presence::Missing,
        }
    }
}

const MAX_CONNECTIONS: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn presence(labels: &[Label]) -> Presence {
        let mut keys = Keys::default();
        for &label in labels {
            assert!(keys.insert(&Line { label, client_random: [7; 32], text: b"" }));
        }
        assert_eq!(keys.presence(&[8; 32]), Presence::Missing);
        assert_eq!(keys.is_empty(), labels.is_empty());
        keys.presence(&[7; 32])
    }

    #[test]
    fn a_connection_can_be_read_with_all_its_keys() {
        assert_eq!(presence(&[]), Presence::Missing);
        assert_eq!(presence(&[Label::ClientRandom]), Presence::Complete);
        assert_eq!(presence(&[Label::ClientHandshake, Label::ServerHandshake]), Presence::Partial);
        assert_eq!(presence(&[Label::ClientTraffic]), Presence::Partial);
        assert_eq!(presence(&[Label::ServerTraffic, Label::ClientTraffic]), Presence::Complete);
    }
}
