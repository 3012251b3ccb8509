//! Neighbours that are known beforehand, so that nobody has to ask for them.
//!
//! # Theory of operation
//! Between the two ends of a veth there is nothing to find out. With a permanent entry on each side neither
//! ARP nor neighbour discovery is heard on the wire: what is recorded there is the program's.
//!
//! With IPv6 it is more than quiet. To solicit on behalf of a packet that it forwards the host needs a
//! link-local address, and our ends have none: without permanent entries a download stalls as soon as what
//! the host had learned from the peer's own solicitation grows old, some 35 s after the last one.
//!
//! # Kernel interface
//! `RTM_NEWNEIGH` with `struct ndmsg` (include/uapi/linux/neighbour.h). `CAP_NET_ADMIN`.
//!
//! # References
//! ip-neighbour(8); `neigh_add()` in net/core/neighbour.c; `ndisc_solicit()`, `ndisc_ns_create()` in
//! net/ipv6/ndisc.c.

use std::net::IpAddr;

use neli::consts::{
    nl::NlmF,
    rtnl::{Nda, Nud, Rtm},
};

use crate::{IfIndex, IpFamily, Plan, Step, prefix::octets};

impl Plan {
    /// `ip neighbour replace ADDRESS lladdr MAC dev NAME nud permanent`. The link must be up: going down, it
    /// forgets.
    ///
    /// Refused with `ENODEV` where no link has this number, `EINVAL` where its hardware addresses have
    /// another form.
    pub fn add_neighbour(&mut self, ifindex: IfIndex, address: IpAddr, mac: [u8; 6]) -> &mut Self {
        let step = Step::AddNeighbour(address, ifindex);
        let [i0, i1, i2, i3] = ifindex.get().to_ne_bytes();
        let [s0, s1] = Nud::PERMANENT.bits().to_ne_bytes();
        let header = [IpFamily::of(address).af(), 0, 0, 0, i0, i1, i2, i3, s0, s1, 0, 0];
        self.push(step, Rtm::Newneigh.into(), NlmF::CREATE | NlmF::REPLACE, &header, |a| {
            a.bytes(Nda::Dst.into(), &octets(address));
            a.bytes(Nda::Lladdr.into(), &mac);
        })
    }
}
