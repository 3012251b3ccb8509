//! Bringing tests of one value together.
//!
//! A chain of tests with one exit, `a or b or c` or `a and b and c`, may be done in any order. In the order
//! of the text a value is loaded whenever a test of another value came between; in groups it is loaded once.

use std::collections::HashMap;

use crate::graph::{Graph, Node, Target};
use crate::value::{TestId, ValueId, Values};

/// Reorders every chain. Returns whether any order changed.
pub(super) fn group(graph: &mut Graph, values: &Values) -> bool {
    let order = graph.topological(0);
    let inputs = Inputs::new(graph, values, &order);
    let mut done = vec![false; graph.nodes.len()];
    let mut changed = false;
    for &head in &order {
        if done[head as usize] {
            continue;
        }
        let chains = [0, 1].map(|exit_side| Chain::from(graph, values, &inputs, head, exit_side));
        let [on_false, on_true] = chains;
        let chain = if on_true.links.len() >= on_false.links.len() { on_true } else { on_false };
        for link in &chain.links {
            done[link.node as usize] = true;
        }
        let first = inputs.value_before(head);
        let sorted = sorted(&chain.links, values, first);
        changed |= sorted.iter().zip(&chain.links).any(|(new, old)| new.node != old.node);
        chain.store(graph, &sorted);
    }
    changed
}

/// What leads to each node.
struct Inputs {
    count: Vec<u32>,
    /// The value that every test before the node has compared.
    before: Vec<Option<ValueId>>,
}

impl Inputs {
    fn new(graph: &Graph, values: &Values, order: &[u32]) -> Self {
        let mut inputs = Self { count: vec![0; graph.nodes.len()], before: vec![None; graph.nodes.len()] };
        for &node in order {
            let compared = match graph.nodes[node as usize] {
                Node::Test { test, .. } => Some(values.test(test).left),
                _ => None,
            };
            for edge in graph.nodes[node as usize].edges() {
                let Target::Node(to) = *edge else { continue };
                let to = to as usize;
                let same = inputs.count[to] == 0 || inputs.before[to] == compared;
                inputs.before[to] = compared.filter(|_| same);
                inputs.count[to] += 1;
            }
        }
        inputs
    }

    fn value_before(&self, node: u32) -> Option<ValueId> {
        self.before[node as usize]
    }
}

/// One test of a chain: its node, and on which outcome it leaves.
#[derive(Clone, Copy)]
struct Link {
    node: u32,
    test: TestId,
    exit_side: usize,
}

/// Tests that all leave to one place, and go on to each other else.
struct Chain {
    links: Vec<Link>,
    exit: Target,
    end: Target,
}

impl Chain {
    /// The longest chain from `head` on whose exit is where `head` goes on `exit_side`.
    fn from(graph: &Graph, values: &Values, inputs: &Inputs, head: u32, exit_side: usize) -> Self {
        let mut chain = Self { links: Vec::new(), exit: Target::Reject, end: Target::Node(head) };
        let Node::Test { edges, .. } = graph.nodes[head as usize] else { return chain };
        chain.exit = edges[exit_side];
        while let Target::Node(node) = chain.end {
            let Node::Test { test, edges } = graph.nodes[node as usize] else { break };
            let inner = chain.links.is_empty() || inputs.count[node as usize] == 1;
            // A division by zero ends the program, so what stands before it must stay there.
            if !inner || values.traps(test) {
                break;
            }
            let Some(exit_side) = edges.iter().position(|edge| *edge == chain.exit) else { break };
            chain.links.push(Link { node, test, exit_side });
            chain.end = edges[1 - exit_side];
        }
        chain
    }

    /// Puts the tests `sorted` in the places that the chain has.
    fn store(&self, graph: &mut Graph, sorted: &[Link]) {
        let next = self.links.iter().skip(1).map(|link| Target::Node(link.node)).chain([self.end]);
        for ((place, link), next) in self.links.iter().zip(sorted).zip(next) {
            let mut edges = [next; 2];
            edges[link.exit_side] = self.exit;
            graph.nodes[place.node as usize] = Node::Test { test: link.test, edges };
        }
    }
}

/// The links in groups of one value, in the order in which the values appear; those of `first` before all.
fn sorted(links: &[Link], values: &Values, first: Option<ValueId>) -> Vec<Link> {
    let mut rank: HashMap<ValueId, usize> = first.into_iter().map(|value| (value, 0)).collect();
    let ranks: Vec<usize> = links
        .iter()
        .map(|link| {
            let next = rank.len();
            *rank.entry(values.test(link.test).left).or_insert(next)
        })
        .collect();
    let mut order: Vec<usize> = (0..links.len()).collect();
    order.sort_unstable_by_key(|&index| (ranks[index], index));
    order.into_iter().map(|index| links[index]).collect()
}
