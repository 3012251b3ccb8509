//! TLS keys that programs log: the NSS format, and the way they come.
//!
//! # References
//! draft-ietf-tls-keylogfile; NSS's key log format; `curl(1)`, `node(1)` and their like for what sets it off.
#![forbid(unsafe_code)]

mod environment;
mod fifo;
mod keys;
mod line;
mod lines;
mod reader;

pub use environment::environment;
pub use fifo::Fifo;
pub use keys::{Keys, Presence};
pub use line::{Label, Line};
pub use lines::Lines;
pub use reader::Reader;
