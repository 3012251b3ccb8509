//! The program as a graph of tests: what is built from the text, and what the optimiser works on.
//!
//! A node compares two values and has an edge for either outcome, or writes a scratch variable and has one
//! edge. All edges lead forward, to another node or to one of the two ends.

use crate::value::{Cell, Outcome, TestId, ValueId};

/// Where an edge leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Target {
    Node(u32),
    Accept,
    Reject,
}

/// One node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Node {
    /// Goes to `edges[1]` if the test holds, else to `edges[0]`.
    Test { test: TestId, edges: [Target; 2] },
    /// Goes to `edges[outcome]`: a test whose outcome is known when it is built.
    Known { outcome: bool, edges: [Target; 2] },
    /// Writes a value to a variable.
    Set { cell: Cell, value: ValueId, edge: Target },
}

impl Node {
    pub(crate) fn edges(&self) -> &[Target] {
        match self {
            Self::Test { edges, .. } | Self::Known { edges, .. } => edges,
            Self::Set { edge, .. } => std::slice::from_ref(edge),
        }
    }

    pub(crate) fn edges_mut(&mut self) -> &mut [Target] {
        match self {
            Self::Test { edges, .. } | Self::Known { edges, .. } => edges,
            Self::Set { edge, .. } => std::slice::from_mut(edge),
        }
    }
}

/// An edge: a node and which of its edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) node: u32,
    pub(crate) side: u8,
}

/// A piece of a program: where it begins, and the edges that leave it when it matches and when it does not.
#[derive(Debug)]
pub(crate) struct Piece {
    head: u32,
    /// The open edges, by outcome.
    exits: [Vec<Edge>; 2],
}

/// Nodes, and where to begin.
#[derive(Clone, Debug)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) root: Target,
}

impl Graph {
    pub(crate) fn new() -> Self {
        Self { nodes: Vec::new(), root: Target::Accept }
    }

    fn push(&mut self, node: Node) -> u32 {
        let index = u32::try_from(self.nodes.len()).expect("the number of tests has a limit");
        self.nodes.push(node);
        index
    }

    /// A piece of one test.
    pub(crate) fn test(&mut self, outcome: Outcome) -> Piece {
        let edges = [Target::Reject, Target::Accept];
        let (node, negated) = match outcome {
            Outcome::Known(outcome) => (Node::Known { outcome, edges }, false),
            Outcome::Open { test, negated } => (Node::Test { test, edges }, negated),
        };
        let head = self.push(node);
        let exit = |side| vec![Edge { node: head, side }];
        let piece = Piece { head, exits: [exit(0), exit(1)] };
        if negated { Self::not(piece) } else { piece }
    }

    /// The piece that matches where `piece` does not.
    pub(crate) fn not(mut piece: Piece) -> Piece {
        piece.exits.swap(0, 1);
        piece
    }

    /// `first`, then, if it matches, `second`.
    pub(crate) fn and(&mut self, first: Piece, second: Piece) -> Piece {
        self.join(first, second, true)
    }

    /// `first`, then, unless it matches, `second`.
    pub(crate) fn or(&mut self, first: Piece, second: Piece) -> Piece {
        self.join(first, second, false)
    }

    /// `first`, then, if its outcome is `on`, `second`.
    fn join(&mut self, first: Piece, second: Piece, on: bool) -> Piece {
        let [no, yes] = first.exits;
        let (through, around) = if on { (yes, no) } else { (no, yes) };
        self.lead(&through, Target::Node(second.head));
        let mut exits = second.exits;
        let side = &mut exits[usize::from(!on)];
        *side = append(around, std::mem::take(side));
        Piece { head: first.head, exits }
    }

    /// `piece`, with `value` written to `cell` where its outcome is `on`.
    pub(crate) fn set_on(&mut self, mut piece: Piece, on: bool, cell: Cell, value: ValueId) -> Piece {
        let head = self.push(Node::Set { cell, value, edge: Target::Accept });
        let exits = &mut piece.exits[usize::from(on)];
        let through = std::mem::replace(exits, vec![Edge { node: head, side: 0 }]);
        self.lead(&through, Target::Node(head));
        piece
    }

    /// The piece that goes through `piece` and matches whatever its outcome.
    pub(crate) fn always(piece: Piece) -> Piece {
        let [no, yes] = piece.exits;
        Piece { head: piece.head, exits: [Vec::new(), append(no, yes)] }
    }

    /// Makes `piece` the whole program.
    pub(crate) fn finish(&mut self, piece: &Piece) {
        self.lead(&piece.exits[0], Target::Reject);
        self.lead(&piece.exits[1], Target::Accept);
        self.root = Target::Node(piece.head);
    }

    fn lead(&mut self, edges: &[Edge], to: Target) {
        for edge in edges {
            self.nodes[edge.node as usize].edges_mut()[usize::from(edge.side)] = to;
        }
    }

    /// Every node that can be reached, each before all that it leads to.
    ///
    /// Of two successors the one at `edges[near]` comes later in the list's order of visits, so that it ends
    /// up nearer to its node.
    pub(crate) fn topological(&self, near: usize) -> Vec<u32> {
        let mut order = Vec::with_capacity(self.nodes.len());
        let mut state = vec![Visit::New; self.nodes.len()];
        let mut stack = vec![self.root];
        while let Some(&target) = stack.last() {
            let Target::Node(node) = target else {
                stack.pop();
                continue;
            };
            match state[node as usize] {
                Visit::New => {
                    state[node as usize] = Visit::Open;
                    let edges = self.nodes[node as usize].edges();
                    // The last one pushed is visited first, and what is visited first is placed last.
                    let near = near.min(edges.len() - 1);
                    stack.push(edges[near]);
                    stack.extend(
                        edges.iter().enumerate().filter(|(side, _)| *side != near).map(|(_, edge)| *edge),
                    );
                }
                Visit::Open => {
                    state[node as usize] = Visit::Done;
                    order.push(node);
                    stack.pop();
                }
                Visit::Done => {
                    stack.pop();
                }
            }
        }
        order.reverse();
        order
    }
}

/// How far the search has come with a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    New,
    Open,
    Done,
}

/// Both lists in one. The order of exits does not matter, so the shorter list is moved.
fn append(mut a: Vec<Edge>, mut b: Vec<Edge>) -> Vec<Edge> {
    if a.len() < b.len() {
        std::mem::swap(&mut a, &mut b);
    }
    a.append(&mut b);
    a
}
