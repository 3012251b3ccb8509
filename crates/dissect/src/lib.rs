//! What is in a frame: addresses and ports, and of some protocols what they say.
//!
//! Pure functions from bytes to meaning. No bytes make them panic, read beyond, or take longer than their length allows.
//!
//! # Why not a crate
//! Headers of every packet are read on the thread that empties the ring, so their cost is the recorder's: these take about
//! 13 ns (`crates/report/examples/cost.rs`), as smoltcp's do and a quarter of etherparse's; a [`glance`], which is enough for most, a few. For DNS and TLS there are crates; what a report needs of them is a name and a
//! number, and tls-parser brings 29 crates along.
//!
//! ```
//! let frame = [
//!     &[0; 12][..], b"\x08\x00", // Ethernet, IPv4
//!     b"\x45\0\0\x1c\0\0\0\0\x40\x11\0\0\xc0\0\x02\x01\xc6\x33\x64\x02", // 192.0.2.1 to 198.51.100.2, UDP
//!     b"\x04\xd2\0\x35\0\x08\0\0",
//! ].concat();
//! let packet = nsntrace_dissect::dissect(&frame).unwrap();
//! assert_eq!(packet.dst.to_string(), "198.51.100.2");
//! assert_eq!(packet.transport, nsntrace_dissect::Transport::Udp { src_port: 1234, dst_port: 53 });
//! ```
#![forbid(unsafe_code)]

mod bytes;
pub mod dns;
mod frame;
mod glance;
pub mod http;
mod ip;
mod link;
pub mod tls;
mod transport;

pub use frame::{Packet, dissect};
pub use glance::{Glance, Way, glance};
pub use link::{Link, link};
pub use transport::{Icmp, IcmpError, Quoted, Tcp, TcpFlags, Transport};
