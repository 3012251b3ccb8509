//! Skipping tests whose outcome is known.
//!
//! # Theory of operation
//! What holds on an edge are the outcomes of all edges that *dominate* it: those that every path to it runs
//! through. Nodes and edges together form a dominator tree; one walk over it keeps the outcomes from the root
//! to where it is, and leads every edge past the tests that they decide. The walk handles what is below an
//! edge before the edge itself, so that chains of skips are short.

use crate::ast::Comparison;
use crate::graph::{Graph, Node, Target};
use crate::value::{TestId, ValueId, Values, holds};

use super::Knowledge;

/// Leads every edge past the tests that are decided on it. Returns whether any edge moved.
pub(super) fn thread(graph: &mut Graph, values: &Values, knowledge: Knowledge) -> bool {
    let tree = Tree::new(graph);
    let mut facts = Facts::new(values, knowledge);
    let mut changed = false;
    let mut stack = vec![Step::Enter(tree.root)];
    while let Some(step) = stack.pop() {
        match step {
            Step::Enter(vertex) => {
                if let Some((node, side)) = tree.edge(vertex) {
                    facts.learn(&graph.nodes[node], side);
                    stack.push(Step::Leave(node, side));
                }
                stack.extend(tree.children(vertex).map(Step::Enter));
            }
            Step::Leave(node, side) => {
                changed |= lead(graph, &facts, node, side);
                facts.forget();
            }
        }
    }
    let root = facts.follow(graph, graph.root);
    changed |= root != graph.root;
    graph.root = root;
    changed
}

/// A step of the walk.
enum Step {
    Enter(u32),
    /// All below this edge is done.
    Leave(usize, usize),
}

fn lead(graph: &mut Graph, facts: &Facts<'_>, node: usize, side: usize) -> bool {
    let before = graph.nodes[node].edges()[side];
    let after = facts.follow(graph, before);
    graph.nodes[node].edges_mut()[side] = after;
    before != after
}

/// The dominator tree over nodes and edges. A vertex is a node's number, or behind those an edge's.
struct Tree {
    root: u32,
    first_edge: u32,
    /// Per vertex: the one above it, an older one to jump to, and how deep it is.
    above: Vec<u32>,
    jump: Vec<u32>,
    depth: Vec<u32>,
    /// Per vertex: its children, as a list linked through `sibling`.
    child: Vec<u32>,
    sibling: Vec<u32>,
}

impl Tree {
    fn new(graph: &Graph) -> Self {
        let nodes = u32::try_from(graph.nodes.len()).expect("the number of nodes has a limit");
        let vertices = nodes as usize * 3 + 1;
        // The root stands above the first node, so that there is a vertex even if there is no node.
        let root = nodes * 3;
        let mut tree = Self {
            root,
            first_edge: nodes,
            above: vec![NONE; vertices],
            jump: vec![root; vertices],
            depth: vec![0; vertices],
            child: vec![NONE; vertices],
            sibling: vec![NONE; vertices],
        };
        let order = graph.topological(0);
        if let Target::Node(first) = graph.root {
            tree.above[first as usize] = root;
        }
        for &node in &order {
            // All edges into the node are known by now.
            tree.settle(node);
            for (side, edge) in (0..).zip(graph.nodes[node as usize].edges()) {
                let vertex = nodes + node * 2 + side;
                tree.above[vertex as usize] = node;
                tree.settle(vertex);
                if let Target::Node(to) = *edge {
                    tree.above[to as usize] = match tree.above[to as usize] {
                        NONE => vertex,
                        other => tree.common(other, vertex),
                    };
                }
            }
        }
        tree
    }

    /// Fixes the place of a vertex whose `above` is final.
    fn settle(&mut self, vertex: u32) {
        let above = self.above[vertex as usize];
        let (v, up) = (vertex as usize, above as usize);
        self.depth[v] = self.depth[up] + 1;
        // Jump pointers of skew-binary lengths: any ancestor is reached in a logarithmic number of steps.
        let far = self.jump[up];
        let further = self.jump[far as usize];
        let even = self.depth[up] - self.depth[far as usize]
            == self.depth[far as usize] - self.depth[further as usize];
        self.jump[v] = if even { further } else { above };
        self.sibling[v] = self.child[up];
        self.child[up] = vertex;
    }

    /// The deepest vertex above both.
    fn common(&self, a: u32, b: u32) -> u32 {
        let (mut low, mut high) =
            if self.depth[a as usize] > self.depth[b as usize] { (a, b) } else { (b, a) };
        while self.depth[low as usize] > self.depth[high as usize] {
            let jump = self.jump[low as usize];
            let reaches = self.depth[jump as usize] >= self.depth[high as usize];
            low = if reaches { jump } else { self.above[low as usize] };
        }
        while low != high {
            let (low_jump, high_jump) = (self.jump[low as usize], self.jump[high as usize]);
            if low_jump == high_jump {
                (low, high) = (self.above[low as usize], self.above[high as usize]);
            } else {
                (low, high) = (low_jump, high_jump);
            }
        }
        low
    }

    /// Node and side of an edge vertex.
    fn edge(&self, vertex: u32) -> Option<(usize, usize)> {
        let edge = vertex.checked_sub(self.first_edge).filter(|_| vertex != self.root)? as usize;
        Some((edge / 2, edge % 2))
    }

