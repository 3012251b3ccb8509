//! What a device's packets take to a queue, before anybody filters them.
//!
//! ```text
//! chain past {
//!     type filter hook forward priority filter - 1; policy accept;
//!     iif DEVICE oifname != ONLY_VIA drop
//!     iif DEVICE oifname != "PREFIX*" queue num NUMBER
//!     oif DEVICE ct state established,related queue num NUMBER
//! }
//! ```
//!
//! # Theory of operation
//! The queue's reader lets packets go past all that comes later in the hook, our own rules among it. So those rules that drop come first
//! here, or what they would drop is not handed over: packets to the device of another run, which decides for itself, and packets to
//! ours that answer nothing.
//!
//! What stands before the chain still happens: TCPMSS in mangle, the marks of SELinux.
//!
//! # Kernel interface
//! The expression `queue` (Linux 3.14); where the kernel was built without, xtables' target NFQUEUE by `nft_compat` (Linux 3.13).
//! `CAP_NET_ADMIN`.
//!
//! # References
//! nft(8), "QUEUE STATEMENT"; iptables-extensions(8), "NFQUEUE"; `nft_target_validate()` in net/netfilter/nft_compat.c.

use nsntrace_netlink::Socket;
use rustix::io::Errno;

use crate::{
    NatError, Step,
    expr::Expr,
    transaction::{BaseChain, Policy, Transaction},
    uapi::{NF_INET_FORWARD, NF_IP_PRI_FILTER},
};

/// How packets are handed over to a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandedOver {
    /// By `queue` of nf_tables.
    Natively,
    /// By NFQUEUE of xtables.
    ByXtables,
}

/// Whose packets.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub(crate) device: u32,
    /// How the names of such devices begin, of other runs too.
    pub(crate) device_prefix: String,
    pub(crate) only_via: Option<String>,
}

/// Adds the chain, by the first expression that the kernel has.
pub(crate) fn begin(
    socket: &mut Socket,
    table: &str,
    traffic: &Traffic,
    number: u16,
) -> Result<HandedOver, NatError> {
    match add(socket, table, traffic, Expr::Queue(number)) {
        Err(error) if lacks_expression(&error) => {
            add(socket, table, traffic, Expr::XtQueue(number)).map(|()| HandedOver::ByXtables)
        }
        other => other.map(|()| HandedOver::Natively),
    }
}

/// Removes the chain. What waits in the queue is lost.
pub(crate) fn end(socket: &mut Socket, table: &str) -> Result<(), NatError> {
    let mut transaction = Transaction::new(table);
    transaction.delete_chain(PAST);
    transaction.commit(socket)
}

fn add(socket: &mut Socket, table: &str, traffic: &Traffic, queue: Expr<'_>) -> Result<(), NatError> {
    let (comes, goes) = (Expr::Iif(traffic.device), Expr::Oif(traffic.device));
    let mut transaction = Transaction::new(table);
    transaction.add_chain(PAST);
    if let Some(only_via) = &traffic.only_via {
        transaction.add_rule(PAST, &[comes, Expr::OifNameIsNot(only_via), Expr::Drop]);
    }
    transaction.add_rule(PAST, &[comes, Expr::OifNameBeginsNotWith(&traffic.device_prefix), queue]);
    transaction.add_rule(PAST, &[goes, Expr::IsReply, queue]);
    transaction.commit(socket)
}

/// Whether it failed for the rule, which comes behind all else.
fn lacks_expression(error: &NatError) -> bool {
    let is_queue = matches!(error, NatError::Unsupported { step: Step::AddQueue, .. });
    is_queue && error.errno() == Some(Errno::NOENT)
}

const PAST: BaseChain = BaseChain {
    name: "past",
    kind: "filter",
    hook: NF_INET_FORWARD,
    priority: NF_IP_PRI_FILTER - 1,
    policy: Policy::Accept,
};
