//! A veth pair across two network namespaces.
//!
//! # Theory of operation
//! One message makes both ends, the peer in its own namespace: at no moment is it seen in the host's. Its
//! `RTM_NEWLINK` does not say which number a link got (`NLM_F_ECHO` does since Linux 6.2 only), so we give
//! the numbers: a random one on the host, and 2 for the peer, as in a namespace with nothing but `lo`. Where
//! one of them is taken (modules like ipip and sit put a device into every namespace), both are drawn again.
//!
//! What the host's end needs besides goes into a second send: the kernel tries every message of a send, and
//! had the first one failed for a number that is taken, the others would change that other link.
//!
//! The peer comes up later, from inside: the kernel refuses to create it up (`ENOTCONN`, the host's end does
//! not exist yet).
//!
//! # Kernel interface
//! `RTM_NEWLINK`, `IFLA_LINKINFO`, `VETH_INFO_PEER`, `IFLA_NET_NS_FD`. `CAP_NET_ADMIN` over both namespaces.
//! Linux 3.7.
//!
//! # References
//! veth(4); `veth_newlink()` in drivers/net/veth.c; `rtnl_newlink()` in net/core/rtnetlink.c;
//! `dev_alloc_name()` in net/core/dev.c.

use std::os::fd::{AsRawFd, BorrowedFd};

use neli::consts::{
    nl::NlmF,
    rtnl::{Iff, Ifla, IflaInfo, Rtm},
};
use nsntrace_netlink::{AttributeWriter, Refusal};
use rustix::io::Errno;

use crate::{
    IfAddress, IfIndex, IfName, LinkError, Plan, RouteSocket, Step,
    links::{header, parse},
    random_bits,
};

/// A veth pair to be.
#[derive(Clone, Copy, Debug)]
pub struct VethRequest<'a> {
    /// The name of the end in the socket's namespace. With `%d` in it, the kernel puts the lowest number that
    /// is free.
    pub name: &'a IfName,
    /// The name of the other end.
    pub peer_name: &'a IfName,
    /// The namespace of the other end.
    pub peer_netns: BorrowedFd<'a>,
    /// The longest packet that the pair carries, bytes.
    pub mtu: u32,
    /// Addresses of the end in the socket's namespace.
    pub addresses: &'a [IfAddress],
}

/// A veth pair. It lives until one end is deleted, or the namespace of one end ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Veth {
    /// The number of the end in the socket's namespace.
    pub ifindex: IfIndex,
    /// Its name.
    pub name: IfName,
    /// The number of the other end in its namespace.
    pub peer_ifindex: IfIndex,
}

impl RouteSocket {
    /// Creates a veth pair and gives the end in this namespace its addresses. Both ends are left down.
    ///
    /// As `ip link add NAME mtu MTU type veth peer name PEER mtu MTU netns NETNS`, then
    /// `ip link set NAME addrgenmode none arp off` and `ip address add ADDRESS dev NAME nodad`.
    ///
    /// The other end wants [`Plan::stop_address_generation`] and [`Plan::stop_arp`] before its addresses, and
    /// each end, once it is up, [`Plan::add_neighbour`] for the other.
    ///
    /// # Errors
    /// [`LinkError::Refused`]: `EPERM` without `CAP_NET_ADMIN` over both namespaces, `EEXIST` where a name is
    /// taken, `EOPNOTSUPP` where the kernel lacks `CONFIG_VETH`, `ENOSPC` where no number for `%d` is left,
    /// `EINVAL` for an MTU out of range. In any of these cases nothing is left behind.
    pub fn create_veth(&mut self, request: &VethRequest<'_>) -> Result<Veth, LinkError> {
        let (ifindex, peer_ifindex) = self.create_pair(request)?;
        match self.finish(ifindex, request.addresses) {
            Ok(name) => Ok(Veth { ifindex, name, peer_ifindex }),
            Err(error) => {
                // The error that stopped us is the one to tell.
                let _ = self.delete_link(ifindex);
                Err(error)
            }
        }
    }

