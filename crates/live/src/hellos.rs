//! Hellos of TLS, which may need more than one packet.

use std::collections::HashMap;

use nsntrace_dissect::tls::{Progress, Stream};

/// Those that have begun and not ended.
#[derive(Debug, Default)]
pub(crate) struct Hellos(HashMap<Side, Stream>);

/// A flow, and which of its ends speaks.
pub(crate) type Side = (u32, bool);

impl Hellos {
    /// Takes a segment that has a payload. What it is of a hello, if it is that.
    pub(crate) fn push(&mut self, side: Option<Side>, seq: u32, payload: &[u8]) -> Progress {
        let begun = side.and_then(|side| self.0.remove(&side));
        if begun.is_none() && !is_handshake(payload) {
            return Progress::Foreign;
        }
        let mut stream = begun.unwrap_or_default();
        let progress = stream.push(seq, payload);
        if let (Progress::Incomplete, Some(side)) = (&progress, side)
            && self.0.len() < MAX_STREAMS
        {
            self.0.insert(side, stream);
        }
        progress
    }
}

/// The head of a record, RFC 8446, section 5.1.
fn is_handshake(payload: &[u8]) -> bool {
    matches!(payload, [22, 3, ..])
}

/// Each has 16 KiB at most.
const MAX_STREAMS: usize = 64;
