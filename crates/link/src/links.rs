//! Links: what there is, up, down, delete.
//!
//! # Kernel interface
//! `RTM_GETLINK`, `RTM_SETLINK`, `RTM_DELLINK` with `struct ifinfomsg`.
//!
//! ```text
//! +------------+-----+----------+-----------+-----------+------------+
//! | ifi_family | pad | ifi_type | ifi_index | ifi_flags | ifi_change |
//! |     u8     | u8  |   u16    |    i32    |    u32    |    u32     |
//! +------------+-----+----------+-----------+-----------+------------+
//! ```
//!
//! # References
//! rtnetlink(7); include/uapi/linux/if_link.h; net/core/rtnetlink.c.

use neli::consts::{
    nl::NlmF,
    rtnl::{Iff, Ifla, IflaInfo, RtAddrFamily, Rtm},
};
use nsntrace_netlink::{Attributes, Batch, Message};
use rustix::io::Errno;

use crate::{IfIndex, IfName, LinkError, Plan, RouteSocket, Step};

/// A link as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub ifindex: IfIndex,
    /// Its name.
    pub name: IfName,
    /// The longest packet that it carries, bytes, link header aside.
    pub mtu: u32,
    /// Somebody brought it up (`IFF_UP`).
    pub is_up: bool,
    /// Whether it is connected.
    pub carrier: Carrier,
    /// It is the loopback (`IFF_LOOPBACK`).
    pub is_loopback: bool,
    /// What made it: `veth`, `bridge`, `wireguard`; `None` for hardware and loopback.
    pub kind: Option<String>,
    /// Its hardware address, where that has the form of Ethernet's.
    pub mac: Option<[u8; 6]>,
}

/// How far a link's carrier is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// There is none.
    Down,
    /// There is one (`IFF_LOWER_UP`), and the kernel has not acted on that yet: the link has no queue, so what is sent vanishes.
    Pending,
    /// There is one, and what is sent is sent (`IF_OPER_UP`, or a link that has no such state, as loopback).
    Active,
}

impl RouteSocket {
    /// All links, as `ip link` lists them, save those whose name is not UTF-8.
    ///
    /// # Errors
    /// [`LinkError::Netlink`].
    pub fn links(&mut self) -> Result<Vec<Link>, LinkError> {
        let mut request = Batch::new();
        request.dump(Rtm::Getlink.into(), &header(None, Iff::empty(), Iff::empty()), |_| {});
        self.list("network devices", &request, parse)
    }

    /// One link by number, as `ip link show` does.
    ///
    /// # Errors
    /// [`LinkError::Refused`]: `ENODEV` where no link has this number.
    pub fn link(&mut self, ifindex: IfIndex) -> Result<Link, LinkError> {
        let mut found = None;
        self.apply_with(Plan::new().show(ifindex), |message| {
            found = parse(message);
        })?;
        found.ok_or(LinkError::Incomplete { step: Step::Show(ifindex) })
    }

    /// One link by name, as `ip link show dev NAME` does.
    ///
    /// # Errors
    /// [`LinkError::NoSuchName`] where no link has this name.
    pub fn link_by_name(&mut self, name: &IfName) -> Result<Link, LinkError> {
        let links = self.links()?;
        links
            .into_iter()
            .find(|link| link.name == *name)
            .ok_or_else(|| LinkError::NoSuchName { name: name.clone() })
    }

    /// Brings a link up, as `ip link set dev NAME up` does.
    ///
    /// # Errors
    /// [`LinkError::Refused`]: `EPERM` without `CAP_NET_ADMIN` over the namespace, `ENODEV` where no link has
    /// this number.
    pub fn set_up(&mut self, ifindex: IfIndex) -> Result<(), LinkError> {
        self.apply(Plan::new().set_up(ifindex))
    }

    /// Takes a link down, as `ip link set dev NAME down` does.
    ///
    /// # Errors
    /// Those of [`Self::set_up`].
    pub fn set_down(&mut self, ifindex: IfIndex) -> Result<(), LinkError> {
        self.apply(Plan::new().set_down(ifindex))
    }

    /// Deletes a link, as `ip link delete dev NAME` does; with one end of a veth goes the other. Takes 12 to
    /// 50 ms.
    ///
    /// A link that is gone already is a success.
    ///
    /// # Errors
    /// [`LinkError::Refused`]: `EPERM` without `CAP_NET_ADMIN`, `EOPNOTSUPP` for hardware and loopback.
    pub fn delete_link(&mut self, ifindex: IfIndex) -> Result<(), LinkError> {
        match self.apply(Plan::new().delete_link(ifindex)) {
            Err(error) if error.errno() == Some(Errno::NODEV) => Ok(()),
            other => other,
        }
    }
}

impl Plan {
    /// `ip link set dev NAME up`. Refused with `ENODEV` where no link has this number.
    pub fn set_up(&mut self, ifindex: IfIndex) -> &mut Self {
        self.set_flags(Step::SetUp(ifindex), ifindex, Iff::UP, Iff::UP)
    }

