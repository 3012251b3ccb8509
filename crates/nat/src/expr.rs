//! Expressions: the steps of a rule, each a small instruction of the `nf_tables` virtual machine.
//!
//! # Theory of operation
//! A rule loads something into a register, compares it, and goes on to the next expression while that holds;
//! the last one says what becomes of the packet. We use one register, number 1, of 16 bytes.
//!
//! # Kernel interface
//! `NFTA_RULE_EXPRESSIONS` with `meta`, `payload`, `cmp`, `ct`, `bitwise`, `immediate`, `masq`, `counter`, `tproxy`, `queue`, `target`. Every number
//! in network order, save what is in a register: that is as the machine or the packet has it.
//!
//! # References
//! include/uapi/linux/netfilter/nf_tables.h; net/netfilter/nft_meta.c, `nft_payload.c`, `nft_cmp.c`,
//! `nft_ct.c`, `nft_tproxy.c`, `nft_queue.c`, `nft_compat.c`; `nft --debug=netlink list ruleset` prints the same.

use std::net::{Ipv4Addr, Ipv6Addr};

use nsntrace_netlink::AttributeWriter;

use crate::uapi::{
    CT_STATE_ESTABLISHED, CT_STATE_NEW, CT_STATE_RELATED, NF_ACCEPT, NF_DROP, NFPROTO_IPV4, NFPROTO_IPV6,
    NFPROTO_UNSPEC, NFT_CMP_EQ, NFT_CMP_NEQ, NFT_CT_STATE, NFT_META_IIF, NFT_META_IIFNAME, NFT_META_L4PROTO,
    NFT_META_NFPROTO, NFT_META_OIF, NFT_META_OIFNAME, NFT_PAYLOAD_NETWORK_HEADER,
    NFT_PAYLOAD_TRANSPORT_HEADER, NFT_REG_1, NFT_REG_VERDICT, NFTA_BITWISE_DREG, NFTA_BITWISE_LEN,
    NFTA_BITWISE_MASK, NFTA_BITWISE_SREG, NFTA_BITWISE_XOR, NFTA_CMP_DATA, NFTA_CMP_OP, NFTA_CMP_SREG,
    NFTA_CT_DREG, NFTA_CT_KEY, NFTA_DATA_VALUE, NFTA_DATA_VERDICT, NFTA_EXPR_DATA, NFTA_EXPR_NAME,
    NFTA_IMMEDIATE_DATA, NFTA_IMMEDIATE_DREG, NFTA_LIST_ELEM, NFTA_META_DREG, NFTA_META_KEY,
    NFTA_PAYLOAD_BASE, NFTA_PAYLOAD_DREG, NFTA_PAYLOAD_LEN, NFTA_PAYLOAD_OFFSET, NFTA_QUEUE_NUM,
    NFTA_TARGET_INFO, NFTA_TARGET_NAME, NFTA_TARGET_REV, NFTA_TPROXY_FAMILY, NFTA_TPROXY_REG_PORT,
    NFTA_VERDICT_CODE,
};

