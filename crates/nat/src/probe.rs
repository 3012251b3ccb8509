//! Whether what the host shall forward gets through its firewall.
//!
//! # Theory of operation
//! Before the program starts, all that comes from its addresses is ours. It is counted where it leaves the forward path, behind everybody
//! else's rules, and dropped there, so that it never leaves the host. Counted, the way is open. Not counted, somebody drops it, in
//! whatever tool's language, and nobody's rules had to be understood.
//!
//! ```text
//! chain probe {
//!     type filter hook postrouting priority srcnat - 10; policy accept;
//!     ip saddr SOURCE counter drop
//! }
//! ```
//!
//! # Kernel interface
//! `NFT_MSG_GETRULE`, `NFTA_COUNTER_PACKETS`. `CAP_NET_ADMIN`.

use std::net::IpAddr;

use nsntrace_netlink::{Attribute, Batch, Message, Socket};

use crate::{
    NatError, Step,
    expr::Expr,
    handover::Traffic,
    transaction::{BaseChain, Policy, Transaction, nfgenmsg, nft_type},
    uapi::{
        NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC, NFPROTO_INET, NFT_MSG_GETRULE, NFT_MSG_NEWRULE,
        NFTA_COUNTER_PACKETS, NFTA_EXPR_DATA, NFTA_EXPR_NAME, NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS,
        NFTA_RULE_TABLE,
    },
    watch,
};

/// Counts what comes from `sources` and nobody drops, and drops it.
pub(crate) fn begin(socket: &mut Socket, table: &str, sources: &[IpAddr]) -> Result<(), NatError> {
    let mut transaction = Transaction::new(table);
    transaction.add_chain(PROBE);
    for source in sources {
        let from = match *source {
            IpAddr::V4(address) => Expr::Ipv4Source(address),
            IpAddr::V6(address) => Expr::Ipv6Source(address),
        };
        transaction.add_rule(PROBE, &[from, Expr::Counter, Expr::Drop]);
    }
    transaction.commit(socket)
}

/// How many packets were counted of each source.
pub(crate) fn read(socket: &mut Socket, table: &str) -> Result<Vec<u64>, NatError> {
    counters(socket, table, PROBE)
}

/// Ends the counting, and begins to watch what is `watched`.
pub(crate) fn end(socket: &mut Socket, table: &str, watched: Option<&Traffic>) -> Result<(), NatError> {
    let mut transaction = Transaction::new(table);
    transaction.delete_chain(PROBE);
    if let Some(traffic) = watched {
        watch::add(&mut transaction, traffic);
    }
    transaction.commit(socket)
}

/// The counter of each rule of a chain.
pub(crate) fn counters(socket: &mut Socket, table: &str, chain: BaseChain) -> Result<Vec<u64>, NatError> {
    let mut request = Batch::new();
    request.dump(nft_type(NFT_MSG_GETRULE), &nfgenmsg(NFPROTO_INET, 0), |a| {
        a.str(NFTA_RULE_TABLE, table);
        a.str(NFTA_RULE_CHAIN, chain.name);
    });
    let parse = |message: Message<'_>| counter(message, table, chain.name);
    socket.dump(&request, parse).map_err(|error| NatError::new(Step::ReadCounters, error))
}

/// The counter of a rule, if it is one of this chain.
pub(crate) fn counter(message: Message<'_>, table: &str, chain: &str) -> Option<u64> {
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

const PROBE: BaseChain = BaseChain {
    name: "probe",
    kind: "filter",
    hook: NF_INET_POST_ROUTING,
    // Behind it, no other rule sees the address that the traced program has.
    priority: NF_IP_PRI_NAT_SRC - 10,
    policy: Policy::Accept,
};
