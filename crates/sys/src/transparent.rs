//! Options of sockets that stand in for addresses of others.
//!
//! # Kernel interface
//! `IP_TRANSPARENT` (Linux 2.6.28), `IPV6_TRANSPARENT` (Linux 2.6.37): `CAP_NET_ADMIN` over the socket's network namespace.
//! `SO_BINDTODEVICE`: `CAP_NET_RAW` before Linux 5.7. `SIOCOUTQ`, `SIOCATMARK`.
//!
//! # References
//! ip(7); socket(7); tcp(7); Documentation/networking/tproxy.rst.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::packet::{set_bytes, set_option};

/// Lets an IPv4 socket, or an IPv6 one that serves both families, have addresses that are not ours.
///
/// # Errors
/// `EPERM` without `CAP_NET_ADMIN`.
pub fn set_transparent_v4(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_option(socket, libc::SOL_IP, libc::IP_TRANSPARENT, &1_i32)
}

/// Lets an IPv6 socket have addresses that are not ours.
///
/// # Errors
/// `EPERM` without `CAP_NET_ADMIN`; `ENOPROTOOPT` on an IPv4 socket.
pub fn set_transparent_v6(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_option(socket, libc::SOL_IPV6, libc::IPV6_TRANSPARENT, &1_i32)
}

/// Ties a socket to the device `ifname`: it sends and receives by no other.
///
/// # Errors
/// `ENODEV`: no such device. `EPERM` without `CAP_NET_RAW` before Linux 5.7.
pub fn bind_to_device(socket: BorrowedFd<'_>, ifname: &str) -> io::Result<()> {
    set_bytes(socket, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, ifname.as_bytes())
}

/// How many bytes a TCP socket has that its peer has not acknowledged yet; a FIN that is on its way counts as one.
///
/// # Errors
/// `EINVAL` on a socket that listens.
pub fn unacknowledged(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ, which is TIOCOUTQ, writes one int to `bytes`, which outlives the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if done == 0 { Ok(bytes.unsigned_abs()) } else { Err(io::Error::last_os_error()) }
}

/// Whether the next byte that a TCP socket has to read is an urgent one.
///
/// # Errors
/// `ENOTTY` on a socket of another kind.
pub fn is_at_mark(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let mut is_at_mark: libc::c_int = 0;
    // SAFETY: SIOCATMARK writes one int to `is_at_mark`, which outlives the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCATMARK, &raw mut is_at_mark) };
    if done == 0 { Ok(is_at_mark != 0) } else { Err(io::Error::last_os_error()) }
}

/// include/uapi/asm-generic/sockios.h.
const SIOCATMARK: libc::Ioctl = 0x8905;
