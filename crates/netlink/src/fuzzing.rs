//! What is fuzzed of reading replies, besides what is public: see fuzz/README.md.

use crate::{Message, answers};

/// Reads a message as the end of an exchange, and as an answer to one of a batch.
pub fn read(message: Message<'_>) {
    let _outcome = message.outcome();
    let index = answers::index_in(message.nlmsg_seq() & 1, 8, &message);
    assert!(index.is_none_or(|index| index < 8));
}
