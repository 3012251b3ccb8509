//! Hearing of changes to links, routes and forwarding flags, whoever makes them.
//!
//! # Kernel interface
//! `RTNLGRP_LINK`, `RTNLGRP_IPV4_ROUTE`, `RTNLGRP_IPV6_ROUTE`, `RTNLGRP_IPV4_NETCONF`,
//! `RTNLGRP_IPV6_NETCONF`. No privilege.
//!
//! # References
//! rtnetlink(7), ip-monitor(8); `enum rtnetlink_groups` in include/uapi/linux/rtnetlink.h;
//! `inet_netconf_notify_devconf()` in net/ipv4/devinet.c.

use std::os::fd::{AsFd, BorrowedFd};

use neli::consts::rtnl::Rtm;
use nsntrace_netlink::{Heard, Message, SocketError, Subscription};

use crate::{IfIndex, Link, LinkError, Route, Step, links, route};

/// Listens to changes in the network namespace of the thread that opened it, as `ip monitor link route
/// netconf` does.
#[derive(Debug)]
pub struct Monitor {
    subscription: Subscription,
}

/// What changed. How it is by now may be different again: look.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// A link came, or something about it changed.
    Link(Link),
    /// A link went.
    LinkGone(Link),
    /// A route of either family came or went.
    Route(Route),
    /// A flag like `forwarding` changed: of a link, or with `None` of all links or of those to come. A link that
    /// comes has this said of it before [`Change::Link`].
    Flags(Option<IfIndex>),
    /// Anything: announcements were lost, or one could not be read.
    Anything,
}

impl Monitor {
    /// Starts listening.
    ///
    /// # Errors
    /// [`LinkError::Netlink`]: `EMFILE` or `ENFILE` where there are no descriptors left.
    pub fn open() -> Result<Self, LinkError> {
        let subscription = Subscription::open(&GROUPS).map_err(failed)?;
        Ok(Self { subscription })
    }

    /// Tells what changed since the last call, in order, and last whether announcements were lost. Never blocks.
    ///
    /// # Errors
    /// [`LinkError::Netlink`].
    pub fn drain(&mut self, mut on_change: impl FnMut(Change)) -> Result<(), LinkError> {
        let heard = self.subscription.drain(|message| {
            if let Some(change) = read(message) {
                on_change(change);
            }
        });
        if heard.map_err(failed)? == Heard::NotEverything {
            on_change(Change::Anything);
        }
        Ok(())
    }
}

/// For poll: readable where [`Monitor::drain`] has something to tell.
impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.subscription.as_fd()
    }
}

/// `None` for a kind of message that is about nothing of ours.
pub(crate) fn read(message: Message<'_>) -> Option<Change> {
    let change = match Rtm::from(message.nlmsg_type()) {
        Rtm::Newlink => links::read(message).map(Change::Link),
        Rtm::Dellink => links::read(message).map(Change::LinkGone),
        Rtm::Newroute | Rtm::Delroute => route::read(message).map(Change::Route),
        Rtm::Newnetconf => flags(message),
        _ if message.nlmsg_type() == RTM_DELNETCONF => flags(message),
        _ => return None,
    };
    Some(change.unwrap_or(Change::Anything))
}

/// `NETCONFA_IFINDEX_ALL` and `_DEFAULT` are negative numbers, hence no link's.
fn flags(message: Message<'_>) -> Option<Change> {
    let (_family, attributes) = message.split_header::<NETCONF_HEADER>()?;
    let ifindex = attributes.get(NETCONFA_IFINDEX)?.u32()?;
    Some(Change::Flags(IfIndex::new(ifindex)))
}

fn failed(source: SocketError) -> LinkError {
    LinkError::Netlink { step: Step::Monitor, source }
}

/// linux/rtnetlink.h: `RTNLGRP_LINK`, `_IPV4_ROUTE`, `_IPV6_ROUTE`, `_IPV4_NETCONF`, `_IPV6_NETCONF`.
const GROUPS: [u32; 5] = [1, 7, 11, 24, 25];
/// linux/rtnetlink.h
const RTM_DELNETCONF: u16 = 81;
/// Bytes of `struct netconfmsg`, aligned.
const NETCONF_HEADER: usize = 4;
/// linux/netconf.h
const NETCONFA_IFINDEX: u16 = 1;
