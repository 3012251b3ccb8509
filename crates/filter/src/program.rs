//! Classic BPF: instructions, and programs of them.
//!
//! # References
//! linux/bpf_common.h, linux/filter.h; McCanne and Jacobson, "The BSD Packet Filter", 1993;
//! Documentation/networking/filter.rst.

use std::fmt;

use crate::listing;

/// One instruction, as `struct sock_filter` of linux/filter.h has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Insn {
    /// The operation, made of the `BPF_*` numbers.
    pub code: u16,
    /// How many instructions to skip if a condition holds.
    pub jt: u8,
    /// How many if it does not.
    pub jf: u8,
    /// An operand: a constant, an offset in bytes, a cell, or how many instructions to skip.
    pub k: u32,
}

impl Insn {
    /// An instruction that goes on to the next one.
    pub(crate) fn plain(code: u16, k: u32) -> Self {
        Self { code, jt: 0, jf: 0, k }
    }
}

/// A filter as a program for the kernel, or for [`Program::run`](Program::run).
///
/// Every program that [`compile`](crate::compile) makes passes the checks of `bpf_check_classic()` in
/// net/core/filter.c: at most 4096 instructions, jumps forward only, a return at the end, no scratch cell
/// read that was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    insns: Vec<Insn>,
}

impl Program {
    /// A program from anywhere, to be run or listed. It is not checked; [`run`](Self::run) ends it where it
    /// cannot go on.
    #[must_use]
    pub fn from_insns(insns: Vec<Insn>) -> Self {
        Self { insns }
    }

    /// The instructions.
    #[must_use]
    pub fn insns(&self) -> &[Insn] {
        &self.insns
    }

    /// The program as `tcpdump -d` prints it.
    #[must_use]
    pub fn asm(&self) -> impl fmt::Display {
        listing::Asm(&self.insns)
    }

    /// The program as `tcpdump -dd` prints it: lines of a C array.
    #[must_use]
    pub fn c(&self) -> impl fmt::Display {
        listing::C(&self.insns)
    }

    /// The program as `tcpdump -ddd` prints it: the number of instructions, then their fields in decimal.
    #[must_use]
    pub fn dec(&self) -> impl fmt::Display {
        listing::Dec(&self.insns)
    }
}

/// The parts of an instruction's code, linux/bpf_common.h.
pub(crate) mod op {
    pub(crate) const LD: u16 = 0x00;
    pub(crate) const LDX: u16 = 0x01;
    pub(crate) const ST: u16 = 0x02;
    pub(crate) const STX: u16 = 0x03;
    pub(crate) const ALU: u16 = 0x04;
    pub(crate) const JMP: u16 = 0x05;
    pub(crate) const RET: u16 = 0x06;
    pub(crate) const MISC: u16 = 0x07;
    pub(crate) const CLASS: u16 = 0x07;

    pub(crate) const H: u16 = 0x08;
    pub(crate) const B: u16 = 0x10;
    pub(crate) const SIZE: u16 = 0x18;

    pub(crate) const IMM: u16 = 0x00;
    pub(crate) const ABS: u16 = 0x20;
    pub(crate) const IND: u16 = 0x40;
    pub(crate) const MEM: u16 = 0x60;
    pub(crate) const LEN: u16 = 0x80;
    pub(crate) const MSH: u16 = 0xa0;
    pub(crate) const MODE: u16 = 0xe0;

    pub(crate) const ADD: u16 = 0x00;
    pub(crate) const SUB: u16 = 0x10;
    pub(crate) const MUL: u16 = 0x20;
    pub(crate) const DIV: u16 = 0x30;
    pub(crate) const OR: u16 = 0x40;
    pub(crate) const AND: u16 = 0x50;
    pub(crate) const LSH: u16 = 0x60;
    pub(crate) const RSH: u16 = 0x70;
    pub(crate) const NEG: u16 = 0x80;
    pub(crate) const MOD: u16 = 0x90;
    pub(crate) const XOR: u16 = 0xa0;
    pub(crate) const OPERATION: u16 = 0xf0;

    pub(crate) const JA: u16 = 0x00;
    pub(crate) const JEQ: u16 = 0x10;
    pub(crate) const JGT: u16 = 0x20;
    pub(crate) const JGE: u16 = 0x30;
    pub(crate) const JSET: u16 = 0x40;

    pub(crate) const K: u16 = 0x00;
    pub(crate) const X: u16 = 0x08;
    pub(crate) const A: u16 = 0x10;

    pub(crate) const TAX: u16 = 0x00;
    pub(crate) const TXA: u16 = 0x80;
}
