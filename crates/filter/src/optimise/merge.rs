//! Making one of nodes that are alike.

use std::collections::HashMap;

use crate::graph::{Graph, Node, Target};

/// Merges nodes that test alike and lead alike, from the ends upward. Returns whether any were.
pub(super) fn merge(graph: &mut Graph) -> bool {
    let mut changed = false;
    let mut same: HashMap<Node, Target> = HashMap::new();
    // What each node is replaced by.
    let mut instead: Vec<Target> = (0..).map(Target::Node).take(graph.nodes.len()).collect();
    let resolve = |instead: &[Target], target: Target| match target {
        Target::Node(node) => instead[node as usize],
        end => end,
    };
    for &index in graph.topological(0).iter().rev() {
        let node = &mut graph.nodes[index as usize];
        for edge in node.edges_mut() {
            *edge = resolve(&instead, *edge);
        }
        instead[index as usize] = match *node {
            Node::Test { edges, .. } | Node::Known { edges, .. } if edges[0] == edges[1] => edges[0],
            Node::Known { outcome, edges } => edges[usize::from(outcome)],
            node => *same.entry(node).or_insert(Target::Node(index)),
        };
        changed |= instead[index as usize] != Target::Node(index);
    }
    graph.root = resolve(&instead, graph.root);
    changed
}