/// A part of a rule, in the words of nft(8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expr<'a> {
    /// `iif NUMBER`
    Iif(u32),
    /// `oif NUMBER`
    Oif(u32),
    /// `iifname "NAME"`
    IifName(&'a str),
    /// `oifname "NAME"`
    OifName(&'a str),
    /// `oifname != "NAME"`
    OifNameIsNot(&'a str),
    /// `oifname != "PREFIX*"`
    OifNameBeginsNotWith(&'a str),
    /// `ip saddr ADDRESS`
    Ipv4Source(Ipv4Addr),
    /// `ip6 saddr ADDRESS`
    Ipv6Source(Ipv6Addr),
    /// `ct state established,related`
    IsReply,
    /// `ct state new`
    IsNew,
    /// `masquerade`
    Masquerade,
    /// `meta l4proto PROTOCOL`
    Protocol(Protocol),
    /// `tcp flags syn / fin,syn,rst,ack`, of what `meta l4proto` has told to be TCP
    IsSyn,
    /// `tproxy to :PORT`, of both families
    Tproxy(u16),
    /// `queue num NUMBER`
    Queue(u16),
    /// The same for kernels without `queue`: `-j NFQUEUE --queue-num NUMBER` of iptables-extensions(8), by `nft_compat`
    XtQueue(u16),
    /// `counter`
    Counter,
    /// `accept`
    Accept,
    /// `drop`
    Drop,
}

/// What an IP packet carries, by its number: protocols(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tcp = 6,
    Udp = 17,
}

impl Expr<'_> {
    /// Appends the instructions to the list in `NFTA_RULE_EXPRESSIONS`.
    pub(crate) fn write(self, a: &mut AttributeWriter<'_>) {
        match self {
            Self::Iif(number) => {
                load_meta(a, NFT_META_IIF);
                compare(a, NFT_CMP_EQ, &number.to_ne_bytes());
            }
            Self::Oif(number) => {
                load_meta(a, NFT_META_OIF);
                compare(a, NFT_CMP_EQ, &number.to_ne_bytes());
            }
            Self::IifName(name) => {
                load_meta(a, NFT_META_IIFNAME);
                compare(a, NFT_CMP_EQ, &whole_name(name));
            }
            Self::OifName(name) => {
                load_meta(a, NFT_META_OIFNAME);
                compare(a, NFT_CMP_EQ, &whole_name(name));
            }
            Self::OifNameIsNot(name) => {
                load_meta(a, NFT_META_OIFNAME);
                compare(a, NFT_CMP_NEQ, &whole_name(name));
            }
            Self::OifNameBeginsNotWith(prefix) => {
                load_meta(a, NFT_META_OIFNAME);
                compare(a, NFT_CMP_NEQ, prefix.as_bytes());
            }
            Self::Ipv4Source(address) => compare_source(a, NFPROTO_IPV4, IPV4_SADDR, &address.octets()),
            Self::Ipv6Source(address) => compare_source(a, NFPROTO_IPV6, IPV6_SADDR, &address.octets()),
            Self::IsReply => compare_ct_state(a, CT_STATE_ESTABLISHED | CT_STATE_RELATED),
            Self::IsNew => compare_ct_state(a, CT_STATE_NEW),
            Self::Masquerade => instruction(a, "masq", |_| {}),
            Self::Protocol(protocol) => {
                load_meta(a, NFT_META_L4PROTO);
                compare(a, NFT_CMP_EQ, &[protocol as u8]);
            }
            Self::IsSyn => {
                load_payload(a, NFT_PAYLOAD_TRANSPORT_HEADER, TCP_FLAGS, 1);
                keep_bits(a, &[TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK]);
                compare(a, NFT_CMP_EQ, &[TCP_SYN]);
            }
            Self::Tproxy(port) => tproxy(a, port),
            Self::Queue(number) => instruction(a, "queue", |a| a.u16_be(NFTA_QUEUE_NUM, number)),
            Self::XtQueue(number) => xt_queue(a, number),
            Self::Counter => instruction(a, "counter", |_| {}),
            Self::Accept => verdict(a, NF_ACCEPT),
            Self::Drop => verdict(a, NF_DROP),
        }
    }
}

/// A name fills the register with zeros behind it, so that a longer name is another one.
fn whole_name(name: &str) -> [u8; IFNAMSIZ] {
    let mut padded = [0; IFNAMSIZ];
    // Names were checked to fit, with a zero to spare, when the rule was asked for.
    for (to, from) in padded.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    padded
}

fn instruction(a: &mut AttributeWriter<'_>, name: &str, fill: impl FnOnce(&mut AttributeWriter<'_>)) {
    a.nested(NFTA_LIST_ELEM, |a| {
        a.str(NFTA_EXPR_NAME, name);
        a.nested(NFTA_EXPR_DATA, fill);
    });
}

fn load_meta(a: &mut AttributeWriter<'_>, key: u32) {
    instruction(a, "meta", |a| {
        a.u32_be(NFTA_META_DREG, NFT_REG_1);
        a.u32_be(NFTA_META_KEY, key);
    });
}

/// Whether the state is one of `states`.
fn compare_ct_state(a: &mut AttributeWriter<'_>, states: u32) {
    instruction(a, "ct", |a| {
        a.u32_be(NFTA_CT_DREG, NFT_REG_1);
        a.u32_be(NFTA_CT_KEY, NFT_CT_STATE);
    });
    keep_bits(a, &states.to_ne_bytes());
    compare(a, NFT_CMP_NEQ, &0_u32.to_ne_bytes());
}

