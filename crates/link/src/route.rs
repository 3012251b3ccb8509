//! Routes: all tables, both families.
//!
//! # Kernel interface
//! `RTM_GETROUTE`, `RTM_NEWROUTE`, `RTM_DELROUTE` with `struct rtmsg`.
//!
//! ```text
//!
//! +------------+-------------+-------------+---------+-----------+--------------+-----------+----------+-----------+
//! | rtm_family | rtm_dst_len | rtm_src_len | rtm_tos | rtm_table | rtm_protocol | rtm_scope | rtm_type |
//! rtm_flags |
//! |     u8     |     u8      |     u8      |   u8    |    u8     |      u8      |    u8     |    u8    |   
//! u32    |
//! +------------+-------------+-------------+---------+-----------+--------------+-----------+----------+-----------+
//! ```
//!
//! # References
//! rtnetlink(7), ip-route(8); include/uapi/linux/rtnetlink.h; net/ipv4/fib_semantics.c, net/ipv6/route.c.

use std::net::IpAddr;

use neli::consts::{
    nl::NlmF,
    rtnl::{RtScope, RtTable, Rta, Rtm, Rtn},
};
use nsntrace_netlink::{Attribute, AttributeWriter, Attributes, Batch, Message};

use crate::{
    IfIndex, IpFamily, LinkError, Plan, Prefix, RouteSocket, Step,
    prefix::{address_of, octets},
};

/// Numbers of routing tables.
pub mod table {
    /// Where `ip route` writes if not told otherwise (`RT_TABLE_MAIN`).
    pub const MAIN: u32 = 254;
    /// The kernel's own: addresses of this machine, broadcast (`RT_TABLE_LOCAL`).
    pub const LOCAL: u32 = 255;
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Which packets it is for.
    pub destination: Prefix,
    /// The table that it stands in.
    pub table: u32,
    /// What becomes of the packets.
    pub kind: RouteKind,
    /// Ways out; several share the traffic, none where the kind needs none.
    pub next_hops: Vec<NextHop>,
    /// Of several routes to a destination the one with the lowest number is taken. 0 where none was given;
    /// IPv6 then puts 1024.
    pub metric: u32,
    /// How far the destination is (`RT_SCOPE_*`).
    pub scope: u8,
    /// Who put it there (`RTPROT_*`); [`PROTOCOL`](crate::PROTOCOL) is us.
    pub protocol: u8,
    /// The kernel does not use it, because its link is down (`RTNH_F_DEAD`, `RTNH_F_LINKDOWN`).
    pub is_dead: bool,
    /// The gateway is on the link, whatever the link's addresses say (`RTNH_F_ONLINK`). Not for several next hops.
    pub is_onlink: bool,
}

/// What becomes of packets that a route is for (`RTN_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteKind {
    /// They leave by a next hop.
    Unicast,
    /// They are for this machine.
    Local,
    /// They are for everybody on the link.
    Broadcast,
    /// They are dropped, and the sender is told: `unreachable`, `prohibit`; or not: `blackhole`.
    Refused,
    /// The next rule shall decide.
    Throw,
    /// Something else, by its number.
    Other(u8),
}

/// One way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The link.
    pub oif: IfIndex,
    /// Whom on that link the packets are handed to; `None` where that is their destination itself.
    pub gateway: Option<IpAddr>,
}

impl Route {
    /// A route of ours for `destination`, out of one link.
    pub fn new(destination: Prefix, table: u32, next_hop: NextHop) -> Self {
        let is_on_link = next_hop.gateway.is_none() && destination.family() == IpFamily::V4;
        let scope = if is_on_link { RtScope::Link } else { RtScope::Universe };
        Self {
            destination,
            table,
            kind: RouteKind::Unicast,
            next_hops: vec![next_hop],
            metric: 0,
            scope: scope.into(),
            protocol: crate::PROTOCOL,
            is_dead: false,
            is_onlink: false,
        }
    }

    /// The default route of the gateway's family by `gateway`, in the main table.
    pub fn default_by(gateway: IpAddr, oif: IfIndex) -> Self {
        let destination = Prefix::default_of(IpFamily::of(gateway));
        Self::new(destination, table::MAIN, NextHop { oif, gateway: Some(gateway) })
    }

    /// Makes every address of a family that no other route is for an address of this machine: `ip route add local default dev lo table
    /// main`.
    ///
    /// Not in the local table, which the kernel looks at first: there it would win over the network of a link.
    pub fn everywhere_is_here(family: IpFamily) -> Self {
        let next_hop = NextHop { oif: IfIndex::LOOPBACK, gateway: None };
        let route = Self::new(Prefix::default_of(family), table::MAIN, next_hop);
        Self { kind: RouteKind::Local, scope: RtScope::Host.into(), ..route }
    }
}