    /// `ip link set dev NAME down`. Refused with `ENODEV` where no link has this number.
    pub fn set_down(&mut self, ifindex: IfIndex) -> &mut Self {
        self.set_flags(Step::SetDown(ifindex), ifindex, Iff::empty(), Iff::UP)
    }

    /// `ip link delete dev NAME`. Refused with `ENODEV` where no link has this number.
    pub fn delete_link(&mut self, ifindex: IfIndex) -> &mut Self {
        let header = header(Some(ifindex), Iff::empty(), Iff::empty());
        self.push(Step::DeleteLink(ifindex), Rtm::Dellink.into(), NlmF::empty(), &header, |_| {})
    }

    /// `ip link set dev NAME addrgenmode none`: IPv6 makes no link-local address, hence no duplicate address
    /// detection and no router solicitation. To be done before the link comes up.
    ///
    /// Refused with `EAFNOSUPPORT` where the link has no IPv6, because the kernel was built or booted without
    /// it or the MTU is less than 1280.
    pub fn stop_address_generation(&mut self, ifindex: IfIndex) -> &mut Self {
        let header = header(Some(ifindex), Iff::empty(), Iff::empty());
        self.push(Step::StopAddressGeneration(ifindex), Rtm::Setlink.into(), NlmF::empty(), &header, |a| {
            a.nested(Ifla::AfSpec.into(), |a| {
                a.nested(u8::from(RtAddrFamily::Inet6).into(), |a| {
                    a.u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
                });
            });
        })
    }

    /// `ip link set dev NAME arp off`: nobody is asked for by ARP or neighbour discovery, and no multicast
    /// group is joined to be found by the latter, which MLD would report. Neighbours are those of
    /// [`Plan::add_neighbour`]. To be done before addresses are added.
    ///
    /// Refused with `ENODEV` where no link has this number.
    pub fn stop_arp(&mut self, ifindex: IfIndex) -> &mut Self {
        self.set_flags(Step::StopArp(ifindex), ifindex, Iff::NOARP, Iff::NOARP)
    }

    pub(crate) fn show(&mut self, ifindex: IfIndex) -> &mut Self {
        let header = header(Some(ifindex), Iff::empty(), Iff::empty());
        self.push(Step::Show(ifindex), Rtm::Getlink.into(), NlmF::empty(), &header, |_| {})
    }

    /// Only the bits in `change` are touched.
    fn set_flags(&mut self, step: Step, ifindex: IfIndex, flags: Iff, change: Iff) -> &mut Self {
        let header = header(Some(ifindex), flags, change);
        self.push(step, Rtm::Setlink.into(), NlmF::empty(), &header, |_| {})
    }
}

/// `struct ifinfomsg`.
pub(crate) fn header(ifindex: Option<IfIndex>, flags: Iff, change: Iff) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[4..8].copy_from_slice(&ifindex.map_or(0, IfIndex::get).to_ne_bytes());
    header[8..12].copy_from_slice(&flags.bits().to_ne_bytes());
    header[12..16].copy_from_slice(&change.bits().to_ne_bytes());
    header
}

pub(crate) fn parse(message: Message<'_>) -> Option<Link> {
    if message.nlmsg_type() == u16::from(Rtm::Newlink) { read(message) } else { None }
}

/// Reads a message about a link, whether that comes or goes.
pub(crate) fn read(message: Message<'_>) -> Option<Link> {
    let (header, attributes) = message.split_header::<HEADER>()?;
    let [.., i0, i1, i2, i3, f0, f1, f2, f3, _, _, _, _] = *header;
    let flags = Iff::from_bits_retain(u32::from_ne_bytes([f0, f1, f2, f3]));
    Some(Link {
        ifindex: IfIndex::new(u32::from_ne_bytes([i0, i1, i2, i3]))?,
        name: IfName::new(attributes.get(Ifla::Ifname.into())?.str()?).ok()?,
        mtu: attributes.get(Ifla::Mtu.into())?.u32()?,
        is_up: flags.contains(Iff::UP),
        carrier: carrier(flags, &attributes),
        is_loopback: flags.contains(Iff::LOOPBACK),
        kind: kind(&attributes),
        mac: attributes.get(Ifla::Address.into()).and_then(|attribute| attribute.array()),
    })
}

fn carrier(flags: Iff, attributes: &Attributes<'_>) -> Carrier {
    let operstate = attributes.get(Ifla::Operstate.into()).and_then(|state| state.u8());
    match operstate {
        _ if !flags.contains(Iff::LOWERUP) => Carrier::Down,
        Some(IF_OPER_UP) => Carrier::Active,
        _ if flags.contains(Iff::LOOPBACK) => Carrier::Active,
        _ => Carrier::Pending,
    }
}

fn kind(attributes: &Attributes<'_>) -> Option<String> {
    let kind = attributes.get(Ifla::Linkinfo.into())?.nested().get(IflaInfo::Kind.into())?;
    kind.str().map(str::to_owned)
}

/// Bytes of `struct ifinfomsg`.
const HEADER: usize = 16;
/// linux/if.h
const IF_OPER_UP: u8 = 6;
/// linux/if_link.h
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
/// linux/if_link.h, `enum in6_addr_gen_mode`
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
