//! Links, addresses, routes and rules of a network namespace over rtnetlink.
//!
//! A [`RouteSocket`] asks and changes one network namespace: that of the thread which opened it. Changes that
//! belong together are a [`Plan`], and travel in one system call. A [`Monitor`] hears what others change.
//! [`block`] chooses addresses that disturb nobody.
//!
//! ```no_run
//! use nsntrace_link::{IfAddress, IfIndex, Plan, Route, RouteSocket};
//!
//! // ip link set lo up; ip address add 10.1.2.3/31 dev lo
//! let mut socket = RouteSocket::open()?;
//! let lo = IfIndex::LOOPBACK;
//! let address = IfAddress::new("10.1.2.3".parse()?, 31)?;
//! socket.apply(Plan::new().set_up(lo).add_address(lo, address))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Kernel interface
//! `NETLINK_ROUTE`. Reading needs no privilege, changing needs `CAP_NET_ADMIN` over the namespace.
#![forbid(unsafe_code)]

mod address;
pub mod block;
mod error;
mod forwarding;
#[cfg(fuzzing)]
pub mod fuzzing;
mod links;
mod monitor;
mod name;
mod neighbour;
mod offload;
mod plan;
mod prefix;
mod random;
mod route;
mod rule;
mod socket;
mod stale;
mod uplink;
mod veth;

pub use address::AssignedAddress;
pub use error::{LinkError, Step};
pub use links::{Carrier, Link};
pub use monitor::{Change, Monitor};
pub use name::{IfIndex, IfName, NameError};
pub use plan::Plan;
pub use prefix::{IfAddress, IpFamily, Prefix, PrefixError};
pub use random::random_bits;
pub use route::{NextHop, Route, RouteKind, table};
pub use rule::{ListedRule, PROTOCOL, Rule};
pub use socket::RouteSocket;
pub use uplink::Uplink;
pub use veth::{Veth, VethRequest};
