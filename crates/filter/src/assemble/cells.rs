//! Cells of the machine for the slots of the program.
//!
//! A variable takes a cell from the block that first writes it to the one that last reads it, in topological
//! order. Temporaries use what is left.

use std::collections::HashMap;

use crate::error::ErrorKind;
use crate::lower::REGISTERS;

use super::blocks::{Blocks, Instruction, Operand, Slot};

/// Replaces every slot by the number of a cell.
pub(super) fn allocate(blocks: &mut Blocks) -> Result<(), ErrorKind> {
    let (cells, used) = assign(intervals(blocks));
    for instruction in blocks.by_number.values_mut().flat_map(|block| &mut block.code) {
        let cell = match instruction.slot() {
            None => continue,
            Some(slot @ Slot::Variable(_)) => cells[&slot],
            Some(Slot::Temporary(index)) => used + index,
        };
        if cell >= REGISTERS {
            return Err(ErrorKind::TooManyRegisters);
        }
        instruction.operand = Operand::Number(cell);
    }
    Ok(())
}

/// A cell for every variable, and how many cells that takes.
fn assign(mut intervals: Vec<Interval>) -> (HashMap<Slot, u32>, u32) {
    intervals.sort_unstable_by_key(|interval| (interval.first, interval.slot));
    let mut cells: HashMap<Slot, u32> = HashMap::new();
    let mut active: Vec<Interval> = Vec::new();
    let mut free: Vec<u32> = Vec::new();
    let mut used = 0;
    for interval in intervals {
        let over = active.extract_if(.., |other| other.last < interval.first);
        free.extend(over.map(|other| cells[&other.slot]));
        let cell = free.pop().unwrap_or_else(|| {
            used += 1;
            used - 1
        });
        cells.insert(interval.slot, cell);
        active.push(interval);
    }
    (cells, used)
}

/// From where to where a variable is in use, as places in the order of blocks.
struct Interval {
    slot: Slot,
    first: usize,
    last: usize,
}

fn intervals(blocks: &Blocks) -> Vec<Interval> {
    let mut found: HashMap<Slot, Interval> = HashMap::new();
    for (place, number) in blocks.order.iter().enumerate() {
        let Some(block) = blocks.by_number.get(number) else { continue };
        for slot in block.code.iter().filter_map(Instruction::slot) {
            if matches!(slot, Slot::Variable(_)) {
                found.entry(slot).or_insert(Interval { slot, first: place, last: place }).last = place;
            }
        }
    }
    found.into_values().collect()
}
