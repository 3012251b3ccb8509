//! Features of network devices that rtnetlink does not know.
//!
//! # Kernel interface
//! ioctl `SIOCETHTOOL` with `ETHTOOL_STXCSUM`, on a socket of the device's network namespace. `CAP_NET_ADMIN` there.
//!
//! # References
//! include/uapi/linux/ethtool.h; net/ethtool/ioctl.c; netdevice(7).

use std::io;
use std::os::fd::AsRawFd;

/// Switches on or off that the device `name` is left the checksums of what is sent. Without them it is not left
/// segmentation either: the kernel then does both before anybody sees a frame.
///
/// # Errors
/// `ENODEV`: no such device in the socket's namespace. `EPERM` without `CAP_NET_ADMIN`. `EOPNOTSUPP`: not this device. `EINVAL`: `name`
/// is too long.
pub fn set_tx_checksum_offload(socket: &impl AsRawFd, name: &str, on: bool) -> io::Result<()> {
    let mut value = EthtoolValue { cmd: ETHTOOL_STXCSUM, data: u32::from(on) };
    let mut request = IfreqData { name: [0; libc::IFNAMSIZ], data: &raw mut value, rest: [0; REST_LEN] };
    // The last byte stays zero.
    let room = request.name[..libc::IFNAMSIZ - 1].get_mut(..name.len());
    room.ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(name.as_bytes());
    // SAFETY: SIOCETHTOOL reads a `struct ifreq`, of which only name and data pointer are looked at (IfreqData is as long), and behind
    // the pointer a `struct ethtool_value`, which it may write to. Both outlive the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `struct ethtool_value`.
#[repr(C)]
struct EthtoolValue {
    cmd: u32,
    data: u32,
}

/// `struct ifreq`, of whose union `ifr_data` is used.
#[repr(C)]
struct IfreqData {
    name: [u8; libc::IFNAMSIZ],
    data: *mut EthtoolValue,
    /// The rest of the union, whose largest member is a `struct ifmap`.
    rest: [u8; REST_LEN],
}

const REST_LEN: usize = size_of::<libc::ifreq>() - libc::IFNAMSIZ - size_of::<*mut EthtoolValue>();
const _: () = assert!(size_of::<IfreqData>() == size_of::<libc::ifreq>());

/// include/uapi/linux/sockios.h. The type of ioctl's second argument is not the same in all C libraries.
const SIOCETHTOOL: libc::Ioctl = 0x8946;
const ETHTOOL_STXCSUM: u32 = 0x17;