impl RouteSocket {
    /// The routes of all tables and both families, as `ip route show table all` and `ip -6 route show table
    /// all` list them.
    ///
    /// # Errors
    /// [`LinkError::Netlink`].
    pub fn routes(&mut self) -> Result<Vec<Route>, LinkError> {
        let mut routes = self.routes_of(IpFamily::V4)?;
        routes.append(&mut self.routes_of(IpFamily::V6)?);
        Ok(routes)
    }

    /// Adds a route, as `ip route add DESTINATION via GATEWAY dev NAME table TABLE` does.
    ///
    /// # Errors
    /// [`LinkError::Refused`]: `EPERM` without `CAP_NET_ADMIN`, `EEXIST` where there is one of the same
    /// destination and metric, `ENETUNREACH` where the gateway is not on a link, `ENETDOWN` where the link is
    /// down.
    pub fn add_route(&mut self, route: &Route) -> Result<(), LinkError> {
        self.apply(Plan::new().add_route(route))
    }

    /// Deletes a route, as `ip route delete` does.
    ///
    /// # Errors
    /// [`LinkError::Refused`]: `EPERM` without `CAP_NET_ADMIN`, `ESRCH` where there is no such route.
    pub fn delete_route(&mut self, route: &Route) -> Result<(), LinkError> {
        self.apply(Plan::new().delete_route(route))
    }

    pub(crate) fn routes_of(&mut self, family: IpFamily) -> Result<Vec<Route>, LinkError> {
        let mut request = Batch::new();
        let mut header = [0; HEADER];
        header[0] = family.af();
        request.dump(Rtm::Getroute.into(), &header, |_| {});
        // A kernel without IPv6 answers the question for its routes with those of IPv4.
        self.list("routes", &request, |message| {
            parse(message).filter(|route| route.destination.family() == family)
        })
    }
}

impl Plan {
    /// `ip route add`. Refused with `EEXIST`, `ENETUNREACH`, `ENETDOWN`: see [`RouteSocket::add_route`].
    pub fn add_route(&mut self, route: &Route) -> &mut Self {
        let step = Step::AddRoute(route.destination, route.table);
        self.push(step, Rtm::Newroute.into(), NlmF::CREATE | NlmF::EXCL, &header(route), |a| write(a, route))
    }

    /// `ip route delete`. Refused with `ESRCH` where there is no such route.
    pub fn delete_route(&mut self, route: &Route) -> &mut Self {
        let step = Step::DeleteRoute(route.destination, route.table);
        self.push(step, Rtm::Delroute.into(), NlmF::empty(), &header(route), |a| write(a, route))
    }
}

impl RouteKind {
    fn from_rtn(rtn: u8) -> Self {
        match Rtn::from(rtn) {
            Rtn::Unicast => Self::Unicast,
            Rtn::Local => Self::Local,
            Rtn::Broadcast => Self::Broadcast,
            Rtn::Blackhole | Rtn::Unreachable | Rtn::Prohibit => Self::Refused,
            Rtn::Throw => Self::Throw,
            _ => Self::Other(rtn),
        }
    }

    /// The number of the kind; of those that refuse, the one that tells the sender.
    fn rtn(self) -> u8 {
        match self {
            Self::Unicast => Rtn::Unicast.into(),
            Self::Local => Rtn::Local.into(),
            Self::Broadcast => Rtn::Broadcast.into(),
            Self::Refused => Rtn::Unreachable.into(),
            Self::Throw => Rtn::Throw.into(),
            Self::Other(rtn) => rtn,
        }
    }
}

/// `struct rtmsg`. The table stands in `RTA_TABLE`, for which this field's byte is too small.
fn header(route: &Route) -> [u8; HEADER] {
    let family = route.destination.family();
    let table = RtTable::Unspec.into();
    let kind = route.kind.rtn();
    let flags = if route.is_onlink { RTNH_F_ONLINK } else { 0 };
    let [f0, f1, f2, f3] = flags.to_ne_bytes();
    let len = route.destination.prefix_len();
    [family.af(), len, 0, 0, table, route.protocol, route.scope, kind, f0, f1, f2, f3]
}

fn write(a: &mut AttributeWriter<'_>, route: &Route) {
    a.u32(Rta::Table.into(), route.table);
    if !route.destination.is_default() {
        a.bytes(Rta::Dst.into(), &octets(route.destination.address()));
    }
    if route.metric != 0 {
        a.u32(Rta::Priority.into(), route.metric);
    }
    match route.next_hops[..] {
        [] => {}
        [next_hop] => {
            a.u32(Rta::Oif.into(), next_hop.oif.get());
            write_gateway(a, route.destination.family(), next_hop.gateway);
        }
        [..] => a.bytes(Rta::Multipath.into(), &multipath(route)),
    }
}

