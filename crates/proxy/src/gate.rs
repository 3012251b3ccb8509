//! Where the program's wishes are seen: connections to be made, and pings.
//!
//! # Theory of operation
//! Rules in r drop what is read here, so nobody else answers it. A packet socket sees frames before those rules do. There is one for
//! each family, for a socket that asks for one protocol is not shown what goes out.
//!
//! # Kernel interface
//! `socket(AF_PACKET, SOCK_RAW)`, `SO_ATTACH_FILTER`, `SO_LOCK_FILTER`, `SO_RCVBUF`. `CAP_NET_RAW` over r.
//!
//! # References
//! packet(7); Documentation/networking/filter.rst; RFC 791, RFC 8200, RFC 9293 section 3.1.

use std::os::fd::AsFd as _;

use nsntrace_sys::{Insn, PacketSocket};
use rustix::event::epoll::EventFlags;
use rustix::net::{RecvFlags, sockopt};

use crate::ProxyError;
use crate::engine::{Context, Token};
use crate::wire::{Packet, Syn};

/// The packet sockets of r, and room for a frame.
#[derive(Debug)]
pub(crate) struct Gate {
    sockets: [PacketSocket; 2],
    frame: Box<[u8]>,
}

/// What the program sent.
#[derive(Debug)]
pub(crate) enum Arrival<'a> {
    /// It wants to connect.
    Syn(Syn<'a>),
    /// It pings, or this is a part of that.
    Icmp(Packet<'a>),
    /// It breaks the formats.
    Other,
}

impl Gate {
    /// Opens the sockets in the network namespace of the calling thread. They see nothing yet.
    pub(crate) fn open() -> Result<Self, ProxyError> {
        let sockets = [open(FILTER_V4)?, open(FILTER_V6)?];
        Ok(Self { sockets, frame: vec![0; MAX_FRAME].into_boxed_slice() })
    }

    /// Begins to see what comes in by the link.
    pub(crate) fn bind(&self, ifindex: u32) -> Result<(), ProxyError> {
        for (socket, ethertype) in self.sockets.iter().zip([ETH_P_IP, ETH_P_IPV6]) {
            socket.bind_link(ifindex, ethertype).map_err(ProxyError::inside("watch the veth"))?;
        }
        Ok(())
    }

    pub(crate) fn watch(&self, context: &Context) -> Result<(), ProxyError> {
        for (socket, index) in self.sockets.iter().zip(0..) {
            context
                .poller
                .watch(socket, Token::Gate(index), EventFlags::IN)
                .map_err(ProxyError::events("watch the gate"))?;
        }
        Ok(())
    }

    /// Looks away: what comes from now on is nobody's.
    pub(crate) fn unwatch(&self, context: &Context) -> Result<(), ProxyError> {
        for (socket, index) in self.sockets.iter().zip(0..) {
            context
                .poller
                .rewatch(socket, Token::Gate(index), EventFlags::IN, EventFlags::empty())
                .map_err(ProxyError::events("look away from the gate"))?;
        }
        Ok(())
    }

    /// Reads what came first. `None`: nothing is left.
    pub(crate) fn read(&mut self, index: u32) -> Option<Arrival<'_>> {
        let socket = self.sockets.get(index as usize)?;
        let (len, _) = rustix::net::recv(socket, &mut *self.frame, RecvFlags::DONTWAIT).ok()?;
        Some(Arrival::read(self.frame.get(..len)?))
    }
}

impl<'a> Arrival<'a> {
    fn read(frame: &'a [u8]) -> Self {
        match Packet::read(frame) {
            None => Self::Other,
            Some(packet) => Syn::read(packet).map_or(Self::Icmp(packet), Self::Syn),
        }
    }
}

fn open(filter: &[Insn]) -> Result<PacketSocket, ProxyError> {
    let socket = PacketSocket::open().map_err(ProxyError::inside("open a packet socket"))?;
    socket.lock_filter(filter).map_err(ProxyError::inside("filter a packet socket"))?;
    // A thousand programs may connect at once. Where it is granted in part, that will do: a SYN is sent again.
    let _ = sockopt::set_socket_recv_buffer_size(socket.as_fd(), RECEIVE_BUFFER);
    Ok(socket)
}

/// A SYN with neither ACK, RST nor FIN; an ICMP echo request, and every part of ICMP that was sent in parts.
const FILTER_V4: &[Insn] = &[
    insn(LDB, 0, 0, LINK + 9), // Protocol.
    insn(JEQ, 0, 6, TCP),
    insn(LDH, 0, 0, LINK + 6), // Flags and offset of a part.
    insn(JSET, 11, 0, 0x1fff),
    insn(LDX_IHL, 0, 0, LINK),
    insn(LDB_X, 0, 0, LINK + 13), // Flags of TCP.
    insn(AND, 0, 0, FLAGS),
    insn(JEQ, 6, 7, SYN),
    insn(JEQ, 0, 6, ICMP),
    insn(LDH, 0, 0, LINK + 6),
    insn(JSET, 3, 0, 0x3fff),
    insn(LDX_IHL, 0, 0, LINK),
    insn(LDB_X, 0, 0, LINK), // Type of ICMP.
    insn(JEQ, 0, 1, ECHO),
    insn(RET, 0, 0, ALL),
    insn(RET, 0, 0, 0),
];

