//! What is fuzzed of reading replies: see fuzz/README.md.

use nsntrace_netlink::Message;

use crate::{address, links, monitor, route, rule};

/// Reads a message as each of those who read any.
pub fn read(message: Message<'_>) {
    let _address = address::parse(message);
    let _link = links::parse(message);
    let _route = route::parse(message);
    let _rule = rule::parse(message);
    let _change = monitor::read(message);
}
