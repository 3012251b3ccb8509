//! What is fuzzed of reading replies: see fuzz/README.md.

use nsntrace_netlink::Message;

/// Reads a message as one about a packet.
pub fn read(message: Message<'_>) {
    let _number = crate::message::packet_id(message);
}