/// The same, where no extension header but that of a part comes before.
const FILTER_V6: &[Insn] = &[
    insn(LDB, 0, 0, LINK + 6), // Next header.
    insn(JEQ, 0, 3, TCP),
    insn(LDB, 0, 0, LINK + 40 + 13),
    insn(AND, 0, 0, FLAGS),
    insn(JEQ, 6, 7, SYN),
    insn(JEQ, 0, 2, ICMPV6),
    insn(LDB, 0, 0, LINK + 40),
    insn(JEQ, 3, 4, ECHO_V6),
    insn(JEQ, 0, 3, FRAGMENT),
    insn(LDB, 0, 0, LINK + 40),
    insn(JEQ, 0, 1, ICMPV6),
    insn(RET, 0, 0, ALL),
    insn(RET, 0, 0, 0),
];

const fn insn(code: u16, jt: u8, jf: u8, k: u32) -> Insn {
    Insn { code, jt, jf, k }
}

/// include/uapi/linux/bpf_common.h: `BPF_LD | BPF_B | BPF_ABS` and so on.
const LDB: u16 = 0x30;
const LDH: u16 = 0x28;
const LDB_X: u16 = 0x50;
/// X = 4 * (P[k] & 0xf): the length of an IPv4 header.
const LDX_IHL: u16 = 0xb1;
const AND: u16 = 0x54;
const JEQ: u16 = 0x15;
const JSET: u16 = 0x45;
const RET: u16 = 0x06;
/// All of a frame.
const ALL: u32 = 0xffff_ffff;
/// The length of an Ethernet header.
const LINK: u32 = 14;
const TCP: u32 = 6;
const ICMP: u32 = 1;
const ICMPV6: u32 = 58;
const FRAGMENT: u32 = 44;
/// SYN, and with it FIN, RST and ACK.
const SYN: u32 = 0x02;
const FLAGS: u32 = 0x17;
const ECHO: u32 = 8;
const ECHO_V6: u32 = 128;

/// include/uapi/linux/if_ether.h.
const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;

/// The longest that is one packet, on a link of any kind.
const MAX_FRAME: usize = 14 + 65535;
const RECEIVE_BUFFER: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use nsntrace_sys::attach_filter;
    use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, socketpair};

    use super::*;

    /// Whether the kernel lets a frame through a filter.
    fn passes(filter: &[Insn], frame: &[u8]) -> bool {
        let flags = SocketFlags::NONBLOCK;
        let (near, far) = socketpair(AddressFamily::UNIX, SocketType::DGRAM, flags, None).unwrap();
        attach_filter(far.as_fd(), filter).unwrap();
        // A socket pair says so when its filter refuses.
        let _ = rustix::net::send(&near, frame, SendFlags::empty());
        rustix::net::recv(&far, &mut [0; 128], RecvFlags::empty()).is_ok_and(|(len, _)| len == frame.len())
    }

    /// A frame with IPv4, options of `options` bytes, and `payload`.
    fn v4(protocol: u8, part: [u8; 2], options: usize, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 14 + 20 + options];
        frame[14] = 0x45 + u8::try_from(options / 4).unwrap();
        frame[14 + 6..14 + 8].copy_from_slice(&part);
        frame[14 + 9] = protocol;
        frame.extend_from_slice(payload);
        frame
    }

    fn v6(next_header: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 14 + 40];
        frame[14] = 0x60;
        frame[14 + 6] = next_header;
        frame.extend_from_slice(payload);
        frame
    }

    fn segment(flags: u8) -> Vec<u8> {
        let mut header = vec![0; 20];
        header[13] = flags;
        header
    }

    #[test]
    fn a_syn_passes_and_other_segments_do_not() {
        for (flags, expected) in [
            (0x02, true),  // SYN
            (0xc2, true),  // with ECN
            (0x12, false), // SYN, ACK
            (0x10, false), // ACK
            (0x11, false), // FIN, ACK
            (0x06, false), // SYN, RST
            (0x03, false), // SYN, FIN
        ] {
            let segment = segment(flags);
            for options in [0, 8] {
                assert_eq!(passes(FILTER_V4, &v4(6, [0x40, 0], options, &segment)), expected, "{flags:#x}");
            }
            assert_eq!(passes(FILTER_V6, &v6(6, &segment)), expected, "{flags:#x}");
        }
        assert!(!passes(FILTER_V4, &v4(6, [0, 1], 0, &segment(2))), "the middle of a packet has no flags");
        assert!(!passes(FILTER_V4, &v4(17, [0, 0], 0, &segment(2))), "UDP");
        assert!(!passes(FILTER_V6, &v6(17, &segment(2))), "UDP");
    }

    #[test]
    fn a_ping_passes_and_other_messages_do_not() {
        for (kind, expected) in [(8, true), (0, false), (3, false)] {
            assert_eq!(passes(FILTER_V4, &v4(1, [0, 0], 4, &[kind, 0, 0, 0])), expected);
        }
        assert!(passes(FILTER_V4, &v4(1, [0x20, 0], 0, &[8, 0])), "the first part");
        assert!(passes(FILTER_V4, &v4(1, [0, 185], 0, &[1, 2])), "the last part");
        // Neighbour discovery is r's own.
        for (kind, expected) in [(128, true), (129, false), (135, false)] {
            assert_eq!(passes(FILTER_V6, &v6(58, &[kind, 0, 0, 0])), expected);
        }
        assert!(passes(FILTER_V6, &v6(44, &[58, 0, 0, 1, 0, 0, 0, 1, 128])), "a part");
        assert!(!passes(FILTER_V6, &v6(44, &[17, 0, 0, 1, 0, 0, 0, 1, 128])), "a part of a datagram");
    }
}
