//! IPv4 forwarding of one link, without /proc: for where /proc/sys is read-only, as in many containers.
//!
//! # Theory of operation
//! The same flag as `net.ipv4.conf.NAME.forwarding`, checked on the link that a packet comes in by. Unlike a
//! write to /proc/sys this way sends no `RTM_NEWNETCONF` to listeners and does not turn large receive offload
//! off, so prefer the file where it is writable.
//!
//! # Kernel interface
//! `RTM_GETNETCONF` with `NETCONFA_FORWARDING`; `RTM_SETLINK` with `IFLA_AF_SPEC`, `AF_INET`,
//! `IFLA_INET_CONF`. Linux 3.7.
//!
//! # References
//! Documentation/networking/ip-sysctl.rst; `inet_set_link_af()`, `inet_netconf_get_devconf()` in
//! net/ipv4/devinet.c.

use neli::consts::{
    nl::NlmF,
    rtnl::{Iff, Ifla, RtAddrFamily, Rtm},
};

use crate::{IfIndex, LinkError, Plan, RouteSocket, Step, links::header};

impl RouteSocket {
    /// Whether IPv4 packets that come in by a link are forwarded, as `sysctl net.ipv4.conf.NAME.forwarding`
    /// tells.
    ///
    /// # Errors
    /// [`LinkError::Refused`]: `ENODEV` or `EINVAL` where no link has this number.
    pub fn ipv4_forwarding(&mut self, ifindex: IfIndex) -> Result<bool, LinkError> {
        let step = Step::ReadForwarding(ifindex);
        let mut plan = Plan::new();
        plan.push(
            step.clone(),
            Rtm::Getnetconf.into(),
            NlmF::empty(),
            &[RtAddrFamily::Inet.into(), 0, 0, 0],
            |a| {
                a.u32(NETCONFA_IFINDEX, ifindex.get());
            },
        );
        let mut value = None;
        self.apply_with(&plan, |message| {
            let forwarding = message.split_header::<4>().and_then(|(_, a)| a.get(NETCONFA_FORWARDING)?.i32());
            value = value.or(forwarding);
        })?;
        value.map(|value| value != 0).ok_or(LinkError::Incomplete { step })
    }

    /// Sets whether IPv4 packets that come in by a link are forwarded, as `sysctl
    /// net.ipv4.conf.NAME.forwarding=1` does.
    ///
    /// # Errors
    /// [`LinkError::Refused`]: `EPERM` without `CAP_NET_ADMIN`, `ENODEV` where no link has this number.
    pub fn set_ipv4_forwarding(&mut self, ifindex: IfIndex, is_forwarding: bool) -> Result<(), LinkError> {
        let step = Step::SetForwarding(ifindex);
        let header = header(Some(ifindex), Iff::empty(), Iff::empty());
        let mut plan = Plan::new();
        plan.push(step, Rtm::Setlink.into(), NlmF::empty(), &header, |a| {
            a.nested(Ifla::AfSpec.into(), |a| {
                a.nested(u8::from(RtAddrFamily::Inet).into(), |a| {
                    a.nested(IFLA_INET_CONF, |a| a.u32(IPV4_DEVCONF_FORWARDING, is_forwarding.into()));
                });
            });
        });
        self.apply(&plan)
    }
}

/// linux/netconf.h
const NETCONFA_IFINDEX: u16 = 1;
/// linux/netconf.h
const NETCONFA_FORWARDING: u16 = 2;
/// linux/if_link.h
const IFLA_INET_CONF: u16 = 1;
/// linux/ip.h
const IPV4_DEVCONF_FORWARDING: u16 = 1;
