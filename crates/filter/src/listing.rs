//! Programs as text, in the three forms of tcpdump.
//!
//! # References
//! tcpdump(1), options `-d`, `-dd`, `-ddd`; Documentation/networking/filter.rst for the assembler.

use std::fmt;

use crate::program::{Insn, op};

/// As `tcpdump -d`.
pub(crate) struct Asm<'a>(pub(crate) &'a [Insn]);

impl fmt::Display for Asm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, insn) in self.0.iter().copied().enumerate() {
            let (name, operand) = words(place, insn);
            write!(f, "({place:03}) {name:<8} {operand}")?;
            if insn.code & op::CLASS == op::JMP && insn.code & op::OPERATION != op::JA {
                let (jt, jf) = (place + 1 + usize::from(insn.jt), place + 1 + usize::from(insn.jf));
                write!(f, "{:pad$} jt {jt}\tjf {jf}", "", pad = 16_usize.saturating_sub(operand.len()))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// As `tcpdump -dd`.
pub(crate) struct C<'a>(pub(crate) &'a [Insn]);

impl fmt::Display for C<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|insn| {
            writeln!(f, "{{ {:#x}, {}, {}, {:#010x} }},", insn.code, insn.jt, insn.jf, insn.k)
        })
    }
}

/// As `tcpdump -ddd`.
pub(crate) struct Dec<'a>(pub(crate) &'a [Insn]);

impl fmt::Display for Dec<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.0.len())?;
        self.0.iter().try_for_each(|insn| writeln!(f, "{} {} {} {}", insn.code, insn.jt, insn.jf, insn.k))
    }
}

/// The name of an instruction and its operand. `place` is where it stands.
fn words(place: usize, insn: Insn) -> (String, String) {
    match insn.code & op::CLASS {
        op::LD => (format!("ld{}", size(insn.code)), loaded(insn)),
        op::LDX if insn.code & op::MODE == op::MSH => ("ldxb".to_owned(), format!("4*([{}]&0xf)", insn.k)),
        op::LDX => ("ldx".to_owned(), loaded(insn)),
        op::ST => ("st".to_owned(), format!("M[{}]", insn.k)),
        op::STX => ("stx".to_owned(), format!("M[{}]", insn.k)),
        op::ALU => arithmetic(insn),
        op::JMP => jump(place, insn),
        op::RET if insn.code & op::SIZE == op::A => ("ret".to_owned(), String::new()),
        op::RET => ("ret".to_owned(), format!("#{}", insn.k)),
        _ if insn.code & 0xf8 == op::TXA => ("txa".to_owned(), String::new()),
        _ => ("tax".to_owned(), String::new()),
    }
}

fn size(code: u16) -> &'static str {
    match code & op::SIZE {
        op::B if code & op::MODE != op::MEM => "b",
        op::H => "h",
        _ => "",
    }
}

fn loaded(insn: Insn) -> String {
    match insn.code & op::MODE {
        op::IMM => format!("#{:#x}", insn.k),
        op::ABS => absolute(insn.k),
        op::IND => format!("[x + {}]", insn.k.cast_signed()),
        op::MEM => format!("M[{}]", insn.k),
        _ => "#pktlen".to_owned(),
    }
}

/// An offset, or the name of what Linux keeps there.
fn absolute(k: u32) -> String {
    let known = ANCILLARY.iter().find(|(offset, _)| *offset == k);
    known.map_or_else(|| format!("[{}]", k.cast_signed()), |(_, name)| format!("[{name}]"))
}

fn arithmetic(insn: Insn) -> (String, String) {
    let name = match insn.code & op::OPERATION {
        op::ADD => "add",
        op::SUB => "sub",
        op::MUL => "mul",
        op::DIV => "div",
        op::OR => "or",
        op::AND => "and",
        op::LSH => "lsh",
        op::RSH => "rsh",
        op::MOD => "mod",
        op::XOR => "xor",
        _ => return ("neg".to_owned(), String::new()),
    };
    let bits = matches!(insn.code & op::OPERATION, op::OR | op::AND | op::XOR);
    let operand = match insn.code & op::X {
        op::X => "x".to_owned(),
        _ if bits => format!("#{:#x}", insn.k),
        _ => format!("#{}", insn.k),
    };
    (name.to_owned(), operand)
}

fn jump(place: usize, insn: Insn) -> (String, String) {
    let name = match insn.code & op::OPERATION {
        op::JA => {
            let target = u32::try_from(place + 1).unwrap_or(u32::MAX).wrapping_add(insn.k);
            return ("ja".to_owned(), target.to_string());
        }
        op::JEQ => "jeq",
        op::JGT => "jgt",
        op::JGE => "jge",
        _ => "jset",
    };
    let operand = if insn.code & op::X == op::X { "x".to_owned() } else { format!("#{:#x}", insn.k) };
    (name.to_owned(), operand)
}

/// `SKF_AD_*` of linux/filter.h, by the names of the kernel's assembler.
const ANCILLARY: &[(u32, &str)] = &[
    (0xffff_f000, "proto"),
    (0xffff_f004, "type"),
    (0xffff_f008, "ifidx"),
    (0xffff_f00c, "nla"),
    (0xffff_f010, "nlan"),
    (0xffff_f014, "mark"),
    (0xffff_f018, "queue"),
    (0xffff_f01c, "hatype"),
    (0xffff_f020, "rxhash"),
    (0xffff_f024, "cpu"),
    (0xffff_f02c, "vlan_tci"),
    (0xffff_f030, "vlanp"),
    (0xffff_f034, "poff"),
    (0xffff_f038, "rand"),
];
