//! The table for people.

use std::fmt::Write as _;

use crate::conversation::{Conversation, Keys, address_and_port};
use crate::report::Report;

/// A line of the table, before it is known how wide its columns are.
struct Row {
    process: String,
    peer: String,
    protocol: String,
    sent: String,
    received: String,
    first: String,
    remarks: String,
}

/// Lines of text, most bytes first. Nothing for a trace without packets of anybody.
pub(crate) fn table(report: &Report) -> String {
    let (shown, hidden) = choose(report.conversations());
    if shown.is_empty() {
        return String::new();
    }
    let mut rows = vec![head()];
    rows.extend(shown.iter().map(|conversation| row(conversation, report.started_ns())));
    let width =
        |column: fn(&Row) -> &str| rows.iter().map(|row| column(row).chars().count()).max().unwrap_or(0);
    let (process, peer) = (width(|row| &row.process), width(|row| &row.peer).min(MAX_PEER_WIDTH));
    let (protocol, sent) = (width(|row| &row.protocol), width(|row| &row.sent));
    let (received, first) = (width(|row| &row.received), width(|row| &row.first));
    let mut text = String::new();
    for row in &rows {
        let line = format!(
            "  {:<process$}  {:<peer$}  {:<protocol$}  {:>sent$}  {:>received$}  {:>first$}  {}",
            row.process, row.peer, row.protocol, row.sent, row.received, row.first, row.remarks
        );
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", line.trim_end());
    }
    if hidden > 0 {
        let _ = writeln!(text, "  and {hidden} more, all of which --report FILE writes down");
    }
    text
}

/// The first ones, and those of the others that failed, as long as there is room; and how many are left out.
fn choose(conversations: &[Conversation]) -> (Vec<&Conversation>, usize) {
    let (first, rest) = conversations.split_at(conversations.len().min(MAX_ROWS));
    let failed = rest.iter().filter(|conversation| !conversation.failures.is_empty()).take(MAX_FAILED_ROWS);
    let shown: Vec<_> = first.iter().chain(failed).collect();
    let hidden = conversations.len() - shown.len();
    (shown, hidden)
}

fn head() -> Row {
    let [process, peer, protocol, sent, received, first] =
        ["PROCESS", "PEER", "PROTO", "SENT", "RECEIVED", "FIRST"].map(str::to_owned);
    Row { process, peer, protocol, sent, received, first, remarks: String::new() }
}

fn row(conversation: &Conversation, started_ns: u64) -> Row {
    let process = conversation.process.as_ref();
    Row {
        process: process
            .map_or_else(|| "-".into(), |process| format!("{} {}", safe(&process.name), process.pid)),
        peer: peer(conversation),
        protocol: conversation.protocol.clone(),
        sent: amount(conversation.sent.bytes),
        received: amount(conversation.received.bytes),
        first: seconds(conversation.first_ns.saturating_sub(started_ns)),
        remarks: remarks(conversation),
    }
}

/// The other end, as one would look for it: name, address, port; of DNS what was asked.
pub(crate) fn peer(conversation: &Conversation) -> String {
    let Conversation { peer, is_outgoing, .. } = conversation;
    let address = if *is_outgoing {
        address_and_port(peer.address, peer.port)
    } else {
        format!("{} to port {}", peer.address, peer.port)
    };
    // Of a name server it says more what was asked than what it is called.
    let words = match (&conversation.question, &conversation.name) {
        (Some(question), _) => vec![address, conversation.qtypes.join(","), safe(question)],
        (None, Some(name)) => vec![safe(name), address],
        (None, None) => vec![address],
    };
    words.join(" ")
}

fn remarks(conversation: &Conversation) -> String {
    let mut remarks = Vec::new();
    for &(failure, flows) in &conversation.failures {
        remarks.push(times(failure.word(), flows, conversation.flows));
    }
    if conversation.retransmissions > 0 {
        remarks.push(format!("{} retransmitted", conversation.retransmissions));
    }
    for &(keys, flows) in &conversation.keys {
        remarks.push(times(keys_word(keys), flows, conversation.flows));
    }
    remarks.join(", ")
}

fn times(word: &str, flows: u64, all: u64) -> String {
    if all > 1 { format!("{word} ({flows} of {all})") } else { word.to_owned() }
}

/// With the likely reason.
fn keys_word(keys: Keys) -> &'static str {
    match keys {
        Keys::Present => "keys",
        Keys::Partial => "keys in part: it ended before they were made",
        Keys::Late => "keys came too late: behind its packets",
        Keys::Missing => "no keys: resumed, or by another library than the rest",
        Keys::NeverLogged => "no keys: the process does not log any",
        Keys::HandshakeUnseen => "no keys: its first packets were not recorded",
    }
}

/// As people say it: `88 B`, `1.2 kB`, `48.3 MB`.
pub fn amount(bytes: u64) -> String {
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut said = String::new();
    let mut unit_bytes = 1000;
    for unit in UNITS {
        let tenths = bytes.saturating_add(unit_bytes / 20) / (unit_bytes / 10);
        said = format!("{}.{} {unit}", tenths / 10, tenths % 10);
        // Rounded before it is compared: 999 950 bytes are 1.0 MB.
        if tenths < 10_000 {
            break;
        }
        unit_bytes *= 1000;
    }
    said
}

fn seconds(ns: u64) -> String {
    format!("{}.{:03} s", ns / 1_000_000_000, ns / 1_000_000 % 1000)
}

/// Without what a terminal would take for a command.
pub(crate) fn safe(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
/// A screen has room for these and the words around them.
const MAX_ROWS: usize = 20;
const MAX_FAILED_ROWS: usize = 10;
/// A longer name pushes its own line's columns aside, not everybody's.
const MAX_PEER_WIDTH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short() {
        let said: Vec<_> =
            [0, 88, 999, 1000, 1234, 48_349, 999_900, 1_000_000, 2_500_000_000, u64::MAX].map(amount).into();
        let expected = [
            "0 B",
            "88 B",
            "999 B",
            "1.0 kB",
            "1.2 kB",
            "48.3 kB",
            "999.9 kB",
            "1.0 MB",
            "2.5 GB",
            "18446.7 PB",
        ];
        assert_eq!(said, expected);
    }
}
