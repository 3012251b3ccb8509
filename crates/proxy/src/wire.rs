//! Frames as a packet socket on Ethernet gives and takes them: reading what the program sent, building what it is told.
//!
//! Everything here is a pure function of bytes. What is read may be anything: lengths are checked against the slice, and
//! a frame that is not what it says is no frame. What is built is complete, checksums included, for nobody after us
//! computes them.
//!
//! # References
//! RFC 791 (IPv4), RFC 8200 (IPv6), RFC 1071 (checksums), RFC 792 and RFC 4443 (ICMP), RFC 9293 (TCP), RFC 768 (UDP).

mod checksum;
mod echo;
mod fragment;
mod icmp;
mod ip;
mod outbox;
mod quote;
mod syn;
#[cfg(test)]
mod tests;

pub(crate) use echo::{Echo, Ping, echo_reply};
pub(crate) use fragment::Fragments;
pub(crate) use icmp::Cause;
pub(crate) use ip::{Link, Packet};
pub(crate) use outbox::Outbox;
pub(crate) use quote::{quoted_datagram, quoted_echo};
pub(crate) use syn::Syn;
