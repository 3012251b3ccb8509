//! Running a program over a packet, as the kernel does.
//!
//! # References
//! `___bpf_prog_run()` and `bpf_convert_filter()` in net/core/filter.c: loads beyond the packet and divisions
//! by zero end a run with 0, register shifts count modulo 32, the sum of an indexed load wraps. (libpcap's
//! own interpreter differs in the last two.)
//!
//! Loads at `SKF_NET_OFF` and `SKF_LL_OFF` (linux/filter.h), relative to headers that the kernel has found, end
//! a run with 0 here too: a [`Packet`] does not say where its headers are. A filter gets them only by writing
//! such an offset itself, as in `link[-1048576]`.

use crate::program::{Insn, Program, op};

/// A packet, and what Linux keeps beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The captured bytes.
    pub bytes: &'a [u8],
    /// How long the packet was on the wire, in bytes. Not less than the captured ones.
    pub original_len: u32,
    /// What ancillary loads find.
    pub ancillary: Ancillary,
}

impl<'a> Packet<'a> {
    /// A packet of which everything was captured.
    #[must_use]
    pub fn whole(bytes: &'a [u8]) -> Self {
        let original_len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Self { bytes, original_len, ancillary: Ancillary::default() }
    }
}

/// What Linux keeps beside a packet: the fields of linux/filter.h (`SKF_AD_*`) that filters ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ancillary {
    /// `SKF_AD_PROTOCOL`: the type field of Ethernet.
    pub protocol: u16,
    /// `SKF_AD_PKTTYPE`: 4 for a packet that this host sent (`PACKET_OUTGOING`).
    pub pkttype: u8,
    /// `SKF_AD_IFINDEX`.
    pub ifindex: u32,
    /// `SKF_AD_VLAN_TAG` with its priority, if the packet had a tag (`SKF_AD_VLAN_TAG_PRESENT`).
    pub vlan_tci: Option<u16>,
    /// `SKF_AD_MARK`.
    pub mark: u32,
    /// `SKF_AD_QUEUE`.
    pub queue: u32,
    /// `SKF_AD_HATYPE`.
    pub hatype: u32,
}

impl Program {
    /// Runs the program: how many bytes of the packet to keep, 0 for none of it.
    ///
    /// A program from [`compile`](crate::compile) always ends, after no more steps than it has instructions.
    #[must_use]
    pub fn run(&self, packet: &Packet<'_>) -> u32 {
        self.returns(packet).unwrap_or(0)
    }

    /// What the program returns, or none if it ends without: by a load beyond the captured bytes, or by a
    /// division by zero.
    ///
    /// Such a run keeps nothing of the packet, even where the filter begins with `not`. Which loads a program
    /// does is the optimiser's choice, so two programs for one filter can differ there, and only there.
    #[must_use]
    pub fn returns(&self, packet: &Packet<'_>) -> Option<u32> {
        let mut machine = Machine { packet, a: 0, x: 0, memory: [0; 16] };
        let mut at = 0_usize;
        while let Some(insn) = self.insns().get(at).copied() {
            at += 1;
            match machine.step(insn)? {
                Next::Skip(count) => at = at.saturating_add(count),
                Next::Return(value) => return Some(value),
            }
        }
        None
    }

    /// Whether the packet matches.
    #[must_use]
    pub fn matches(&self, packet: &Packet<'_>) -> bool {
        self.run(packet) != 0
    }
}

/// What follows an instruction.
enum Next {
    Skip(usize),
    Return(u32),
}

struct Machine<'a> {
    packet: &'a Packet<'a>,
    a: u32,
    x: u32,
    memory: [u32; 16],
}

impl Machine<'_> {
    fn step(&mut self, insn: Insn) -> Option<Next> {
        match insn.code & op::CLASS {
            op::LD => self.a = self.load(insn)?,
            op::LDX if insn.code & op::MODE == op::MSH => {
                self.x = (self.bytes(insn.k, 1)? & 0xf) << 2;
            }
            op::LDX => self.x = self.load(insn)?,
            op::ST => *self.cell(insn.k)? = self.a,
            op::STX => *self.cell(insn.k)? = self.x,
            op::ALU => self.a = self.arithmetic(insn)?,
            op::JMP => return Some(self.jump(insn)),
            op::RET if insn.code & op::SIZE == op::A => return Some(Next::Return(self.a)),
            op::RET => return Some(Next::Return(insn.k)),
            _ if insn.code & 0xf8 == op::TXA => self.a = self.x,
            _ => self.x = self.a,
        }
        Some(Next::Skip(0))
    }

    fn cell(&mut self, k: u32) -> Option<&mut u32> {
        self.memory.get_mut(usize::try_from(k).ok()?)
    }

    fn load(&mut self, insn: Insn) -> Option<u32> {
        let size = match insn.code & op::SIZE {
            op::B => 1,
            op::H => 2,
            _ => 4,
        };
        match insn.code & op::MODE {
            op::IMM => Some(insn.k),
            op::ABS if insn.k >= SKF_AD_OFF => self.ancillary(insn.k - SKF_AD_OFF),
            op::ABS => self.bytes(insn.k, size),
            op::IND => self.bytes(self.x.wrapping_add(insn.k), size),
            op::MEM => self.cell(insn.k).copied(),
            _ => Some(self.packet.original_len),
        }
    }

    /// Bytes of the packet, in network order.
    fn bytes(&self, offset: u32, size: usize) -> Option<u32> {
        let offset = usize::try_from(offset).ok()?;
        let bytes = self.packet.bytes.get(offset..offset.checked_add(size)?)?;
        Some(bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }

    fn ancillary(&self, field: u32) -> Option<u32> {
        let ancillary = &self.packet.ancillary;
        Some(match field {
            0 => u32::from(ancillary.protocol),
            4 => u32::from(ancillary.pkttype),
            8 => ancillary.ifindex,
            20 => ancillary.mark,
            24 => ancillary.queue,
            28 => ancillary.hatype,
            44 => u32::from(ancillary.vlan_tci.unwrap_or(0)),
            48 => u32::from(ancillary.vlan_tci.is_some()),
            _ => return None,
        })
    }

    fn arithmetic(&self, insn: Insn) -> Option<u32> {
        let (a, b) = (self.a, if insn.code & op::X == op::X { self.x } else { insn.k });
        Some(match insn.code & op::OPERATION {
            op::ADD => a.wrapping_add(b),
            op::SUB => a.wrapping_sub(b),
            op::MUL => a.wrapping_mul(b),
            op::DIV => a.checked_div(b)?,
            op::MOD => a.checked_rem(b)?,
            op::OR => a | b,
            op::AND => a & b,
            op::XOR => a ^ b,
            op::LSH => a.wrapping_shl(b),
            op::RSH => a.wrapping_shr(b),
            _ => a.wrapping_neg(),
        })
    }

    fn jump(&self, insn: Insn) -> Next {
        let (a, b) = (self.a, if insn.code & op::X == op::X { self.x } else { insn.k });
        let holds = match insn.code & op::OPERATION {
            op::JA => return Next::Skip(usize::try_from(insn.k).unwrap_or(usize::MAX)),
            op::JEQ => a == b,
            op::JGT => a > b,
            op::JGE => a >= b,
            _ => a & b != 0,
        };
        Next::Skip(usize::from(if holds { insn.jt } else { insn.jf }))
    }
}

/// Where ancillary fields begin, linux/filter.h.
const SKF_AD_OFF: u32 = 0xffff_f000;
