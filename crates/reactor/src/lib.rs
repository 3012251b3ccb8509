//! epoll with a timer, and keys for what it watches: the half of an event loop that does not know what it is for.
//!
//! - [`Poller`] says which sockets want attention and when time is up, in terms of its owner's own [`Token`].
//! - [`Slots`] keeps values under small numbers that are reused, by keys that are not.
#![forbid(unsafe_code)]

mod poller;
mod slots;

pub use poller::{Poller, Ready, Token};
pub use slots::{Key, Slots};
