//! Blocks: straight code with a jump at its end, not yet in an order.

use std::collections::{HashMap, HashSet};

use crate::graph::Target;
use crate::program::op;
use crate::value::Cell;

/// A place in scratch memory, before it has a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Slot {
    /// A variable of the program.
    Variable(Cell),
    /// Written and read within one block.
    Temporary(u32),
}

/// The operand of an instruction that is no jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Operand {
    Number(u32),
    Slot(Slot),
}

/// An instruction that is no jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Instruction {
    pub(super) code: u16,
    pub(super) operand: Operand,
}

impl Instruction {
    /// Whether it reads scratch memory.
    pub(super) fn loads_slot(&self) -> Option<Slot> {
        let loads = self.code == op::LD | op::MEM || self.code == op::LDX | op::MEM;
        self.slot().filter(|_| loads)
    }

    /// The scratch memory that it reads or writes.
    pub(super) fn slot(&self) -> Option<Slot> {
        match self.operand {
            Operand::Slot(slot) => Some(slot),
            Operand::Number(_) => None,
        }
    }
}

/// How a block ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum End {
    /// A conditional jump, to `edges[1]` if it holds.
    Branch {
        code: u16,
        k: u32,
        edges: [Target; 2],
    },
    Goto(Target),
}

impl End {
    pub(super) fn edges(&self) -> &[Target] {
        match self {
            Self::Branch { edges, .. } => edges,
            Self::Goto(edge) => std::slice::from_ref(edge),
        }
    }

    fn edges_mut(&mut self) -> &mut [Target] {
        match self {
            Self::Branch { edges, .. } => edges,
            Self::Goto(edge) => std::slice::from_mut(edge),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Block {
    pub(super) code: Vec<Instruction>,
    pub(super) end: End,
}

/// All blocks, by the numbers of their nodes.
#[derive(Debug)]
pub(super) struct Blocks {
    pub(super) by_number: HashMap<u32, Block>,
    /// The numbers, each before those that its block leads to.
    pub(super) order: Vec<u32>,
    pub(super) root: Target,
}

impl Blocks {
    /// Removes writes to variables that stay in a register for as long as they are read.
    pub(super) fn remove_dead_stores(&mut self) {
        let loaded: HashSet<Slot> = self
            .by_number
            .values()
            .flat_map(|block| block.code.iter().filter_map(Instruction::loads_slot))
            .collect();
        for block in self.by_number.values_mut() {
            block.code.retain(|instruction| instruction.slot().is_none_or(|slot| loaded.contains(&slot)));
        }
    }

    /// Makes one of blocks that do alike. Two tests of different values are alike once both are in the
    /// register.
    pub(super) fn merge(&mut self) {
        let mut same: HashMap<Block, Target> = HashMap::new();
        let mut instead: HashMap<u32, Target> = HashMap::new();
        let resolve = |instead: &HashMap<u32, Target>, target: Target| match target {
            Target::Node(node) => instead.get(&node).copied().unwrap_or(target),
            end => end,
        };
        for &number in self.order.iter().rev() {
            let Some(block) = self.by_number.get_mut(&number) else { continue };
            for edge in block.end.edges_mut() {
                *edge = resolve(&instead, *edge);
            }
            let by = match (block.code.is_empty(), block.end.edges()) {
                (true, [only]) => *only,
                (true, [a, b]) if a == b => *a,
                _ => *same.entry(block.clone()).or_insert(Target::Node(number)),
            };
            instead.insert(number, by);
        }
        self.root = resolve(&instead, self.root);
        self.order.retain(|number| instead.get(number) == Some(&Target::Node(*number)));
    }
}
