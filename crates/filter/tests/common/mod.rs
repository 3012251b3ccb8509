//! What the tests share: a generator of random numbers, frames, filters, and a reader of tcpdump's output.
#![allow(dead_code, reason = "every test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "this is a part of tests")]

pub(crate) mod filters;
pub(crate) mod frames;

use nsntrace_filter::{LinkType, NoNames, Options, Program, Source, Tables, compile};

/// xorshift64*: the same numbers on every machine.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % limit
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// True in `percent` of 100 cases.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// Options for a link type.
pub(crate) fn options(link_type: LinkType, source: Source) -> Options {
    Options { link_type, source, ..Options::default() }
}

/// The program for Ethernet, without names.
#[track_caller]
pub(crate) fn ethernet(text: &str) -> Program {
    compile(text, &Options::default(), &NoNames).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The names that the corpus uses, as Debian has them.
pub(crate) fn names() -> Tables {
    Tables::new()
        .services(
            "ftp-data 20/tcp\nftp 21/tcp\nssh 22/tcp\ntelnet 23/tcp\ndomain 53/tcp\ndomain 53/udp\nbootps 67/udp\n\
             bootpc 68/udp\nhttp 80/tcp www\nntp 123/udp\nsnmp 161/tcp\nsnmp 161/udp\nhttps 443/tcp\nhttps 443/udp\n",
        )
        .protocols("icmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\ngre 47 GRE\nipv6-icmp 58 IPv6-ICMP\nospf 89 OSPFIGP\n")
        .networks("loopback 127.0.0.0\n")
}

/// The instructions that `tcpdump -ddd` printed.
pub(crate) fn parse_dec(text: &str) -> Vec<(u16, u8, u8, u32)> {
    let insn = |line: &str| {
        let fields: Vec<u32> = line.split(' ').map(|field| field.parse().unwrap()).collect();
        let [code, jt, jf, k] = fields.try_into().unwrap();
        (u16::try_from(code).unwrap(), u8::try_from(jt).unwrap(), u8::try_from(jf).unwrap(), k)
    };
    text.lines().skip(1).map(insn).collect()
}

/// The rows of the corpus: filter, whether it is valid, notes.
pub(crate) fn corpus() -> Vec<(&'static str, bool, &'static str)> {
    include_str!("../data/corpus.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            (fields[0], fields[2] == "valid", fields[5])
        })
        .collect()
}

/// Filters where the words of the language meet in unusual ways, valid or not.
pub(crate) fn edges() -> impl Iterator<Item = &'static str> {
    include_str!("../data/edges.txt").lines()
}

/// Whether the kernel would take the program: the checks of `bpf_check_classic()` and
/// `check_load_and_stores()`, net/core/filter.c.
pub(crate) fn kernel_takes(program: &Program) -> Result<(), String> {
    let insns = program.insns();
    let len = insns.len();
    if len == 0 || len > 4096 {
        return Err(format!("{len} instructions"));
    }
    if insns[len - 1].code & 7 != 6 {
        return Err("falls off the end".to_owned());
    }
    // Per instruction, the cells that every path here has written.
    let mut written: Vec<Option<u16>> = vec![None; len];
    written[0] = Some(0);
    for (at, insn) in insns.iter().enumerate() {
        let Some(mut cells) = written[at] else { continue };
        let is_memory = matches!(insn.code, 0x02 | 0x03 | 0x60 | 0x61);
        if is_memory && insn.k > 15 {
            return Err(format!("cell {} at {at}", insn.k));
        }
        match insn.code {
            0x02 | 0x03 => cells |= 1 << insn.k,
            0x60 | 0x61 if cells & (1 << insn.k) == 0 => {
                return Err(format!("unwritten cell {} at {at}", insn.k));
            }
            0x34 | 0x94 if insn.k == 0 => return Err(format!("division by zero at {at}")),
            0x64 | 0x74 if insn.k > 31 => return Err(format!("long shift at {at}")),
            0x20 | 0x28 | 0x30
                if insn.k >= 0xffff_f000 && (insn.k % 4 != 0 || insn.k - 0xffff_f000 >= 64) =>
            {
                return Err(format!("ancillary load at {at}"));
            }
            _ => {}
        }
        let next = match (insn.code & 7, insn.code & 0xf0) {
            (6, _) => vec![],
            (5, 0) => vec![at + 1 + usize::try_from(insn.k).unwrap()],
            (5, _) => vec![at + 1 + usize::from(insn.jt), at + 1 + usize::from(insn.jf)],
            _ => vec![at + 1],
        };
        for to in next {
            let there = written.get_mut(to).ok_or_else(|| format!("jump out of the program at {at}"))?;
            *there = Some(there.map_or(cells, |other| other & cells));
        }
    }
    Ok(())
}
