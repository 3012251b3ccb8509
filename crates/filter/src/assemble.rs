//! Graph to program: instructions for every node, then an order for the nodes.

mod blocks;
mod cells;
mod layout;
mod select;

use crate::error::ErrorKind;
use crate::graph::Graph;
use crate::program::{Insn, Program};
use crate::value::Values;

/// What the program is to return, and how much care is taken of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) snaplen: u32,
    pub(crate) optimise: bool,
}

/// Makes a program of a graph.
///
/// # Errors
/// [`ErrorKind::TooManyRegisters`], and [`ErrorKind::TooLong`] beyond what the kernel takes.
pub(crate) fn assemble(graph: &Graph, values: &Values, target: Target) -> Result<Program, ErrorKind> {
    let mut blocks = select::select(graph, values, target.optimise);
    if target.optimise {
        blocks.remove_dead_stores();
        blocks.merge();
    }
    cells::allocate(&mut blocks)?;
    let candidates = [0, 1].map(|near| layout::layout(&blocks, near, target.snaplen));
    let shortest: Option<Vec<Insn>> = candidates.into_iter().min_by_key(Vec::len);
    let insns = shortest.unwrap_or_default();
    if insns.len() > MAX_INSNS {
        Err(ErrorKind::TooLong(insns.len()))
    } else {
        Ok(Program::from_insns(insns))
    }
}

/// `BPF_MAXINSNS`, linux/bpf_common.h.
const MAX_INSNS: usize = 4096;
