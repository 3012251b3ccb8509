//! Every frame of a network namespace, read from a `TPACKET_V3` ring.
//!
//! [`Tap`] is a packet socket opened inside the namespace; [`Capture`] is the running ring, which any thread of any namespace
//! may read. [`Frame`] is one record of it, parsed by safe code that checks every length.
#![forbid(unsafe_code)]

mod block;
mod capture;
mod error;
mod program;

pub use block::{Direction, Frame, Frames, VlanTag};
pub use capture::{Capture, Settings, Statistics, Tap};
pub use error::CaptureError;
