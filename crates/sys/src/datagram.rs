//! Datagrams with what the kernel knows about them beside their bytes: control messages that rustix does not offer.
//!
//! # Theory of operation
//! A control message is a header of length, level and type, and a value, each aligned to the size of a `size_t`. The
//! kernel fills a buffer with them and says how far; they are read as the plain bytes that they are.
//!
//! # Kernel interface
//! `recvmsg(2)` with `IP_ORIGDSTADDR`, `IPV6_ORIGDSTADDR`, `IP_TTL`, `IPV6_HOPLIMIT`, `IP_RECVFRAGSIZE`, `IPV6_RECVFRAGSIZE`
//! (Linux 4.10), `UDP_GRO` (Linux 5.0), `IP_RECVERR`, `IPV6_RECVERR`; `sendmsg(2)` with `UDP_SEGMENT` (Linux 4.18).
//!
//! # References
//! cmsg(3), ip(7), ipv6(7), udp(7); include/uapi/linux/errqueue.h; `put_cmsg()` in net/core/scm.c.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::packet::set_option;

/// What a socket is to tell about each datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Where it was sent to, before TPROXY (`IP_RECVORIGDSTADDR`).
    OriginalDestination,
    /// Its time to live or hop limit (`IP_RECVTTL`).
    Ttl,
    /// The length of its largest fragment, if it came in fragments (`IP_RECVFRAGSIZE`).
    FragmentLen,
    /// Several datagrams at once, and how long each of them is (`UDP_GRO`).
    Segments,
    /// What became of those that were sent: see [`receive_error`] (`IP_RECVERR`).
    Errors,
}

/// Which headers a socket's packets have. One of IPv6 that serves both has to be asked twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4, or IPv4 on a socket of IPv6.
    V4,
    /// IPv6.
    V6,
}

/// A datagram, or several of the same length, whose bytes are in the caller's buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Datagram {
    /// Bytes in the buffer.
    pub len: usize,
    /// Who sent it.
    pub source: Option<SocketAddr>,
    /// Where it was sent to, before TPROXY.
    pub original_destination: Option<SocketAddr>,
    /// Time to live or hop limit.
    pub ttl: Option<u8>,
    /// The length of the largest fragment with its IP header, in bytes. `None`: it came whole.
    pub fragment_len: Option<u32>,
    /// How long each datagram is but the last, which may be shorter. `None`: there is one.
    pub segment_len: Option<u16>,
}

/// Why a datagram did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryError {
    /// Bytes in the buffer: what is known of the datagram's beginning.
    pub len: usize,
    /// As a system call would report it.
    pub errno: Errno,
    /// Who found out.
    pub origin: Origin,
    /// A number that belongs to the error, such as an MTU in bytes (`ee_info`).
    pub info: u32,
}

/// Who found out that a datagram did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Our own kernel.
    Local,
    /// A host, which sent an ICMP or ICMPv6 message.
    Icmp {
        /// Its type.
        kind: u8,
        /// Its code.
        code: u8,
        /// Who sent it.
        offender: Option<IpAddr>,
    },
}

/// Has a socket tell a detail.
///
/// # Errors
/// `ENOPROTOOPT` on a kernel without, or on a socket of another family.
pub fn tell(socket: BorrowedFd<'_>, family: Family, detail: Detail) -> io::Result<()> {
    let (level, name) = match (detail, family) {
        (Detail::OriginalDestination, Family::V4) => (libc::SOL_IP, IP_ORIGDSTADDR),
        (Detail::OriginalDestination, Family::V6) => (libc::SOL_IPV6, IPV6_ORIGDSTADDR),
        (Detail::Ttl, Family::V4) => (libc::SOL_IP, libc::IP_RECVTTL),
        (Detail::Ttl, Family::V6) => (libc::SOL_IPV6, libc::IPV6_RECVHOPLIMIT),
        (Detail::FragmentLen, Family::V4) => (libc::SOL_IP, IP_RECVFRAGSIZE),
        (Detail::FragmentLen, Family::V6) => (libc::SOL_IPV6, IPV6_RECVFRAGSIZE),
        (Detail::Segments, _) => (SOL_UDP, UDP_GRO),
        (Detail::Errors, Family::V4) => (libc::SOL_IP, libc::IP_RECVERR),
        (Detail::Errors, Family::V6) => (libc::SOL_IPV6, libc::IPV6_RECVERR),
    };
    set_option(socket, level, name, &1_i32)
}

