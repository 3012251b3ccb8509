//! Whether what the program begins gets through the firewall.
//!
//! # Theory of operation
//! Packets of connections that have no answer yet are counted where they enter the forward hook, before anybody else's rules, and where they
//! leave it, behind them. What entered and does not leave, somebody has dropped.
//!
//! ```text
//! chain entered {
//!     type filter hook forward priority raw; policy accept;
//!     ct state new iif DEVICE oifname != "PREFIX*" counter
//! }
//! chain left {
//!     type filter hook forward priority 2147483647; policy accept;
//!     ct state new iif DEVICE oifname != "PREFIX*" counter
//! }
//! ```
//!
//! What our own rules drop, or another run's, is not counted: with a device of choice it is `oifname ONLY_VIA` instead.
//!
//! # Kernel interface
//! That of the probe.

use nsntrace_netlink::Socket;

use crate::{
    NatError,
    expr::Expr,
    handover::Traffic,
    probe::counters,
    transaction::{BaseChain, Policy, Transaction},
    uapi::{NF_INET_FORWARD, NF_IP_PRI_LAST, NF_IP_PRI_RAW},
};

/// What was counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// How many packets came to be forwarded.
    pub entered: u64,
    /// How many nobody dropped.
    pub left: u64,
}

/// Begins to count.
pub(crate) fn add(transaction: &mut Transaction<'_>, traffic: &Traffic) {
    let beyond = match &traffic.only_via {
        Some(only_via) => Expr::OifName(only_via),
        None => Expr::OifNameBeginsNotWith(&traffic.device_prefix),
    };
    for chain in [ENTERED, LEFT] {
        transaction.add_chain(chain);
        transaction.add_rule(chain, &[Expr::IsNew, Expr::Iif(traffic.device), beyond, Expr::Counter]);
    }
}

/// What was counted. What had entered by the call and left by its end is among both.
pub(crate) fn read(socket: &mut Socket, table: &str) -> Result<Begun, NatError> {
    let mut count = |chain| counters(socket, table, chain).map(|counts| counts.into_iter().sum());
    Ok(Begun { entered: count(ENTERED)?, left: count(LEFT)? })
}

const ENTERED: BaseChain = BaseChain {
    name: "entered",
    kind: "filter",
    hook: NF_INET_FORWARD,
    priority: NF_IP_PRI_RAW,
    policy: Policy::Accept,
};
const LEFT: BaseChain = BaseChain { name: "left", priority: NF_IP_PRI_LAST, ..ENTERED };
