//! An order for the blocks, and jumps that reach.
//!
//! # Theory of operation
//! A conditional jump reaches 255 instructions ahead. Blocks are written from the last to the first, so that
//! it is known how far every target is. One that is too far gets an *island* right behind the block: a jump
//! without that limit, or, if the target is an end, that end once more. Earlier blocks use the nearest island
//! too. Nothing falls into an island, since conditional jumps never fall through.

use std::collections::HashMap;

use crate::graph::Target;
use crate::program::{Insn, op};

use super::blocks::{Block, Blocks, End, Operand};

/// The program, with blocks at `edges[near]` near to those that lead there.
pub(super) fn layout(blocks: &Blocks, near: usize, snaplen: u32) -> Vec<Insn> {
    let mut writer = Writer { reversed: Vec::new(), place: HashMap::new(), snaplen };
    let order = postorder(blocks, near);
    let reaches = |end| order.iter().any(|number| blocks.by_number[number].end.edges().contains(&end));
    for end in [Target::Reject, Target::Accept] {
        if blocks.root == end || reaches(end) {
            writer.end(end);
        }
    }
    for number in order {
        writer.block(&blocks.by_number[&number]);
        writer.mark(Target::Node(number));
    }
    writer.reversed.reverse();
    writer.reversed
}

/// The blocks that can be reached, each behind those that it leads to.
fn postorder(blocks: &Blocks, near: usize) -> Vec<u32> {
    let mut order = Vec::with_capacity(blocks.order.len());
    let mut open: HashMap<u32, bool> = HashMap::new();
    let mut stack = vec![blocks.root];
    while let Some(&target) = stack.last() {
        let Target::Node(number) = target else {
            stack.pop();
            continue;
        };
        match open.get(&number) {
            None => {
                open.insert(number, true);
                let edges = blocks.by_number[&number].end.edges();
                // What is pushed last is visited first, and lands furthest away.
                let near = near.min(edges.len() - 1);
                stack.push(edges[near]);
                stack.extend(
                    edges.iter().enumerate().filter(|(side, _)| *side != near).map(|(_, edge)| *edge),
                );
            }
            Some(true) => {
                open.insert(number, false);
                order.push(number);
                stack.pop();
            }
            Some(false) => {
                stack.pop();
            }
        }
    }
    order
}

/// Writes a program from its end.
struct Writer {
    /// Last instruction first.
    reversed: Vec<Insn>,
    /// For each target the place of its first instruction in `reversed`, or of the nearest island that leads
    /// there.
    place: HashMap<Target, usize>,
    snaplen: u32,
}

impl Writer {
    fn push(&mut self, insn: Insn) {
        self.reversed.push(insn);
    }

    /// What was written last is where `target` begins.
    fn mark(&mut self, target: Target) {
        self.place.insert(target, self.reversed.len() - 1);
    }

    /// The instruction that ends a run.
    fn end(&mut self, end: Target) {
        let k = if end == Target::Accept { self.snaplen } else { 0 };
        self.push(Insn::plain(op::RET | op::K, k));
        self.mark(end);
    }

    /// How many instructions are between the next one to be written and `target`.
    fn distance(&self, target: Target) -> usize {
        self.reversed.len() - 1 - self.place[&target]
    }

    fn block(&mut self, block: &Block) {
        match block.end {
            End::Goto(target) if self.distance(target) == 0 => {}
            End::Goto(target @ (Target::Accept | Target::Reject)) => self.end(target),
            End::Goto(target) => self.jump(target),
            End::Branch { code, k, edges: [no, yes] } => {
                while let Some(target) = [no, yes].into_iter().find(|target| self.distance(*target) > REACH) {
                    self.island(target);
                }
                let reach = |target| u8::try_from(self.distance(target)).expect("an island is near");
                let (jt, jf) = (reach(yes), reach(no));
                self.push(Insn { code, jt, jf, k });
            }
        }
        for instruction in block.code.iter().rev() {
            let Operand::Number(k) = instruction.operand else { unreachable!("cells have been allocated") };
            self.push(Insn::plain(instruction.code, k));
        }
    }

    /// A jump without a limit.
    fn jump(&mut self, target: Target) {
        let k = u32::try_from(self.distance(target)).expect("a program has fewer instructions");
        self.push(Insn::plain(op::JMP | op::JA, k));
    }

    fn island(&mut self, target: Target) {
        if matches!(target, Target::Node(_)) {
            self.jump(target);
            self.mark(target);
        } else {
            self.end(target);
        }
    }
}

/// How far a conditional jump reaches, in instructions skipped.
const REACH: usize = 255;
