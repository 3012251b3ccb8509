//! The rules in the words of `nftnl`, whose messages are laid out by the C library that nft itself uses.

use std::ffi::CString;
use std::net::IpAddr;

use nftnl::expr::{Expression, InterfaceName};
use nftnl::{
    Batch, Chain, ChainType, FinalizedBatch, Hook, MsgType, Policy, ProtoFamily, Rule, Table, nft_expr,
};
use nsntrace_nat::Spec;

/// Makes the table in the calling thread's network namespace.
///
/// # Panics
/// If the kernel refuses it.
pub fn install(name: &str, spec: &Spec<'_>) {
    let mut batch = Batch::new();
    let table = Table::new(c(name), ProtoFamily::Inet);
    batch.add(&table, MsgType::Add);
    let chains = [
        chain(&table, "postrouting", ChainType::Nat, Hook::PostRouting, 100),
        chain(&table, "forward", ChainType::Filter, Hook::Forward, 0),
        chain(&table, "guard", ChainType::Filter, Hook::Forward, 0),
    ];
    for chain in &chains {
        batch.add(chain, MsgType::Add);
    }
    let [postrouting, forward, guard] = &chains;
    add_masquerade(&mut batch, postrouting, spec);
    add_forward(&mut batch, forward, spec);
    for device in spec.guarded {
        let prefix = InterfaceName::StartingWith(c(spec.device_prefix));
        add(&mut batch, guard, |rule| {
            iifname(rule, device);
            rule.add_expr(&nft_expr!(meta oifname));
            rule.add_expr(&nft_expr!(cmp != prefix));
            rule.add_expr(&nft_expr!(verdict drop));
        });
    }
    send(&batch.finalize());
}

fn add_masquerade(batch: &mut Batch, chain: &Chain<'_>, spec: &Spec<'_>) {
    for source in [spec.ipv4.map(IpAddr::V4), spec.ipv6.map(IpAddr::V6)].into_iter().flatten() {
        add(batch, chain, |rule| {
            saddr(rule, source);
            if let Some(via) = spec.only_via {
                oifname(rule, via);
            }
            rule.add_expr(&nft_expr!(masquerade));
        });
    }
}

fn add_forward(batch: &mut Batch, chain: &Chain<'_>, spec: &Spec<'_>) {
    if let Some(via) = spec.only_via {
        add(batch, chain, |rule| {
            numbered(rule, &nft_expr!(meta iif), spec.device);
            rule.add_expr(&nft_expr!(meta oifname));
            rule.add_expr(&nft_expr!(cmp != InterfaceName::Exact(c(via))));
            rule.add_expr(&nft_expr!(verdict drop));
        });
    }
    add(batch, chain, |rule| {
        numbered(rule, &nft_expr!(meta iif), spec.device);
        rule.add_expr(&nft_expr!(verdict accept));
    });
    add(batch, chain, |rule| {
        numbered(rule, &nft_expr!(meta oif), spec.device);
        let states = nftnl::expr::ct::States::ESTABLISHED | nftnl::expr::ct::States::RELATED;
        rule.add_expr(&nft_expr!(ct state));
        rule.add_expr(&nft_expr!(bitwise mask states.bits(), xor 0_u32));
        rule.add_expr(&nft_expr!(cmp != 0_u32));
        rule.add_expr(&nft_expr!(verdict accept));
    });
    add(batch, chain, |rule| {
        numbered(rule, &nft_expr!(meta oif), spec.device);
        rule.add_expr(&nft_expr!(verdict drop));
    });
}

fn chain<'a>(table: &'a Table, name: &str, kind: ChainType, hook: Hook, priority: i32) -> Chain<'a> {
    let mut chain = Chain::new(c(name), table);
    chain.set_type(kind);
    chain.set_hook(hook, priority);
    chain.set_policy(Policy::Accept);
    chain
}

fn add(batch: &mut Batch, chain: &Chain<'_>, fill: impl FnOnce(&mut Rule<'_>)) {
    let mut rule = Rule::new(chain);
    fill(&mut rule);
    batch.add(&rule, MsgType::Add);
}

fn saddr(rule: &mut Rule<'_>, source: IpAddr) {
    rule.add_expr(&nft_expr!(meta nfproto));
    match source {
        IpAddr::V4(address) => {
            rule.add_expr(&nft_expr!(cmp == NFPROTO_IPV4));
            rule.add_expr(&nft_expr!(payload ipv4 saddr));
            rule.add_expr(&nft_expr!(cmp == address));
        }
        IpAddr::V6(address) => {
            rule.add_expr(&nft_expr!(cmp == NFPROTO_IPV6));
            rule.add_expr(&nft_expr!(payload ipv6 saddr));
            rule.add_expr(&nft_expr!(cmp == address));
        }
    }
}

fn numbered(rule: &mut Rule<'_>, meta: &impl Expression, number: u32) {
    rule.add_expr(meta);
    rule.add_expr(&nft_expr!(cmp == number));
}

fn iifname(rule: &mut Rule<'_>, name: &str) {
    named(rule, &nft_expr!(meta iifname), name);
}

fn oifname(rule: &mut Rule<'_>, name: &str) {
    named(rule, &nft_expr!(meta oifname), name);
}

fn named(rule: &mut Rule<'_>, meta: &impl Expression, name: &str) {
    rule.add_expr(meta);
    rule.add_expr(&nft_expr!(cmp == InterfaceName::Exact(c(name))));
}

fn send(batch: &FinalizedBatch) {
    let socket = mnl::Socket::new(mnl::Bus::Netfilter).expect("a netlink socket");
    socket.send_all(batch).expect("the batch is sent");
    let mut buffer = vec![0; nftnl::nft_nlmsg_maxsize() as usize];
    let mut expected = batch.sequence_numbers();
    while !expected.is_empty() {
        for message in socket.recv(&mut buffer[..]).expect("the kernel answers") {
            let sequence = expected.next().expect("one answer for each message");
            mnl::cb_run(message.expect("a whole message"), sequence, socket.portid())
                .expect("the rule is taken");
        }
    }
}

fn c(text: &str) -> CString {
    CString::new(text).expect("no name contains a zero")
}

/// `include/uapi/linux/netfilter.h`.
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;
