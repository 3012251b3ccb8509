//! Which families the sockets of r serve: both by one socket, or IPv4 alone on a kernel that was started without IPv6.
//!
//! # Kernel interface
//! `socket(AF_INET6)` with `IPV6_V6ONLY` off, `IPV6_TRANSPARENT`; else `socket(AF_INET)`. `IP_TRANSPARENT`. `CAP_NET_ADMIN` over the
//! network namespace.
//!
//! # References
//! ipv6(7); Documentation/networking/tproxy.rst; Documentation/networking/ipv6.rst: with `ipv6.disable=1` there is no `AF_INET6`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};

use nsntrace_sys::{Family, set_transparent_v4, set_transparent_v6};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};

use crate::ProxyError;

/// The families of a socket in r.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Families {
    /// A socket of IPv6, which takes addresses of IPv4 as `::ffff:0:0/96`.
    Both,
    /// A socket of IPv4.
    V4,
}

impl Families {
    /// What this kernel has: everything else that may be wrong is found out when a socket is made.
    pub(crate) fn of_this_kernel() -> Self {
        match socket(AddressFamily::INET6, SocketType::DGRAM) {
            Err(Errno::AFNOSUPPORT) => Self::V4,
            _ => Self::Both,
        }
    }

    /// A socket that may have any address of the families.
    pub(crate) fn transparent(self, kind: SocketType) -> Result<OwnedFd, ProxyError> {
        let socket = socket(self.domain(), kind).map_err(ProxyError::inside("open a transparent socket"))?;
        if self == Self::Both {
            sockopt::set_ipv6_v6only(&socket, false).map_err(ProxyError::inside("serve both families"))?;
            set_transparent_v6(socket.as_fd()).map_err(ProxyError::inside("stand in for IPv6 addresses"))?;
        }
        set_transparent_v4(socket.as_fd()).map_err(ProxyError::inside("stand in for IPv4 addresses"))?;
        Ok(socket)
    }

    /// Every address and a port that the kernel chooses.
    pub(crate) fn any(self) -> SocketAddr {
        match self {
            Self::Both => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
            Self::V4 => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        }
    }

    /// An address as such a socket takes it.
    pub(crate) fn spell(self, address: SocketAddr) -> SocketAddr {
        match (self, address.ip()) {
            (Self::Both, IpAddr::V4(ip)) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
            _ => address,
        }
    }

    /// Whose headers the packets of such a socket may have.
    pub(crate) fn each(self) -> &'static [Family] {
        match self {
            Self::Both => &[Family::V4, Family::V6],
            Self::V4 => &[Family::V4],
        }
    }

    fn domain(self) -> AddressFamily {
        match self {
            Self::Both => AddressFamily::INET6,
            Self::V4 => AddressFamily::INET,
        }
    }
}

fn socket(domain: AddressFamily, kind: SocketType) -> Result<OwnedFd, Errno> {
    socket_with(domain, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
}

#[cfg(test)]
mod tests {
    use nsntrace_testkit::isolated;

    use super::*;

    #[track_caller]
    fn may_be_anybody(families: Families, addresses: &[&str]) {
        for address in addresses {
            let socket = families.transparent(SocketType::DGRAM).unwrap();
            let address = address.parse().unwrap();
            rustix::net::bind(&socket, &families.spell(address)).unwrap();
            let bound = SocketAddr::try_from(rustix::net::getsockname(&socket).unwrap()).unwrap();
            assert_eq!(SocketAddr::new(bound.ip().to_canonical(), bound.port()), address);
        }
        rustix::net::bind(families.transparent(SocketType::STREAM).unwrap(), &families.any()).unwrap();
    }

    #[test]
    fn sockets_of_either_kind_may_have_any_address_of_theirs() {
        isolated(|| {
            assert_eq!(Families::of_this_kernel(), Families::Both);
            may_be_anybody(Families::Both, &["192.0.2.7:53", "[2001:db8::7]:53"]);
            may_be_anybody(Families::V4, &["192.0.2.7:53"]);
        });
    }
}