/// An `inet` table sees both families: ask which one before reading the header.
fn compare_source(a: &mut AttributeWriter<'_>, nfproto: u8, offset: u32, address: &[u8]) {
    load_meta(a, NFT_META_NFPROTO);
    compare(a, NFT_CMP_EQ, &[nfproto]);
    let len = u32::try_from(address.len()).expect("an address has 4 or 16 bytes");
    load_payload(a, NFT_PAYLOAD_NETWORK_HEADER, offset, len);
    compare(a, NFT_CMP_EQ, address);
}

fn load_payload(a: &mut AttributeWriter<'_>, base: u32, offset: u32, len: u32) {
    instruction(a, "payload", |a| {
        a.u32_be(NFTA_PAYLOAD_DREG, NFT_REG_1);
        a.u32_be(NFTA_PAYLOAD_BASE, base);
        a.u32_be(NFTA_PAYLOAD_OFFSET, offset);
        a.u32_be(NFTA_PAYLOAD_LEN, len);
    });
}

fn compare(a: &mut AttributeWriter<'_>, op: u32, value: &[u8]) {
    instruction(a, "cmp", |a| {
        a.u32_be(NFTA_CMP_SREG, NFT_REG_1);
        a.u32_be(NFTA_CMP_OP, op);
        a.nested(NFTA_CMP_DATA, |a| a.bytes(NFTA_DATA_VALUE, value));
    });
}

fn keep_bits(a: &mut AttributeWriter<'_>, bits: &[u8]) {
    let len = u32::try_from(bits.len()).expect("a register has 16 bytes");
    instruction(a, "bitwise", |a| {
        a.u32_be(NFTA_BITWISE_SREG, NFT_REG_1);
        a.u32_be(NFTA_BITWISE_DREG, NFT_REG_1);
        a.u32_be(NFTA_BITWISE_LEN, len);
        a.nested(NFTA_BITWISE_MASK, |a| a.bytes(NFTA_DATA_VALUE, bits));
        a.nested(NFTA_BITWISE_XOR, |a| a.bytes(NFTA_DATA_VALUE, &vec![0; bits.len()]));
    });
}

/// A family that is not specified is both of an `inet` table, which goes without an address alone.
fn tproxy(a: &mut AttributeWriter<'_>, port: u16) {
    instruction(a, "immediate", |a| {
        a.u32_be(NFTA_IMMEDIATE_DREG, NFT_REG_1);
        a.nested(NFTA_IMMEDIATE_DATA, |a| a.bytes(NFTA_DATA_VALUE, &port.to_be_bytes()));
    });
    instruction(a, "tproxy", |a| {
        a.u32_be(NFTA_TPROXY_FAMILY, NFPROTO_UNSPEC.into());
        a.u32_be(NFTA_TPROXY_REG_PORT, NFT_REG_1);
    });
}

/// A target of xtables, in the form that it has in a rule of iptables: `struct xt_NFQ_info_v3` (linux/netfilter/xt_NFQUEUE.h), filled up
/// to the eight bytes that `XT_ALIGN()` asks for.
///
/// ```text
/// +----------+--------------+-------+
/// | queuenum | queues_total | flags |   u16 each, of this machine
/// +----------+--------------+-------+
/// ```
fn xt_queue(a: &mut AttributeWriter<'_>, number: u16) {
    instruction(a, "target", |a| {
        a.str(NFTA_TARGET_NAME, "NFQUEUE");
        a.u32_be(NFTA_TARGET_REV, 3);
        let info = [number, 1, 0, 0].map(u16::to_ne_bytes).concat();
        a.bytes(NFTA_TARGET_INFO, &info);
    });
}

fn verdict(a: &mut AttributeWriter<'_>, code: u32) {
    instruction(a, "immediate", |a| {
        a.u32_be(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
        a.nested(NFTA_IMMEDIATE_DATA, |a| {
            a.nested(NFTA_DATA_VERDICT, |a| a.u32_be(NFTA_VERDICT_CODE, code));
        });
    });
}

/// linux/if.h: bytes of a name with its closing zero.
const IFNAMSIZ: usize = 16;
/// Offset of the source address in an IPv4 header (RFC 791, section 3.1).
const IPV4_SADDR: u32 = 12;
/// Offset of the source address in an IPv6 header (RFC 8200, section 3).
const IPV6_SADDR: u32 = 8;
/// Offset of the flags in a TCP header, and some of them (RFC 9293, section 3.1).
const TCP_FLAGS: u32 = 13;
const TCP_FIN: u8 = 1;
const TCP_SYN: u8 = 2;
const TCP_RST: u8 = 4;
const TCP_ACK: u8 = 16;
