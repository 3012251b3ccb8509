//! Hearing of changes to links, routes and forwarding flags, whoever makes them.
//!
//! # Kernel interface
//! `RTNLGRP_LINK`, `RTNLGRP_IPV4_ROUTE`, `RTNLGRP_IPV6_ROUTE`, `RTNLGRP_IPV4_NETCONF`,
//! `RTNLGRP_IPV6_NETCONF`. No privilege.
//!
//! # References
//! rtnetlink(7), ip-monitor(8); `enum rtnetlink_groups` in include/uapi/linux/rtnetlink.h.

use std::os::fd::{AsFd, BorrowedFd};

use neli::consts::rtnl::Rtm;
use nsntrace_netlink::{Heard, SocketError, Subscription};

use crate::{LinkError, Step};

/// Listens to changes in the network namespace of the thread that opened it, as `ip monitor link route
/// netconf` does.
#[derive(Debug)]
pub struct Monitor {
    subscription: Subscription,
}

/// What changed. Not how: look again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// A link came, went, or changed.
    pub links: bool,
    /// A route of either family came or went.
    pub routes: bool,
    /// A flag like `forwarding` of a link changed.
    pub netconf: bool,
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

    /// What changed since the last call. Never blocks. Announcements that were lost count as a change of
    /// everything.
    ///
    /// # Errors
    /// [`LinkError::Netlink`].
    pub fn drain(&mut self) -> Result<Changes, LinkError> {
        let mut changes = Changes::default();
        let heard = self.subscription.drain(|message| changes.note(message.nlmsg_type())).map_err(failed)?;
        Ok(match heard {
            Heard::Everything => changes,
            Heard::NotEverything => Changes { links: true, routes: true, netconf: true },
        })
    }
}

/// For poll: readable where [`Monitor::drain`] has something to tell.
impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.subscription.as_fd()
    }
}

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    fn note(&mut self, nlmsg_type: u16) {
        match Rtm::from(nlmsg_type) {
            Rtm::Newlink | Rtm::Dellink => self.links = true,
            Rtm::Newroute | Rtm::Delroute => self.routes = true,
            Rtm::Newnetconf => self.netconf = true,
            _ if nlmsg_type == RTM_DELNETCONF => self.netconf = true,
            _ => {}
        }
    }
}

fn failed(source: SocketError) -> LinkError {
    LinkError::Netlink { step: Step::Monitor, source }
}

/// linux/rtnetlink.h: `RTNLGRP_LINK`, `_IPV4_ROUTE`, `_IPV6_ROUTE`, `_IPV4_NETCONF`, `_IPV6_NETCONF`.
const GROUPS: [u32; 5] = [1, 7, 11, 24, 25];
/// linux/rtnetlink.h
const RTM_DELNETCONF: u16 = 81;
