//! The classic BPF program that every capture runs in the kernel.
//!
//! A packet socket sees each loopback packet twice: on its way out and on its way in. We keep the copy on its way out: it is written
//! inside the sender's own system call, so that it is in the ring before the sender can exit.
//!
//! # References
//! Documentation/networking/filter.rst; SKF_AD_* in include/uapi/linux/filter.h.

use nsntrace_sys::Insn;

/// Accepts up to `snaplen` bytes of every packet of the link `ifindex` and of loopback, loopback packets once.
///
/// Links that the program makes itself are not its way out: their packets leave by `ifindex` in the end, and may not be Ethernet.
pub(crate) fn each_packet_once(ifindex: u32, snaplen: u32) -> Vec<Insn> {
    vec![
        insn(LD_W_ABS, 0, 0, SKF_AD_IFINDEX),
        insn(JEQ_K, 3, 0, ifindex), // to the accepting end
        insn(JEQ_K, 0, 3, LOOPBACK_IFINDEX),
        insn(LD_W_ABS, 0, 0, SKF_AD_PKTTYPE),
        insn(JEQ_K, 0, 1, PACKET_OUTGOING),
        insn(RET_K, 0, 0, snaplen),
        insn(RET_K, 0, 0, 0),
    ]
}

fn insn(code: u16, jt: u8, jf: u8, k: u32) -> Insn {
    Insn { code, jt, jf, k }
}

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