    /// What is right below a vertex, in topological order. Pushed on a stack, the last of them is handled
    /// first.
    fn children(&self, vertex: u32) -> impl Iterator<Item = u32> + use<> {
        let first = Some(self.child[vertex as usize]).filter(|child| *child != NONE);
        let next = |child: &u32| Some(self.sibling[*child as usize]).filter(|sibling| *sibling != NONE);
        let children: Vec<u32> = std::iter::successors(first, next).collect();
        children.into_iter().rev()
    }
}

const NONE: u32 = u32::MAX;

/// The range of a value of which nothing is known.
const ANY: (u32, u32) = (0, u32::MAX);

/// What is known on the way from the root of the tree to the place of the walk.
struct Facts<'a> {
    values: &'a Values,
    knowledge: Knowledge,
    /// Per test, its outcome.
    outcomes: Vec<Option<bool>>,
    /// Per value, its bounds; one number if it is known to be equal to it.
    ranges: Vec<(u32, u32)>,
    /// What the facts were before each edge.
    undo: Vec<Option<Undo>>,
}

/// What [`Facts::learn`] overwrote.
struct Undo {
    test: TestId,
    outcome: Option<bool>,
    value: ValueId,
    range: (u32, u32),
}

impl<'a> Facts<'a> {
    fn new(values: &'a Values, knowledge: Knowledge) -> Self {
        let ranges = vec![ANY; values.value_count()];
        Self { values, knowledge, outcomes: vec![None; values.test_count()], ranges, undo: Vec::new() }
    }

    /// Adds the outcome that an edge stands for.
    fn learn(&mut self, node: &Node, side: usize) {
        let Node::Test { test: id, .. } = *node else {
            self.undo.push(None);
            return;
        };
        let test = self.values.test(id);
        let (value, outcome) = (test.left, side == 1);
        let range = self.ranges[value.index()];
        self.undo.push(Some(Undo { test: id, outcome: self.outcomes[id.index()], value, range }));
        self.outcomes[id.index()] = Some(outcome);
        if let Some(k) = self.values.as_const(test.right) {
            self.ranges[value.index()] = self.narrowed(range, test.comparison, k, outcome);
        }
    }

    fn narrowed(&self, (low, high): (u32, u32), comparison: Comparison, k: u32, outcome: bool) -> (u32, u32) {
        match (comparison, outcome, self.knowledge) {
            (Comparison::Equal, true, _) => (k, k),
            (Comparison::Equal, false, Knowledge::Full) if low == k && low < high => (low + 1, high),
            (Comparison::Equal, false, Knowledge::Full) if high == k && low < high => (low, high - 1),
            (Comparison::Greater, true, Knowledge::Full) => (low.max(k.saturating_add(1)), high),
            (Comparison::Greater, false, Knowledge::Full) => (low, high.min(k)),
            (Comparison::GreaterOrEqual, true, Knowledge::Full) => (low.max(k), high),
            (Comparison::GreaterOrEqual, false, Knowledge::Full) => (low, high.min(k.saturating_sub(1))),
            _ => (low, high),
        }
    }

    /// Takes back what the last edge added.
    fn forget(&mut self) {
        if let Some(Some(undo)) = self.undo.pop() {
            self.outcomes[undo.test.index()] = undo.outcome;
            self.ranges[undo.value.index()] = undo.range;
        }
    }

    /// The outcome of a test, if it is known.
    fn decide(&self, id: TestId) -> Option<bool> {
        if let Some(outcome) = self.outcomes[id.index()] {
            return Some(outcome);
        }
        let test = self.values.test(id);
        let k = self.values.as_const(test.right)?;
        let range @ (low, high) = self.ranges[test.left.index()];
        // `ip[0] >= 0` is left alone: it still asks for a packet that is long enough.
        if range == ANY {
            return None;
        }
        match (self.knowledge, test.comparison) {
            // The reference concludes from one equality to another only.
            (Knowledge::Reference, Comparison::Equal) => (low == high).then_some(low == k),
            (Knowledge::Reference, _) => None,
            (Knowledge::Full, Comparison::Equal) if k < low || k > high => Some(false),
            (Knowledge::Full, Comparison::AnyBit) if low != high => {
                (k != 0 && high < k & k.wrapping_neg()).then_some(false)
            }
            (Knowledge::Full, comparison) => {
                let (at_low, at_high) = (holds(comparison, low, k), holds(comparison, high, k));
                let decided = at_low == at_high && (low == high || comparison != Comparison::Equal);
                decided.then_some(at_low)
            }
        }
    }

    /// Where an edge to `target` can lead instead.
    fn follow(&self, graph: &Graph, mut target: Target) -> Target {
        while let Target::Node(node) = target {
            target = match graph.nodes[node as usize] {
                Node::Known { outcome, edges } => edges[usize::from(outcome)],
                Node::Test { edges, .. } if edges[0] == edges[1] => edges[0],
                Node::Test { test, edges } => match self.decide(test) {
                    Some(outcome) => edges[usize::from(outcome)],
                    None => break,
                },
                // Nobody reads a variable at an end.
                Node::Set { edge: end @ (Target::Accept | Target::Reject), .. } => end,
                Node::Set { .. } => break,
            };
        }
        target
    }
}
