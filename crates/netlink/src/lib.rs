//! One netlink request, one acknowledgement: framing and attributes over neli's socket.
//!
//! This crate knows how netlink talks and nothing about what is said: what a link or a rule looks like is for
//! the crates above.
//!
//! - [`Batch`] lays out messages, several to one send.
//! - [`Socket`] sends a batch, matches every acknowledgement, and collects dumps.
//! - [`Subscription`] hears what the kernel announces to a multicast group.
//! - [`Conversation`] asks and tells, and hears of what it has asked for as it happens.
//! - [`Message`], [`Attributes`] and [`Attribute`] read what the kernel answered.
//!
//! ```no_run
//! use neli::consts::{nl::NlmF, rtnl::Rtm};
//! use nsntrace_netlink::{Batch, Family, Socket};
//!
//! // How many links are there? (`ip link | wc -l`)
//! let mut socket = Socket::open(Family::Route)?;
//! let mut request = Batch::new();
//! request.dump(Rtm::Getlink.into(), &[0; 16], |_| {});
//! let links = socket.dump(&request, |message| Some(message.nlmsg_type()))?;
//! println!("{}", links.len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A netlink socket belongs for ever to the network namespace of the thread that opened it, and may be used
//! from any other thread.
#![forbid(unsafe_code)]

mod answers;
mod attributes;
mod batch;
mod conversation;
mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
mod message;
mod socket;
mod subscription;

pub use attributes::{Attribute, Attributes};
pub use batch::{AttributeWriter, Batch, attributes};
pub use conversation::Conversation;
pub use error::{Refusal, RequestError, SocketError};
pub use message::{Malformed, Message, Messages};
pub use socket::{Family, Socket};
pub use subscription::{Heard, Subscription};
