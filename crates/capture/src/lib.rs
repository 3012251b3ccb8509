//! Every frame of a network namespace, read from a `TPACKET_V3` ring.
//!
//! [`Tap`] is a packet socket opened inside the namespace; [`IdleRing`] has its memory; [`Capture`] is running, and any thread of any
//! namespace may read it. [`Frame`] is one record of it, parsed by safe code that checks every length.
#![forbid(unsafe_code)]

mod block;
mod capture;
mod counter;
mod error;
mod geometry;
mod program;

pub use block::{Direction, Frame, Frames, VlanTag};
pub use capture::{Block, Capture, IdleRing, Memory, Tap};
pub use counter::{Counter, Statistics};
pub use error::CaptureError;
pub use geometry::{DEFAULT_BUFFER, MAX_BUFFER, MIN_BUFFER, ring_geometry};
pub use nsntrace_sys::Insn;
pub use program::{MAX_FILTER_INSNS, everything};
