//! What is fuzzed of reading replies: see fuzz/README.md.

use nsntrace_netlink::Message;

use crate::{closing, departures, find};

/// Reads a message as each of those who read any.
pub fn read(message: Message<'_>) {
    let _found = find::parse(message);
    let _gone = departures::parse(message);
    let _state = closing::orphan_state(message);
}
