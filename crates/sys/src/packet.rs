//! Packet sockets: the options that rustix does not offer.
//!
//! # Kernel interface
//! `socket(AF_PACKET, SOCK_RAW)` (`CAP_NET_RAW`), `SO_ATTACH_FILTER`, `SO_LOCK_FILTER`, `PACKET_VERSION`, `PACKET_STATISTICS`,
//! `bind` to a `sockaddr_ll`.
//!
//! # References
//! packet(7); include/uapi/linux/if_packet.h; net/packet/af_packet.c.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::ring::{Geometry, Ring};

/// One instruction of classic BPF: `struct sock_filter` of include/uapi/linux/filter.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Insn {
    /// Operation: class, size, mode or source.
    pub code: u16,
    /// Instructions to skip when a jump's condition holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

const _: () = assert!(size_of::<Insn>() == size_of::<libc::sock_filter>());

/// What the kernel counted for a packet socket since it was asked last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketStatistics {
    /// Packets that passed the filter, the dropped ones included.
    pub received: u32,
    /// Packets that found no room in the ring.
    pub dropped: u32,
}

/// A packet socket that receives nothing until it is bound.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Opens a socket in the network namespace of the calling thread, to which it belongs from then on.
    ///
    /// # Errors
    /// `EPERM` without `CAP_NET_RAW`; `EAFNOSUPPORT` when the kernel has no packet sockets (`CONFIG_PACKET`).
    pub fn open() -> io::Result<Self> {
        // Protocol 0: no packet arrives before bind names one, and bind need not undo a registration (12 ms).
        Ok(Self(socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None)?))
    }

    /// Gives the socket a filter for good: it can be neither replaced nor taken away.
    ///
    /// # Errors
    /// `EINVAL` when the kernel finds the program unsound or longer than 4096 instructions.
    pub fn lock_filter(&self, program: &[Insn]) -> io::Result<()> {
        attach_filter(self.as_fd(), program)?;
        set_option(self.as_fd(), libc::SOL_SOCKET, libc::SO_LOCK_FILTER, &1_i32)
    }

    /// Lays out a `TPACKET_V3` ring and maps it.
    ///
    /// # Errors
    /// `ENOMEM` when the kernel has no room for the blocks or the mapping; `EINVAL` for a geometry that it refuses.
    pub fn ring(&self, geometry: Geometry) -> io::Result<Ring> {
        set_option(self.as_fd(), libc::SOL_PACKET, libc::PACKET_VERSION, &TPACKET_V3)?;
        let request = geometry.request()?;
        set_option(self.as_fd(), libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        Ring::map(self.as_fd(), geometry)
    }

    /// Starts receiving: every protocol, every link of the socket's network namespace.
    ///
    /// # Errors
    /// `ENETDOWN`, `ENODEV` cannot happen without a link named; others see packet(7).
    pub fn bind_all(&self) -> io::Result<()> {
        self.bind(0, ETH_P_ALL)
    }

    /// Names the one link that frames are sent to, and received from if their protocol is `ethertype`: nothing is received
    /// for 0. What this machine sends is received by nobody who asks for one protocol.
    ///
    /// # Errors
    /// `ENODEV` when the socket's network namespace has no link `ifindex`. While the link is down, reading says `ENETDOWN`.
    pub fn bind_link(&self, ifindex: u32, ethertype: u16) -> io::Result<()> {
        let ifindex =
            i32::try_from(ifindex).map_err(|_too_large| io::Error::from_raw_os_error(libc::ENODEV))?;
        self.bind(ifindex, ethertype)
    }

    fn bind(&self, sll_ifindex: i32, ethertype: u16) -> io::Result<()> {
        let address = libc::sockaddr_ll {
            sll_family: AF_PACKET,
            sll_protocol: ethertype.to_be(),
            sll_ifindex,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let len = length_of::<libc::sockaddr_ll>();
        // SAFETY: the kernel reads `len` bytes of an initialised address that outlives the call.
        let done = unsafe { libc::bind(self.0.as_raw_fd(), (&raw const address).cast(), len) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Takes the counters of the socket; the kernel sets them back to zero.
    ///
    /// # Errors
    /// Those of getsockopt(2).
    pub fn take_statistics(&self) -> io::Result<PacketStatistics> {
        // struct tpacket_stats_v3: tp_packets, tp_drops, tp_freeze_q_cnt.
        let mut counters = [0_u32; 3];
        let mut len = length_of::<[u32; 3]>();
        // SAFETY: the kernel writes at most `len` bytes to `counters`, which has room for them.
        let done = unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                counters.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        let [received, dropped, _freezes] = counters;
        Ok(PacketStatistics { received, dropped })
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Gives a socket of any kind a classic BPF filter.
///
/// # Errors
/// `EINVAL` when the kernel finds the program unsound, empty or longer than 4096 instructions; `EPERM` on a locked socket.
pub fn attach_filter(socket: BorrowedFd<'_>, program: &[Insn]) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(|_too_long| io::Error::from_raw_os_error(libc::EINVAL))?;
    // The kernel copies the program and does not write to it; the field lacks its `const`.
    let filter = libc::sock_fprog { len, filter: program.as_ptr().cast_mut().cast() };
    set_option(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &filter)
}

/// setsockopt(2) with a value of a C type.
pub(crate) fn set_option<T: Copy>(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
    value: &T,
) -> io::Result<()> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of an initialised value; the pointer inside a sock_fprog, the
    // one value here that holds one, is to a slice borrowed by the caller for as long as the call lasts.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), length_of::<T>())
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// setsockopt(2) with a value that is a run of bytes.
pub(crate) fn set_bytes(socket: BorrowedFd<'_>, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    let len = libc::socklen_t::try_from(value.len())
        .map_err(|_too_long| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: the kernel reads `len` bytes of a slice that is borrowed for as long as the call lasts.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value.as_ptr().cast(), len) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn length_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).expect("a C structure is smaller than 4 GiB")
}

/// `enum tpacket_versions` of include/uapi/linux/if_packet.h.
const TPACKET_V3: i32 = 2;
/// include/linux/socket.h, in the width of `sll_family`.
const AF_PACKET: u16 = 17;
/// include/uapi/linux/if_ether.h.
const ETH_P_ALL: u16 = 3;