/// Receives a datagram, if there is one. What does not fit the buffer is lost.
///
/// # Errors
/// `EAGAIN`: there is none. `ECONNREFUSED` and others: what became of one that was sent.
pub fn receive_datagram(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Datagram, Errno> {
    let mut control = Control([0; CONTROL_LEN]);
    let message = receive_message(socket, buffer, &mut control, libc::MSG_DONTWAIT)?;
    let mut received = Datagram { len: message.len, source: message.name, ..Datagram::default() };
    for control in Messages(control.0.get(..message.control_len).unwrap_or_default()) {
        received.note(control);
    }
    Ok(received)
}

/// Receives why a datagram that was sent did not arrive, if such is known, and its beginning.
///
/// # Errors
/// `EAGAIN`: nothing is known.
pub fn receive_error(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<DeliveryError, Errno> {
    let mut control = Control([0; CONTROL_LEN]);
    let message = receive_message(socket, buffer, &mut control, libc::MSG_DONTWAIT | libc::MSG_ERRQUEUE)?;
    Messages(control.0.get(..message.control_len).unwrap_or_default())
        .find_map(|control| DeliveryError::read(message.len, control))
        .ok_or(Errno::PROTO)
}

/// Sends bytes on a connected socket: as one datagram, or as several of `segment_len` bytes, of which the last may be shorter.
///
/// # Errors
/// `EAGAIN`: no room. `EMSGSIZE`: too long for the path. `EINVAL`, `EIO`, `EMSGSIZE`: segments that the kernel cannot make. `ECONNREFUSED` and others:
/// what became of one that was sent earlier.
pub fn send_datagrams(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    segment_len: Option<u16>,
) -> Result<usize, Errno> {
    let mut control = Control([0; CONTROL_LEN]);
    let control_len = segment_len.map_or(0, |len| control.put(SOL_UDP, UDP_SEGMENT, &len.to_ne_bytes()));
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut header = message_header(&mut part, &mut control, control_len);
    if control_len == 0 {
        header.msg_control = std::ptr::null_mut();
    }
    // SAFETY: the kernel reads the header, what it points to and `bytes`, all of which outlive the call, and writes to none of them.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, SEND_FLAGS) };
    usize::try_from(sent).map_err(|_negative| last_errno())
}

/// What recvmsg(2) says beside the bytes.
struct Message {
    len: usize,
    control_len: usize,
    name: Option<SocketAddr>,
}

fn receive_message(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    control: &mut Control,
    flags: i32,
) -> Result<Message, Errno> {
    let mut name = [0_u8; NAME_LEN];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut header = message_header(&mut part, control, CONTROL_LEN);
    header.msg_name = name.as_mut_ptr().cast();
    header.msg_namelen = NAME_LEN_C;
    // SAFETY: the kernel writes at most the lengths given to `buffer`, `name` and `control`, which are borrowed for this
    // call alone and outlive it; any bytes are sound values of theirs.
    let len = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) };
    let len = usize::try_from(len).map_err(|_negative| last_errno())?;
    let control_len = control_len(&header);
    Ok(Message { len, control_len, name: socket_address(&name) })
}

/// A header for one part and a control buffer, with no name.
fn message_header(part: &mut libc::iovec, control: &mut Control, control_len: usize) -> libc::msghdr {
    // SAFETY: a msghdr of zeros is one without name, parts and control messages; some C libraries have private padding in it.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_iov = part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    #[expect(
        clippy::as_underscore,
        reason = "the C libraries differ in the field's type; the buffer is small"
    )]
    {
        header.msg_controllen = control_len as _;
    }
    header
}

#[allow(clippy::unnecessary_cast, reason = "the C libraries differ in the field's type")]
fn control_len(header: &libc::msghdr) -> usize {
    header.msg_controllen as usize
}

fn last_errno() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}

impl Datagram {
    /// Takes note of a control message.
    fn note(&mut self, control: ControlMessage<'_>) {
        match (control.level, control.kind) {
            (libc::SOL_IP, IP_ORIGDSTADDR) | (libc::SOL_IPV6, IPV6_ORIGDSTADDR) => {
                self.original_destination = socket_address(control.value);
            }
            (libc::SOL_IP, libc::IP_TTL) | (libc::SOL_IPV6, libc::IPV6_HOPLIMIT) => {
                self.ttl = control.int().and_then(|ttl| u8::try_from(ttl).ok());
            }
            (libc::SOL_IP, IP_RECVFRAGSIZE) | (libc::SOL_IPV6, IPV6_RECVFRAGSIZE) => {
                self.fragment_len = control.int().and_then(|len| u32::try_from(len).ok());
            }
            (SOL_UDP, UDP_GRO) => {
                // It is told of every datagram that came as part of several, even if one is all that was left.
                let len = control.int().and_then(|len| u16::try_from(len).ok());
                self.segment_len = len.filter(|&len| len > 0 && usize::from(len) < self.len);
            }
            _ => {}
        }
    }
}

