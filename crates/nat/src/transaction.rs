//! Changes to `nf_tables` that are made all together or not at all.
//!
//! # Kernel interface
//! `NFNL_MSG_BATCH_BEGIN`, `NFNL_MSG_BATCH_END`, `NFT_MSG_NEWTABLE`, `NFT_MSG_DELTABLE`, `NFT_MSG_NEWCHAIN`,
//! `NFT_MSG_DELCHAIN`, `NFT_MSG_NEWRULE`, `NFT_MSG_DELRULE`, each behind a `struct nfgenmsg`. `CAP_NET_ADMIN` over the network
//! namespace.
//!
//! ```text
//! +--------------+---------+--------+
//! | nfgen_family | version | res_id |
//! |      u8      |   u8    | be u16 |
//! +--------------+---------+--------+
//! ```
//!
//! # References
//! include/uapi/linux/netfilter/nfnetlink.h; `nfnetlink_rcv_batch()` in net/netfilter/nfnetlink.c.

use neli::consts::nl::NlmF;
use nsntrace_netlink::{AttributeWriter, Batch, RequestError, Socket};

use crate::{
    NatError, Step,
    expr::Expr,
    uapi::{
        NF_ACCEPT, NF_DROP, NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END, NFNL_SUBSYS_NFTABLES, NFPROTO_INET,
        NFPROTO_UNSPEC, NFT_MSG_DELCHAIN, NFT_MSG_DELRULE, NFT_MSG_DELTABLE, NFT_MSG_NEWCHAIN,
        NFT_MSG_NEWRULE, NFT_MSG_NEWTABLE, NFTA_CHAIN_HOOK, NFTA_CHAIN_NAME, NFTA_CHAIN_POLICY,
        NFTA_CHAIN_TABLE, NFTA_CHAIN_TYPE, NFTA_HOOK_HOOKNUM, NFTA_HOOK_PRIORITY, NFTA_RULE_CHAIN,
        NFTA_RULE_EXPRESSIONS, NFTA_RULE_TABLE, NFTA_TABLE_FLAGS, NFTA_TABLE_NAME, NFTA_TABLE_USERDATA,
    },
};

/// Changes to one table of family `inet`.
pub(crate) struct Transaction<'a> {
    table: &'a str,
    batch: Batch,
    steps: Vec<Step>,
}

/// Where packets pass through a chain.
#[derive(Clone, Copy)]
pub(crate) struct BaseChain {
    pub(crate) name: &'static str,
    /// `nat` or `filter`.
    pub(crate) kind: &'static str,
    pub(crate) hook: u32,
    pub(crate) priority: i32,
    pub(crate) policy: Policy,
}

/// What becomes of packets that no rule of a chain decides on.
#[derive(Clone, Copy)]
pub(crate) enum Policy {
    Accept,
    Drop,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(table: &'a str) -> Self {
        let mut new = Self { table, batch: Batch::new(), steps: Vec::new() };
        new.delimit(NFNL_MSG_BATCH_BEGIN);
        new
    }

    /// The index of the first change: the beginning of the transaction itself has 0.
    pub(crate) const FIRST: usize = 1;

    /// `nft create table inet TABLE { flags FLAGS; }`, with a comment that nft(8) shows.
    pub(crate) fn add_table(&mut self, flags: u32, comment: &str) {
        let table = self.table;
        self.push(Step::AddTable, NFT_MSG_NEWTABLE, NlmF::CREATE | NlmF::EXCL, |a| {
            a.str(NFTA_TABLE_NAME, table);
            a.u32_be(NFTA_TABLE_FLAGS, flags);
            a.bytes(NFTA_TABLE_USERDATA, &comment_userdata(comment));
        });
    }

    /// `nft delete table inet TABLE`.
    pub(crate) fn delete_table(&mut self) {
        let table = self.table;
        self.push(Step::DeleteTable, NFT_MSG_DELTABLE, NlmF::empty(), |a| a.str(NFTA_TABLE_NAME, table));
    }

    /// `nft add chain inet TABLE NAME { type KIND hook HOOK priority PRIORITY; policy POLICY; }`.
    pub(crate) fn add_chain(&mut self, chain: BaseChain) {
        let table = self.table;
        self.push(Step::AddChain(chain.kind), NFT_MSG_NEWCHAIN, NlmF::CREATE | NlmF::EXCL, |a| {
            a.str(NFTA_CHAIN_TABLE, table);
            a.str(NFTA_CHAIN_NAME, chain.name);
            a.str(NFTA_CHAIN_TYPE, chain.kind);
            let policy = match chain.policy {
                Policy::Accept => NF_ACCEPT,
                Policy::Drop => NF_DROP,
            };
            a.u32_be(NFTA_CHAIN_POLICY, policy);
            a.nested(NFTA_CHAIN_HOOK, |a| {
                a.u32_be(NFTA_HOOK_HOOKNUM, chain.hook);
                a.bytes(NFTA_HOOK_PRIORITY, &chain.priority.to_be_bytes());
            });
        });
    }

