//! One copy of the program for each constant that a variable can hold.
//!
//! A `vlan` on a live socket leaves a variable that is 0 or 4. With it, every load behind takes an
//! instruction more; with a copy of the rest for 0 and one for 4 there is no variable. Which is shorter
//! depends on the rest, so both are made and the shorter one is taken.

use std::collections::HashMap;

use crate::graph::{Graph, Node, Target};
use crate::value::{Cell, Outcome, Values};

/// The graph without variables, if constants are all that is ever written to its only one.
pub(crate) fn specialise(graph: &Graph, values: &mut Values) -> Option<Graph> {
    let order = graph.topological(0);
    let mut cell = None;
    for &node in &order {
        if let Node::Set { cell: written, value, .. } = graph.nodes[node as usize] {
            values.as_const(value)?;
            if *cell.get_or_insert(written) != written {
                return None;
            }
        }
    }
    let mut copies = Copies { graph, values, cell: cell?, made: HashMap::new(), nodes: Vec::new() };
    copies.make_all(&order);
    let root = copies.target(graph.root, 0);
    Some(Graph { nodes: copies.nodes, root })
}

struct Copies<'a> {
    graph: &'a Graph,
    values: &'a mut Values,
    cell: Cell,
    /// The copy of a node for a constant.
    made: HashMap<(u32, u32), Target>,
    nodes: Vec<Node>,
}

impl Copies<'_> {
    /// Copies every node for every constant, the last one first, so that what a node leads to is there before
    /// it.
    fn make_all(&mut self, order: &[u32]) {
        let mut constants: Vec<u32> = vec![0];
        for &node in order {
            if let Node::Set { value, .. } = self.graph.nodes[node as usize] {
                constants.extend(self.values.as_const(value));
            }
        }
        constants.sort_unstable();
        constants.dedup();
        for &node in order.iter().rev() {
            for &constant in &constants {
                let copy = self.copy(node, constant);
                self.made.insert((node, constant), copy);
            }
        }
    }

    fn copy(&mut self, node: u32, constant: u32) -> Target {
        let copy = match self.graph.nodes[node as usize] {
            // A write is gone, and the constant is what comes after it.
            Node::Set { value, edge, .. } => {
                let written = self.values.as_const(value).unwrap_or(constant);
                return self.target(edge, written);
            }
            Node::Known { outcome, edges } => return self.target(edges[usize::from(outcome)], constant),
            Node::Test { test, edges } => {
                let edges = edges.map(|edge| self.target(edge, constant));
                let test = self.values.test(test);
                let left = self.values.substitute(test.left, self.cell, constant);
                let right = self.values.substitute(test.right, self.cell, constant);
                match self.values.compare(test.comparison, left, right) {
                    Outcome::Known(outcome) => return edges[usize::from(outcome)],
                    Outcome::Open { test, negated: false } => Node::Test { test, edges },
                    Outcome::Open { test, negated: true } => Node::Test { test, edges: [edges[1], edges[0]] },
                }
            }
        };
        let index = u32::try_from(self.nodes.len()).expect("the number of nodes has a limit");
        self.nodes.push(copy);
        Target::Node(index)
    }

    fn target(&self, target: Target, constant: u32) -> Target {
        match target {
            Target::Node(node) => self.made[&(node, constant)],
            end => end,
        }
    }
}