impl DeliveryError {
    /// Reads a `struct sock_extended_err` and the address behind it.
    fn read(len: usize, control: ControlMessage<'_>) -> Option<Self> {
        let is_error = matches!(
            (control.level, control.kind),
            (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR)
        );
        let (&[e0, e1, e2, e3, origin, kind, code, _pad, i0, i1, i2, i3, ..], offender) =
            control.value.split_first_chunk::<16>().filter(|_| is_error)?;
        let origin = match origin {
            libc::SO_EE_ORIGIN_LOCAL => Origin::Local,
            libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6 => {
                Origin::Icmp { kind, code, offender: socket_address(offender).map(|address| address.ip()) }
            }
            _ => return None,
        };
        let errno = i32::from_ne_bytes([e0, e1, e2, e3]);
        let info = u32::from_ne_bytes([i0, i1, i2, i3]);
        Some(Self { len, errno: Errno::from_raw_os_error(errno), origin, info })
    }
}

/// Reads a `struct sockaddr_in` or `sockaddr_in6`.
fn socket_address(bytes: &[u8]) -> Option<SocketAddr> {
    let (&[f0, f1, p0, p1], rest) = bytes.split_first_chunk()?;
    let port = u16::from_be_bytes([p0, p1]);
    match i32::from(u16::from_ne_bytes([f0, f1])) {
        libc::AF_INET => {
            let (&octets, _) = rest.split_first_chunk::<4>()?;
            Some(SocketAddrV4::new(Ipv4Addr::from(octets), port).into())
        }
        libc::AF_INET6 => {
            let (_flow, rest) = rest.split_first_chunk::<4>()?;
            let (&octets, rest) = rest.split_first_chunk::<16>()?;
            let (&scope, _) = rest.split_first_chunk::<4>()?;
            Some(SocketAddrV6::new(Ipv6Addr::from(octets), port, 0, u32::from_ne_bytes(scope)).into())
        }
        _ => None,
    }
}

/// Room for control messages, aligned as their headers are.
#[repr(C, align(8))]
struct Control([u8; CONTROL_LEN]);

impl Control {
    /// Writes the only message. Returns how many bytes it takes.
    fn put(&mut self, level: i32, kind: i32, value: &[u8]) -> usize {
        let len = HEADER_LEN + value.len();
        let parts = [&len.to_ne_bytes()[..], &level.to_ne_bytes(), &kind.to_ne_bytes(), value];
        for (to, from) in self.0.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        len.next_multiple_of(size_of::<usize>())
    }
}

/// One control message.
#[derive(Clone, Copy)]
struct ControlMessage<'a> {
    level: i32,
    kind: i32,
    value: &'a [u8],
}

impl ControlMessage<'_> {
    /// The value, if it is an `int`.
    fn int(&self) -> Option<i32> {
        self.value.first_chunk().copied().map(i32::from_ne_bytes)
    }
}

/// The control messages in a buffer.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = ControlMessage<'a>;

    fn next(&mut self) -> Option<ControlMessage<'a>> {
        let (&len, rest) = self.0.split_first_chunk::<{ size_of::<usize>() }>()?;
        let (&level, rest) = rest.split_first_chunk()?;
        let (&kind, _) = rest.split_first_chunk()?;
        let len = usize::from_ne_bytes(len);
        let value = self.0.get(HEADER_LEN..len)?;
        let aligned = len.checked_next_multiple_of(size_of::<usize>())?;
        self.0 = self.0.get(aligned..).unwrap_or_default();
        Some(ControlMessage { level: i32::from_ne_bytes(level), kind: i32::from_ne_bytes(kind), value })
    }
}

