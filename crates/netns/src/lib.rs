//! A network namespace that lives as a file descriptor.
//!
//! [`Netns::create`] makes one in a thread that opens there what must be born inside (a socket belongs for ever to the
//! namespace it was opened in) and ends. [`Netns::enter`] is for the program to be traced, [`Netns::members`] finds who is inside, and
//! [`name`] shows the namespace to `ip netns`.
//!
//! An ordinary user needs a user namespace around it: [`user::enter`].
#![forbid(unsafe_code)]

mod barrier;
mod error;
pub mod name;
mod namespace;
mod settings;
pub mod user;

pub use barrier::Barrier;
pub use error::NetnsError;
pub use namespace::{Netns, current_id};
