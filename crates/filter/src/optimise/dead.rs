//! Writes of variables: those that nobody reads, and reads that nobody wrote for.

use std::collections::HashSet;

use crate::graph::{Graph, Node, Target};
use crate::value::{Cell, ValueId, Values};

/// Removes writes to variables that are never read. Returns whether there were any.
pub(super) fn remove_dead_writes(graph: &mut Graph, values: &Values) -> bool {
    let mut any = false;
    // What a dead write read may be dead without it.
    while has_writes(graph) && skip_dead_writes(graph, values) {
        any = true;
    }
    any
}

/// Leads every edge past writes to variables that no node reads. Returns whether any edge moved.
fn skip_dead_writes(graph: &mut Graph, values: &Values) -> bool {
    let order = graph.topological(0);
    let read = read_cells(graph, values, &order);
    let mut changed = false;
    // From the ends upward, so that what an edge is led to needs no leading itself.
    for &node in order.iter().rev() {
        for side in 0..graph.nodes[node as usize].edges().len() {
            let before = graph.nodes[node as usize].edges()[side];
            let after = past_dead_write(graph, &read, before);
            graph.nodes[node as usize].edges_mut()[side] = after;
            changed |= before != after;
        }
    }
    let root = past_dead_write(graph, &read, graph.root);
    changed |= root != graph.root;
    graph.root = root;
    changed
}

fn past_dead_write(graph: &Graph, read: &HashSet<Cell>, target: Target) -> Target {
    let Target::Node(node) = target else { return target };
    match graph.nodes[node as usize] {
        Node::Set { cell, edge, .. } if !read.contains(&cell) => edge,
        _ => target,
    }
}

/// The variables that any node reads.
fn read_cells(graph: &Graph, values: &Values, order: &[u32]) -> HashSet<Cell> {
    let mut read = HashSet::new();
    for &node in order {
        for value in operands(graph, values, node).into_iter().flatten() {
            values.for_each_cell(value, &mut |cell| {
                read.insert(cell);
            });
        }
    }
    read
}

fn has_writes(graph: &Graph) -> bool {
    graph.nodes.iter().any(|node| matches!(node, Node::Set { .. }))
}

/// The variables that some path reads without having written them. The kernel refuses such a program.
pub(crate) fn unwritten(graph: &Graph, values: &Values) -> Vec<Cell> {
    let order = graph.topological(0);
    let mut written: Vec<Option<HashSet<Cell>>> = vec![None; graph.nodes.len()];
    let mut missing = Vec::new();
    if !has_writes(graph) {
        return missing;
    }
    for &node in &order {
        let mut here = written[node as usize].take().unwrap_or_default();
        for value in operands(graph, values, node).into_iter().flatten() {
            values.for_each_cell(value, &mut |cell| {
                if !here.contains(&cell) && !missing.contains(&cell) {
                    missing.push(cell);
                }
            });
        }
        if let Node::Set { cell, .. } = graph.nodes[node as usize] {
            here.insert(cell);
        }
        for edge in graph.nodes[node as usize].edges() {
            let Target::Node(to) = *edge else { continue };
            match &mut written[to as usize] {
                Some(other) => other.retain(|cell| here.contains(cell)),
                none @ None => *none = Some(here.clone()),
            }
        }
    }
    missing
}

/// Writes zero to these variables before all else.
pub(crate) fn zero(graph: &mut Graph, values: &mut Values, cells: &[Cell]) {
    let zero = values.constant(0);
    for &cell in cells {
        let index = u32::try_from(graph.nodes.len()).expect("the number of nodes has a limit");
        graph.nodes.push(Node::Set { cell, value: zero, edge: graph.root });
        graph.root = Target::Node(index);
    }
}

/// The values that a node computes.
fn operands(graph: &Graph, values: &Values, node: u32) -> [Option<ValueId>; 2] {
    match graph.nodes[node as usize] {
        Node::Test { test, .. } => {
            let test = values.test(test);
            [Some(test.left), Some(test.right)]
        }
        Node::Set { value, .. } => [Some(value), None],
        Node::Known { .. } => [None, None],
    }
}