/// The header of a control message: `size_t`, `int`, `int`.
const HEADER_LEN: usize = size_of::<usize>() + 8;
const _: () = assert!(HEADER_LEN == size_of::<libc::cmsghdr>());
/// Room for all that is asked for at once: two addresses, an error with an address, and some numbers.
const CONTROL_LEN: usize = 256;
/// Room for a `struct sockaddr_in6`.
const NAME_LEN: usize = size_of::<libc::sockaddr_in6>();
const NAME_LEN_C: libc::socklen_t = 28;
const _: () = assert!(NAME_LEN == 28);
const SEND_FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// include/uapi/linux/in.h, in6.h, udp.h, socket.h; the libc crate has them for some targets only.
const IP_ORIGDSTADDR: i32 = 20;
const IP_RECVFRAGSIZE: i32 = 25;
const IPV6_ORIGDSTADDR: i32 = 74;
const IPV6_RECVFRAGSIZE: i32 = 77;
const SOL_UDP: i32 = 17;
const UDP_SEGMENT: i32 = 103;
const UDP_GRO: i32 = 104;

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn ttl_and_sender_of_both_families_are_told() {
        for (address, family) in [("127.0.0.1:0", Family::V4), ("[::1]:0", Family::V6)] {
            let (receiver, sender) = pair(address);
            tell(receiver.as_fd(), family, Detail::Ttl).unwrap();
            sender.send(b"some bytes").unwrap();
            let mut buffer = [0; 64];
            let expected = Datagram {
                len: 10,
                source: Some(sender.local_addr().unwrap()),
                ttl: Some(64),
                ..Datagram::default()
            };
            assert_eq!(receive_datagram(receiver.as_fd(), &mut buffer), Ok(expected));
            assert_eq!(&buffer[..10], b"some bytes");
            assert_eq!(receive_datagram(receiver.as_fd(), &mut buffer), Err(Errno::WOULDBLOCK));
        }
    }

    #[test]
    fn nobody_there_is_told_with_the_datagram() {
        for (address, family, kind, code) in
            [("127.0.0.1:0", Family::V4, 3, 3), ("[::1]:0", Family::V6, 1, 4)]
        {
            let (receiver, sender) = pair(address);
            tell(sender.as_fd(), family, Detail::Errors).unwrap();
            let offender = Some(receiver.local_addr().unwrap().ip());
            drop(receiver);
            send_datagrams(sender.as_fd(), b"anybody?", None).unwrap();
            let mut buffer = [0; 64];
            let origin = Origin::Icmp { kind, code, offender };
            let expected = DeliveryError { len: 8, errno: Errno::CONNREFUSED, origin, info: 0 };
            assert_eq!(receive_error(sender.as_fd(), &mut buffer), Ok(expected));
            assert_eq!(&buffer[..8], b"anybody?");
            assert_eq!(receive_error(sender.as_fd(), &mut buffer), Err(Errno::WOULDBLOCK));
        }
    }

    #[test]
    fn segments_are_sent_and_received_at_once() {
        let (receiver, sender) = pair("127.0.0.1:0");
        let bytes: Vec<u8> = (0..251).cycle().take(2500).collect();
        send_datagrams(sender.as_fd(), &bytes, Some(1000)).unwrap();
        let mut buffer = [0; 4096];
        let lens: Vec<_> = std::iter::from_fn(|| receive_datagram(receiver.as_fd(), &mut buffer).ok())
            .map(|one| one.len)
            .collect();
        assert_eq!(lens, [1000, 1000, 500]);
        tell(receiver.as_fd(), Family::V4, Detail::Segments).unwrap();
        send_datagrams(sender.as_fd(), &bytes, Some(1000)).unwrap();
        let all = receive_datagram(receiver.as_fd(), &mut buffer).unwrap();
        assert_eq!((all.len, all.segment_len), (2500, Some(1000)));
        assert_eq!(&buffer[..2500], bytes);
        send_datagrams(sender.as_fd(), &bytes[..7], None).unwrap();
        let one = receive_datagram(receiver.as_fd(), &mut buffer).unwrap();
        assert_eq!((one.len, one.segment_len), (7, None));
    }

    #[test]
    fn control_messages_end_where_they_say() {
        let mut control = Control([0; CONTROL_LEN]);
        let len = control.put(SOL_UDP, UDP_SEGMENT, &1400_u16.to_ne_bytes());
        let messages =
            |bytes| Messages(bytes).map(|m| (m.level, m.kind, m.value.to_vec())).collect::<Vec<_>>();
        assert_eq!(messages(&control.0[..len]), [(SOL_UDP, UDP_SEGMENT, 1400_u16.to_ne_bytes().to_vec())]);
        for cut in 0..HEADER_LEN + 2 {
            assert_eq!(messages(&control.0[..cut]), []);
        }
        // A length of zero ends the walk, or it would be endless.
        assert_eq!(messages(&[0; CONTROL_LEN]), []);
        assert_eq!(messages(&[0xff; CONTROL_LEN]), []);
    }

    fn pair(address: &str) -> (UdpSocket, UdpSocket) {
        let receiver = UdpSocket::bind(address).unwrap();
        let sender = UdpSocket::bind(address).unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        (receiver, sender)
    }
}