fn write_gateway(a: &mut AttributeWriter<'_>, family: IpFamily, gateway: Option<IpAddr>) {
    match gateway {
        None => {}
        Some(gateway) if IpFamily::of(gateway) == family => a.bytes(Rta::Gateway.into(), &octets(gateway)),
        Some(gateway) => {
            let af = u16::from(IpFamily::of(gateway).af()).to_ne_bytes();
            a.bytes(RTA_VIA, &[&af[..], &octets(gateway)].concat());
        }
    }
}

/// `struct rtnexthop` for each next hop: u16 length, u8 flags, u8 weight - 1, i32 ifindex, then attributes.
fn multipath(route: &Route) -> Vec<u8> {
    let mut bytes = Vec::new();
    for next_hop in &route.next_hops {
        let gateway = gateway_bytes(route.destination.family(), next_hop.gateway);
        let len = u16::try_from(NEXT_HOP_HEADER + gateway.len()).expect("a next hop has some 30 bytes");
        bytes.extend_from_slice(&len.to_ne_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&next_hop.oif.get().to_ne_bytes());
        bytes.extend_from_slice(&gateway);
    }
    bytes
}

/// The gateway's attribute alone, laid out by the one writer of attributes there is.
fn gateway_bytes(family: IpFamily, gateway: Option<IpAddr>) -> Vec<u8> {
    nsntrace_netlink::attributes(|a| write_gateway(a, family, gateway))
}

pub(crate) fn parse(message: Message<'_>) -> Option<Route> {
    if message.nlmsg_type() == u16::from(Rtm::Newroute) { read(message) } else { None }
}

/// Reads a message about a route, whether that comes or goes.
pub(crate) fn read(message: Message<'_>) -> Option<Route> {
    let (header, attributes) = message.split_header::<HEADER>()?;
    let [af, dst_len, _, _, table, protocol, scope, kind, flags @ ..] = *header;
    let family = IpFamily::from_af(af)?;
    let value = |rta: Rta| attributes.get(rta.into());
    let address = match value(Rta::Dst) {
        Some(destination) => address_of(destination.bytes())?,
        None => family.unspecified(),
    };
    Some(Route {
        destination: Prefix::new(address, dst_len).ok()?,
        table: value(Rta::Table).and_then(|a| a.u32()).unwrap_or(table.into()),
        kind: RouteKind::from_rtn(kind),
        next_hops: next_hops(&attributes),
        metric: value(Rta::Priority).and_then(|a| a.u32()).unwrap_or(0),
        scope,
        protocol,
        is_dead: u32::from_ne_bytes(flags) & (RTNH_F_DEAD | RTNH_F_LINKDOWN) != 0,
        is_onlink: u32::from_ne_bytes(flags) & RTNH_F_ONLINK != 0,
    })
}

fn next_hops(attributes: &Attributes<'_>) -> Vec<NextHop> {
    let single = attributes.get(Rta::Oif.into()).and_then(|oif| IfIndex::new(oif.u32()?));
    match (single, attributes.get(Rta::Multipath.into())) {
        (Some(oif), _) => vec![NextHop { oif, gateway: gateway(attributes) }],
        (None, Some(multipath)) => parse_multipath(multipath.bytes()),
        (None, None) => Vec::new(),
    }
}

fn parse_multipath(mut bytes: &[u8]) -> Vec<NextHop> {
    let mut found = Vec::new();
    while let Some(([l0, l1, _, _, i0, i1, i2, i3], _)) = bytes.split_first_chunk::<NEXT_HOP_HEADER>() {
        let len = usize::from(u16::from_ne_bytes([*l0, *l1]));
        let Some(attributes) = bytes.get(NEXT_HOP_HEADER..len) else { break };
        let oif = IfIndex::new(u32::from_ne_bytes([*i0, *i1, *i2, *i3]));
        found.extend(oif.map(|oif| NextHop { oif, gateway: gateway(&Attributes::new(attributes)) }));
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// `RTA_GATEWAY`, or `RTA_VIA` where the gateway's family is not the route's: u16 family, then the address.
fn gateway(attributes: &Attributes<'_>) -> Option<IpAddr> {
    let via = |attribute: Attribute<'_>| address_of(attribute.bytes().get(2..)?);
    let plain = |attribute: Attribute<'_>| address_of(attribute.bytes());
    attributes.get(Rta::Gateway.into()).and_then(plain).or_else(|| attributes.get(RTA_VIA).and_then(via))
}

/// Bytes of `struct rtmsg`.
const HEADER: usize = 12;
/// Bytes of `struct rtnexthop`.
const NEXT_HOP_HEADER: usize = 8;
/// linux/rtnetlink.h; neli has it for glibc only.
const RTA_VIA: u16 = 18;
/// linux/rtnetlink.h
const RTNH_F_DEAD: u32 = 1;
/// linux/rtnetlink.h
const RTNH_F_ONLINK: u32 = 4;
/// linux/rtnetlink.h
const RTNH_F_LINKDOWN: u32 = 16;
