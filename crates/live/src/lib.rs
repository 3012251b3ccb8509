//! A packet as a line of text, for whoever watches a trace.
//!
//! ```
//! use nsntrace_live::{Lines, Packet};
//!
//! let frame = [
//!     &[0; 12][..], b"\x08\x00", // Ethernet, IPv4
//!     b"\x45\0\0\x1c\0\0\0\0\x40\x11\0\0\xc0\0\x02\x01\xc6\x33\x64\x02", // 192.0.2.1 to 198.51.100.2, UDP
//!     b"\x04\xd2\0\x07\0\x08\0\0",
//! ].concat();
//! let mut text = String::new();
//! let packet = Packet { timestamp_ns: 1_000, bytes: &frame, len: 42, flow: Some(0), process: Some(("nc", 7)) };
//! Lines::new(0, false).write(&packet, &mut text);
//! assert_eq!(text, "  0.000001 nc[7] 192.0.2.1:1234 > 198.51.100.2:7 UDP  len 0\n");
//! ```
#![forbid(unsafe_code)]

mod gist;
mod hellos;
mod lines;
mod names;

pub use lines::{Lines, Packet};
