//! The classic BPF program that every capture runs in the kernel.
//!
//! A packet socket sees each loopback packet twice: on its way out and on its way in. We keep the copy on its way out: it is written
//! inside the sender's own system call, so that it is in the ring before the sender can exit.
//!
//! # References
//! Documentation/networking/filter.rst; SKF_AD_* in include/uapi/linux/filter.h.

use nsntrace_sys::Insn;

/// Runs `filter` on every packet of the link `ifindex` and of loopback, loopback packets once; drops all others.
///
/// Links that the program makes itself are not its way out: their packets leave by `ifindex` in the end, and may not be Ethernet.
pub(crate) fn each_packet_once(ifindex: u32, filter: &[Insn]) -> Vec<Insn> {
    let prefix: [Insn; PREFIX_INSNS] = [
        insn(LD_W_ABS, 0, 0, SKF_AD_IFINDEX),
        insn(JEQ_K, 4, 0, ifindex), // to the filter
        insn(JEQ_K, 0, 2, LOOPBACK_IFINDEX),
        insn(LD_W_ABS, 0, 0, SKF_AD_PKTTYPE),
        insn(JEQ_K, 1, 0, PACKET_OUTGOING), // to the filter
        insn(RET_K, 0, 0, 0),
    ];
    prefix.iter().chain(filter).copied().collect()
}

/// A filter that keeps up to `snaplen` bytes of every packet.
pub fn everything(snaplen: u32) -> Vec<Insn> {
    vec![insn(RET_K, 0, 0, snaplen)]
}

fn insn(code: u16, jt: u8, jf: u8, k: u32) -> Insn {
    Insn { code, jt, jf, k }
}

/// What stands before every filter.
const PREFIX_INSNS: usize = 6;
/// The longest filter that fits into the kernel's 4096 (`BPF_MAXINSNS`).
pub const MAX_FILTER_INSNS: usize = 4096 - PREFIX_INSNS;
/// `BPF_LD | BPF_W | BPF_ABS`.
const LD_W_ABS: u16 = 0x20;
/// `BPF_JMP | BPF_JEQ | BPF_K`.
const JEQ_K: u16 = 0x15;
/// `BPF_RET | BPF_K`.
const RET_K: u16 = 0x06;
/// `SKF_AD_OFF + SKF_AD_PKTTYPE`.
const SKF_AD_PKTTYPE: u32 = 0xffff_f004;
/// `SKF_AD_OFF + SKF_AD_IFINDEX`.
const SKF_AD_IFINDEX: u32 = 0xffff_f008;
/// include/uapi/linux/if_packet.h.
pub(crate) const PACKET_OUTGOING: u32 = 4;
/// The kernel gives 1 to the loopback device of every namespace: include/net/net_namespace.h, `LOOPBACK_IFINDEX`.
pub(crate) const LOOPBACK_IFINDEX: u32 = 1;
