//! Whose socket it is: sockets used under the eyes of a witness, and what became of them.
//!
//! Two sides, for two processes. [`Witness`] serves a program that asks before it uses internet sockets: it sees who asks and which socket it is, and says so
//! over a [`Line`]. [`Holders`] looks into /proc for what nobody saw. On the other side [`Registry`] puts together what was said and what the kernel
//! tells of sockets, and knows whose a packet is. docs/explained.md has the whole of it.
#![forbid(unsafe_code)]

mod caller;
mod holders;
mod numbers;
mod pings;
mod place;
mod process;
mod registry;
mod witness;
mod word;

pub use holders::Holders;
pub use process::Process;
pub use registry::{Carrier, Certainty, Departure, Owner, Registry, Turn};
pub use witness::Witness;
pub use word::{Line, Maker, Word};
