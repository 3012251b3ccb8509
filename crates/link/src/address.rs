//! Addresses of links.
//!
//! # Kernel interface
//! `RTM_GETADDR`, `RTM_NEWADDR` with `struct ifaddrmsg`.
//!
//! ```text
//! +------------+---------------+-----------+-----------+-----------+
//! | ifa_family | ifa_prefixlen | ifa_flags | ifa_scope | ifa_index |
//! |     u8     |      u8       |    u8     |    u8     |    u32    |
//! +------------+---------------+-----------+-----------+-----------+
//! ```
//!
//! # References
//! rtnetlink(7); include/uapi/linux/if_addr.h; net/ipv4/devinet.c, net/ipv6/addrconf.c.

use std::net::IpAddr;

use neli::consts::{
    nl::NlmF,
    rtnl::{Ifa, IfaF, RtScope, Rtm},
};
use nsntrace_netlink::{Batch, Message};

use crate::{
    IfAddress, IfIndex, IpFamily, LinkError, Plan, Prefix, RouteSocket, Step,
    prefix::{address_of, octets},
};

/// An address as the kernel lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssignedAddress {
    /// The link that has it.
    pub ifindex: IfIndex,
    /// The address and the length of its network's prefix.
    pub address: IfAddress,
    /// The other end's address, where the link is point-to-point (`ip address add LOCAL peer PEER/LEN`).
    pub peer: Option<IpAddr>,
    /// It is good beyond the link: neither link-local nor loopback (`RT_SCOPE_UNIVERSE`).
    pub is_global: bool,
}

impl RouteSocket {
    /// All addresses of both families, as `ip address` lists them.
    ///
    /// # Errors
    /// [`LinkError::Netlink`].
    pub fn addresses(&mut self) -> Result<Vec<AssignedAddress>, LinkError> {
        let mut request = Batch::new();
        request.dump(Rtm::Getaddr.into(), &[0; HEADER], |_| {});
        self.list("addresses", &request, parse)
    }

    /// Gives an address to a link, as `ip address add ADDRESS/LEN dev NAME nodad` does.
    ///
    /// # Errors
    /// [`LinkError::Refused`]: `EPERM` without `CAP_NET_ADMIN`, `EEXIST` where the link has it, `ENODEV`
    /// where no link has this number, `EACCES` or `EOPNOTSUPP` for IPv6 where that is off.
    pub fn add_address(&mut self, ifindex: IfIndex, address: IfAddress) -> Result<(), LinkError> {
        self.apply(Plan::new().add_address(ifindex, address))
    }

    /// Every network that this namespace uses: destinations of its routes in all tables, default routes
    /// aside, and networks and peers of its addresses. What [`block`](crate::block) keeps clear of.
    ///
    /// # Errors
    /// [`LinkError::Netlink`].
    pub fn occupied(&mut self) -> Result<Vec<Prefix>, LinkError> {
        let routes = self.routes()?.into_iter().map(|route| route.destination);
        let addresses = self.addresses()?;
        let networks = addresses.iter().map(|assigned| assigned.address.prefix());
        let peers = addresses.iter().filter_map(|assigned| assigned.peer).map(Prefix::host);
        Ok(routes.filter(|destination| !destination.is_default()).chain(networks).chain(peers).collect())
    }
}

impl Plan {
    /// `ip address add ADDRESS/LEN dev NAME nodad`: of use at once, and nobody on the wire is asked whether
    /// it is a duplicate.
    ///
    /// Refused with `EEXIST` where the link has it, `ENODEV` where no link has this number.
    pub fn add_address(&mut self, ifindex: IfIndex, address: IfAddress) -> &mut Self {
        let step = Step::AddAddress(address, ifindex);
        let family = IpFamily::of(address.address());
        let [i0, i1, i2, i3] = ifindex.get().to_ne_bytes();
        let header = [family.af(), address.prefix_len(), 0, RtScope::Universe.into(), i0, i1, i2, i3];
        self.push(step, Rtm::Newaddr.into(), NlmF::CREATE | NlmF::EXCL, &header, |a| {
            a.bytes(Ifa::Local.into(), &octets(address.address()));
            a.bytes(Ifa::Address.into(), &octets(address.address()));
            // Duplicate address detection is IPv6's; the flag is nothing to IPv4.
            a.u32(Ifa::Flags.into(), IfaF::NODAD.bits().into());
        })
    }
}

pub(crate) fn parse(message: Message<'_>) -> Option<AssignedAddress> {
    if message.nlmsg_type() != u16::from(Rtm::Newaddr) {
        return None;
    }
    let (header, attributes) = message.split_header::<HEADER>()?;
    let [af, prefix_len, _, scope, i0, i1, i2, i3] = *header;
    let address_in =
        |ifa: Ifa| attributes.get(ifa.into()).and_then(|attribute| address_of(attribute.bytes()));
    let far = address_in(Ifa::Address);
    // IFA_LOCAL is ours and IFA_ADDRESS the other end's; IPv6 leaves out the former where there is no other
    // end.
    let near = address_in(Ifa::Local).or(far)?;
    IpFamily::from_af(af).filter(|family| *family == IpFamily::of(near))?;
    Some(AssignedAddress {
        ifindex: IfIndex::new(u32::from_ne_bytes([i0, i1, i2, i3]))?,
        address: IfAddress::new(near, prefix_len).ok()?,
        peer: far.filter(|far| *far != near),
        is_global: scope == u8::from(RtScope::Universe),
    })
}

/// Bytes of `struct ifaddrmsg`.
const HEADER: usize = 8;