    /// `nft add rule inet TABLE CHAIN EXPRS`.
    pub(crate) fn add_rule(&mut self, chain: BaseChain, exprs: &[Expr<'_>]) {
        let table = self.table;
        self.push(step_of(exprs), NFT_MSG_NEWRULE, NlmF::CREATE | NlmF::APPEND, |a| {
            a.str(NFTA_RULE_TABLE, table);
            a.str(NFTA_RULE_CHAIN, chain.name);
            a.nested(NFTA_RULE_EXPRESSIONS, |a| exprs.iter().for_each(|expr| expr.write(a)));
        });
    }

    /// `nft flush chain inet TABLE CHAIN`.
    pub(crate) fn flush_chain(&mut self, chain: BaseChain) {
        let table = self.table;
        // Without a handle it is about all rules of the chain.
        self.push(Step::FlushChain, NFT_MSG_DELRULE, NlmF::empty(), |a| {
            a.str(NFTA_RULE_TABLE, table);
            a.str(NFTA_RULE_CHAIN, chain.name);
        });
    }

    /// `nft delete chain inet TABLE CHAIN`, rules and all.
    pub(crate) fn delete_chain(&mut self, chain: BaseChain) {
        self.flush_chain(chain);
        let table = self.table;
        self.push(Step::DeleteChain, NFT_MSG_DELCHAIN, NlmF::empty(), |a| {
            a.str(NFTA_CHAIN_TABLE, table);
            a.str(NFTA_CHAIN_NAME, chain.name);
        });
    }

    /// Makes the changes.
    pub(crate) fn commit(mut self, socket: &mut Socket) -> Result<(), NatError> {
        self.delimit(NFNL_MSG_BATCH_END);
        socket.transact(&self.batch).map_err(|error| {
            let index = match &error {
                RequestError::Refused(refusal) => refusal.index,
                _ => 0,
            };
            NatError::new(self.steps.get(index).copied().unwrap_or(Step::Begin), error)
        })
    }

    fn push(&mut self, step: Step, message: u16, flags: NlmF, fill: impl FnOnce(&mut AttributeWriter<'_>)) {
        self.steps.push(step);
        self.batch.request(nft_type(message), flags, &nfgenmsg(NFPROTO_INET, 0), fill);
    }

    /// Begins or ends the transaction. The kernel acknowledges neither before Linux 6.10, so we ask for none.
    fn delimit(&mut self, nlmsg_type: u16) {
        self.steps.push(Step::Begin);
        self.batch.message(
            nlmsg_type,
            NlmF::REQUEST,
            &nfgenmsg(NFPROTO_UNSPEC, NFNL_SUBSYS_NFTABLES),
            |_| {},
        );
    }
}

/// Which of the kernel's modules a rule may fail for.
fn step_of(exprs: &[Expr<'_>]) -> Step {
    if exprs.contains(&Expr::Masquerade) {
        Step::AddMasquerade
    } else if exprs.iter().any(|expr| matches!(expr, Expr::Queue(_) | Expr::XtQueue(_))) {
        Step::AddQueue
    } else if exprs.contains(&Expr::IsReply) {
        Step::AddStateMatch
    } else if exprs.iter().any(|expr| matches!(expr, Expr::Tproxy(_))) {
        Step::AddTproxy
    } else if exprs.contains(&Expr::Counter) {
        Step::AddCounter
    } else {
        Step::AddRule
    }
}

/// `nlmsg_type` of a message of `nf_tables`.
pub(crate) fn nft_type(message: u16) -> u16 {
    NFNL_SUBSYS_NFTABLES << 8 | message
}

/// `struct nfgenmsg`.
pub(crate) fn nfgenmsg(family: u8, res_id: u16) -> [u8; 4] {
    let [high, low] = res_id.to_be_bytes();
    [family, 0, high, low]
}

/// Userdata is the user's own list of u8 type, u8 length, value. nft's comment has type 0 and a closing zero
/// (`NFTNL_UDATA_TABLE_COMMENT` in libnftnl/udata.h).
fn comment_userdata(comment: &str) -> Vec<u8> {
    let mut value = comment.as_bytes().to_vec();
    value.truncate(127);
    value.push(0);
    let len = u8::try_from(value.len()).expect("it was cut to 128 bytes");
    [&[0, len], &value[..]].concat()
}

/// The comment in a table's userdata.
pub(crate) fn comment_in(userdata: &[u8]) -> Option<&str> {
    let [0, len, rest @ ..] = userdata else { return None };
    let text = rest.get(..usize::from(*len))?.strip_suffix(&[0])?;
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_survives_its_userdata() {
        assert_eq!(comment_userdata("hi"), [0, 3, b'h', b'i', 0]);
        assert_eq!(comment_in(&comment_userdata("hi")), Some("hi"));
        let long = "x".repeat(400);
        assert_eq!(comment_in(&comment_userdata(&long)), Some(&long[..127]));
    }

    #[test]
    fn what_is_no_comment_is_none() {
        for userdata in [&[][..], &[0], &[1, 1, 0], &[0, 9, 0], &[0, 2, b'a', b'b'], &[0, 2, 0xff, 0]] {
            assert_eq!(comment_in(userdata), None, "{userdata:?}");
        }
    }
}
