//! Frames that wait to be sent to the program.

use std::net::IpAddr;

use super::fragment::split;
use super::icmp::{Cause, icmp_error};
use super::ip::Link;

/// What is to be put on the wire to the program. Whoever has a packet socket on its end takes and sends it.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// From our end of the wire to the program's.
    link: Link,
    /// The longest IP packet that the wire takes, in bytes.
    mtu: usize,
    next_id: u32,
    frames: Vec<Vec<u8>>,
}

impl Outbox {
    /// An empty one, for a wire with these addresses and this MTU in bytes.
    pub(crate) fn new(link: Link, mtu: usize) -> Self {
        Self { link, mtu, next_id: 1, frames: Vec::new() }
    }

    /// Adds an IP packet, in parts if it is too long for the wire.
    pub(crate) fn packet(&mut self, packet: &[u8]) {
        self.frames.extend(split(self.link, packet, self.mtu, self.next_id));
        self.next_id = self.next_id.wrapping_add(1);
    }

    /// Adds an ICMP error about a packet of `program` to `destination`.
    ///
    /// `reporter` is who sent it to us, if somebody did. An address that no packet can come from, such as that of a
    /// loopback device, is replaced by the packet's destination.
    pub(crate) fn error(
        &mut self,
        quoted: &[u8],
        program: IpAddr,
        destination: IpAddr,
        reporter: Option<IpAddr>,
        cause: Cause,
    ) {
        let is_sound = |address: &IpAddr| {
            let is_nobody = address.is_unspecified() || address.is_multicast() || address.is_loopback();
            !is_nobody && address.is_ipv4() == program.is_ipv4()
        };
        let reporter = reporter.filter(is_sound).unwrap_or(destination);
        self.frames.extend(icmp_error(self.link, reporter, quoted, program, cause));
    }

    /// Takes what waits, in order.
    pub(crate) fn take(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.frames)
    }
}
