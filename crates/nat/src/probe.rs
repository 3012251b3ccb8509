//! Whether what the host shall forward gets through its firewall.
//!
//! # Theory of operation
//! Connections from a port of their own are counted where they enter the forward path, before anybody else's rules, and where they
//! leave it, behind them; there they are dropped, so that they never leave the host. Counted twice, the way is open. Counted
//! once, somebody drops them, in whatever tool's language, and nobody's rules had to be understood.
//!
//! ```text
//! chain probe-in {
//!     type filter hook forward priority raw; policy accept;
//!     ip saddr SOURCE tcp sport PORT counter
//! }
//! chain probe-out {
//!     type filter hook postrouting priority srcnat - 10; policy accept;
//!     ip saddr SOURCE tcp sport PORT counter drop
//! }
//! ```
//!
//! # Kernel interface
//! `NFT_MSG_GETRULE`, `NFTA_COUNTER_PACKETS`. `CAP_NET_ADMIN`.

use std::net::{IpAddr, SocketAddr};

use nsntrace_netlink::{Attribute, Batch, Message, Socket};

use crate::{
    NatError, Step,
    expr::{Expr, Protocol},
    transaction::{BaseChain, Policy, Transaction, nfgenmsg, nft_type},
    uapi::{
        NF_INET_FORWARD, NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC, NF_IP_PRI_RAW, NFPROTO_INET,
        NFT_MSG_GETRULE, NFT_MSG_NEWRULE, NFTA_COUNTER_PACKETS, NFTA_EXPR_DATA, NFTA_EXPR_NAME,
        NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS, NFTA_RULE_TABLE,
    },
};

/// Where packets of one probe were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// How many came to be forwarded.
    pub entered: u64,
    /// How many nobody dropped.
    pub left: u64,
}

/// Counts TCP connections from `sources` on both sides of everybody's forward rules, and drops them there.
pub(crate) fn begin(socket: &mut Socket, table: &str, sources: &[SocketAddr]) -> Result<(), NatError> {
    let mut transaction = Transaction::new(table);
    for chain in [IN, OUT] {
        transaction.add_chain(chain);
    }
    for source in sources {
        let from = match source.ip() {
            IpAddr::V4(address) => Expr::Ipv4Source(address),
            IpAddr::V6(address) => Expr::Ipv6Source(address),
        };
        let port = Expr::TcpSourcePort(source.port());
        let matches = [from, Expr::Protocol(Protocol::Tcp), port, Expr::Counter];
        transaction.add_rule(IN, &matches);
        transaction.add_rule(OUT, &[&matches[..], &[Expr::Drop]].concat());
    }
    transaction.commit(socket)
}

/// What was counted, in the order of the sources.
pub(crate) fn read(socket: &mut Socket, table: &str) -> Result<Vec<Seen>, NatError> {
    let entered = counters(socket, table, IN)?;
    let left = counters(socket, table, OUT)?;
    Ok(entered.into_iter().zip(left).map(|(entered, left)| Seen { entered, left }).collect())
}

/// Ends the counting.
pub(crate) fn end(socket: &mut Socket, table: &str) -> Result<(), NatError> {
    let mut transaction = Transaction::new(table);
    for chain in [IN, OUT] {
        transaction.delete_chain(chain);
    }
    transaction.commit(socket)
}

/// The counter of each rule of a chain.
fn counters(socket: &mut Socket, table: &str, chain: BaseChain) -> Result<Vec<u64>, NatError> {
    let mut request = Batch::new();
    request.dump(nft_type(NFT_MSG_GETRULE), &nfgenmsg(NFPROTO_INET, 0), |a| {
        a.str(NFTA_RULE_TABLE, table);
        a.str(NFTA_RULE_CHAIN, chain.name);
    });
    let parse = |message: Message<'_>| counter(message, table, chain.name);
    socket.dump(&request, parse).map_err(|error| NatError::new(Step::ReadCounters, error))
}

/// The counter of a rule, if it is one of this chain.
fn counter(message: Message<'_>, table: &str, chain: &str) -> Option<u64> {
    let (_, rule) = message.split_header::<4>()?;
    // Old kernels list the rules of all chains.
    let is_ours = rule.get(NFTA_RULE_TABLE)?.str()? == table && rule.get(NFTA_RULE_CHAIN)?.str()? == chain;
    if message.nlmsg_type() != nft_type(NFT_MSG_NEWRULE) || !is_ours {
        return None;
    }
    let mut exprs = rule.get(NFTA_RULE_EXPRESSIONS)?.nested();
    exprs.find_map(packets_counted)
}

fn packets_counted(expr: Attribute<'_>) -> Option<u64> {
    let expr = expr.nested();
    if expr.get(NFTA_EXPR_NAME)?.str()? != "counter" {
        return None;
    }
    expr.get(NFTA_EXPR_DATA)?.nested().get(NFTA_COUNTER_PACKETS)?.u64_be()
}

const IN: BaseChain = BaseChain {
    name: "probe-in",
    kind: "filter",
    hook: NF_INET_FORWARD,
    priority: NF_IP_PRI_RAW,
    policy: Policy::Accept,
};
const OUT: BaseChain = BaseChain {
    name: "probe-out",
    kind: "filter",
    hook: NF_INET_POST_ROUTING,
    // Behind it, no other rule sees the address that the traced program has.
    priority: NF_IP_PRI_NAT_SRC - 10,
    policy: Policy::Accept,
};