    fn create_pair(&mut self, request: &VethRequest<'_>) -> Result<(IfIndex, IfIndex), LinkError> {
        let mut peer_ifindex = PEER_IFINDEX;
        for attempt in 1.. {
            let ifindex = random_ifindex()?;
            match self.apply(Plan::new().create_veth(request, ifindex, peer_ifindex)) {
                Err(error) if attempt < ATTEMPTS && is_taken(&error) => {
                    peer_ifindex = random_ifindex()?;
                }
                other => return other.map(|()| (ifindex, peer_ifindex)),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// Configures the end in this namespace and learns the name that it has got.
    fn finish(&mut self, ifindex: IfIndex, addresses: &[IfAddress]) -> Result<IfName, LinkError> {
        self.stop_address_generation(ifindex)?;
        let mut plan = Plan::new();
        plan.show(ifindex);
        plan.stop_arp(ifindex);
        for address in addresses {
            plan.add_address(ifindex, *address);
        }
        let mut name = None;
        self.apply_with(&plan, |message| name = parse(message).map(|link| link.name))?;
        name.ok_or(LinkError::Incomplete { step: Step::Show(ifindex) })
    }

    /// [`Plan::stop_address_generation`], which is no failure on a link without IPv6.
    ///
    /// # Errors
    /// [`LinkError::Refused`]: `EPERM` without `CAP_NET_ADMIN`, `ENODEV` where no link has this number.
    pub fn stop_address_generation(&mut self, ifindex: IfIndex) -> Result<(), LinkError> {
        match self.apply(Plan::new().stop_address_generation(ifindex)) {
            Err(error) if error.errno() == Some(Errno::AFNOSUPPORT) => Ok(()),
            other => other,
        }
    }
}

impl Plan {
    fn create_veth(
        &mut self,
        request: &VethRequest<'_>,
        ifindex: IfIndex,
        peer_ifindex: IfIndex,
    ) -> &mut Self {
        let header_of = |ifindex| header(Some(ifindex), Iff::empty(), Iff::empty());
        let flags = NlmF::CREATE | NlmF::EXCL;
        self.push(Step::CreateVeth, Rtm::Newlink.into(), flags, &header_of(ifindex), |a| {
            describe_end(a, request.name, request.mtu);
            a.nested(Ifla::Linkinfo.into(), |a| {
                a.str(IflaInfo::Kind.into(), "veth");
                a.nested(IflaInfo::Data.into(), |a| {
                    a.nested_after(VETH_INFO_PEER, &header_of(peer_ifindex), |a| {
                        describe_end(a, request.peer_name, request.mtu);
                        a.i32(Ifla::NetNsFd.into(), request.peer_netns.as_raw_fd());
                    });
                });
            });
        })
    }
}

fn describe_end(a: &mut AttributeWriter<'_>, name: &IfName, mtu: u32) {
    a.str(Ifla::Ifname.into(), name.as_str());
    a.u32(Ifla::Mtu.into(), mtu);
}

/// Whether a name or a number is taken: the kernel says the same for both (`EEXIST`), or `EBUSY` for the
/// number alone.
fn is_taken(error: &LinkError) -> bool {
    matches!(error.errno(), Some(Errno::EXIST | Errno::BUSY))
}

/// Seven digits: far above what the kernel counts up to by itself, and still readable.
fn random_ifindex() -> Result<IfIndex, LinkError> {
    let random = random_bits().map_err(|errno| LinkError::Refused {
        step: Step::CreateVeth,
        refusal: Refusal { index: 0, errno, extack: None },
    })?;
    let offset = u32::try_from(random % 9_000_000).expect("a remainder is less than its divisor");
    Ok(IfIndex::new(1_000_000 + offset).expect("seven digits fit into an int"))
}

/// The number that the kernel gives to the first link besides `lo`.
const PEER_IFINDEX: IfIndex = IfIndex::SECOND;
/// How often numbers are drawn before `EEXIST` is believed to be about a name.
const ATTEMPTS: u32 = 8;
/// linux/veth.h
const VETH_INFO_PEER: u16 = 1;
