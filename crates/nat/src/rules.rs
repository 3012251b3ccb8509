//! What is in the table: three chains and their rules, in the words of nft(8):
//!
//! ```text
//! chain postrouting {
//!     type nat hook postrouting priority srcnat; policy accept;
//!     ip saddr IPV4 [oifname ONLY_VIA] masquerade
//!     ip6 saddr IPV6 [oifname ONLY_VIA] masquerade
//! }
//! chain forward {
//!     type filter hook forward priority filter; policy accept;
//!     [iif DEVICE oifname != ONLY_VIA drop]
//!     iif DEVICE accept
//!     oif DEVICE ct state established,related accept
//!     oif DEVICE drop
//! }
//! chain guard {
//!     type filter hook forward priority filter; policy accept;
//!     iifname GUARDED oifname != "PREFIX*" drop
//! }
//! ```
//!
//! The device is told by its number, which no other one gets. Its name is the next run's as soon as the device is gone, and the table may
//! outlive it by some milliseconds: by name, the rules of a run that has ended would concern packets of the one that begins.
//!
//! A guarded device is one that forwards only because we made it: answers to the traced program come in by
//! it. The host must not become a router for everybody else on that network, so whatever comes in by it and
//! is not for one of our devices is dropped, as if it did not forward. The prefix lets several runs guard the
//! same device.
//!
//! `guard` is a chain of its own so that it can be emptied and filled in one transaction.

use crate::{
    Spec,
    expr::Expr,
    transaction::{BaseChain, Policy, Transaction},
    uapi::{NF_INET_FORWARD, NF_INET_POST_ROUTING, NF_IP_PRI_FILTER, NF_IP_PRI_NAT_SRC},
};

/// Adds the chains and all rules of a new table.
pub(crate) fn add_all(transaction: &mut Transaction<'_>, spec: &Spec<'_>) {
    for chain in [POSTROUTING, FORWARD, GUARD] {
        transaction.add_chain(chain);
    }
    add_masquerade(transaction, spec);
    add_forward(transaction, spec);
    add_guards(transaction, spec.device_prefix, spec.guarded);
}

/// Puts other guard rules in place of those that are there.
pub(crate) fn replace_guards<S: AsRef<str>>(
    transaction: &mut Transaction<'_>,
    device_prefix: &str,
    guarded: &[S],
) {
    transaction.flush_chain(GUARD);
    add_guards(transaction, device_prefix, guarded);
}

fn add_masquerade(transaction: &mut Transaction<'_>, spec: &Spec<'_>) {
    let sources = [spec.ipv4.map(Expr::Ipv4Source), spec.ipv6.map(Expr::Ipv6Source)];
    for source in sources.into_iter().flatten() {
        let only_via = spec.only_via.map(Expr::OifName);
        let exprs: Vec<_> = [Some(source), only_via, Some(Expr::Masquerade)].into_iter().flatten().collect();
        transaction.add_rule(POSTROUTING, &exprs);
    }
}

fn add_forward(transaction: &mut Transaction<'_>, spec: &Spec<'_>) {
    let (comes, goes) = (Expr::Iif(spec.device), Expr::Oif(spec.device));
    if let Some(only_via) = spec.only_via {
        transaction.add_rule(FORWARD, &[comes, Expr::OifNameIsNot(only_via), Expr::Drop]);
    }
    transaction.add_rule(FORWARD, &[comes, Expr::Accept]);
    transaction.add_rule(FORWARD, &[goes, Expr::IsReply, Expr::Accept]);
    transaction.add_rule(FORWARD, &[goes, Expr::Drop]);
}

fn add_guards<S: AsRef<str>>(transaction: &mut Transaction<'_>, device_prefix: &str, guarded: &[S]) {
    for device in guarded {
        let comes = Expr::IifName(device.as_ref());
        transaction.add_rule(GUARD, &[comes, Expr::OifNameBeginsNotWith(device_prefix), Expr::Drop]);
    }
}

const POSTROUTING: BaseChain = BaseChain {
    name: "postrouting",
    kind: "nat",
    hook: NF_INET_POST_ROUTING,
    priority: NF_IP_PRI_NAT_SRC,
    policy: Policy::Accept,
};
const FORWARD: BaseChain = BaseChain {
    name: "forward",
    kind: "filter",
    hook: NF_INET_FORWARD,
    priority: NF_IP_PRI_FILTER,
    policy: Policy::Accept,
};
const GUARD: BaseChain = BaseChain { name: "guard", ..FORWARD };
