//! A smaller graph that decides alike.
//!
//! # Theory of operation
//! Values never change while a filter runs, so a test whose outcome is implied by the tests before it can be
//! skipped ([`thread`]). Tests of one value in a chain with one exit are brought together, so that the value
//! is loaded once ([`group`]). Nodes that are alike are made one ([`merge`]). Each of these can make work for
//! the others, so they take turns until nothing changes.
//!
//! A filter that can match nothing is an error of the language, and *which* contradictions are seen is too:
//! those that libpcap's optimiser sees. So the first round knows no more than it does: the outcome of an
//! equal test on every path here, and that a value which equals one constant equals no other. What is known
//! beyond that is used only once the verdict stands.

mod dead;
mod group;
mod merge;
mod specialise;
mod thread;

use crate::graph::{Graph, Node, Target};
use crate::value::{Rules, Values};

pub(crate) use dead::{unwritten, zero};
pub(crate) use specialise::specialise;

/// How much [`thread`] may conclude.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Knowledge {
    /// What libpcap's optimiser knows.
    Reference,
    /// Also ranges.
    Full,
}

/// Whether the graph can match nothing, as far as libpcap sees. Its values follow [`Rules::Reference`].
///
/// libpcap decides tests before it computes with constants; what it computes then still decides the first
/// test of the program, and only that.
pub(crate) fn is_contradiction(graph: &mut Graph, values: &Values) -> bool {
    settle(graph, values, Knowledge::Reference);
    let mut computed = Values::new(Rules::Full);
    while let Target::Node(root) = graph.root {
        let Node::Test { test, edges } = graph.nodes[root as usize] else { break };
        let Some(outcome) = computed.known_outcome(values, values.test(test)) else { break };
        graph.root = edges[usize::from(outcome)];
    }
    graph.root == Target::Reject
}

/// Skips what is decided and groups what is alike, until nothing changes.
fn settle(graph: &mut Graph, values: &Values, knowledge: Knowledge) {
    for _ in 0..MAX_ROUNDS {
        let threaded = thread::thread(graph, values, knowledge);
        let grouped = group::group(graph, values);
        if !threaded && !grouped {
            break;
        }
    }
}

/// Makes the graph as small as it gets.
pub(crate) fn reduce(graph: &mut Graph, values: &Values, knowledge: Knowledge) {
    // Merged nodes have more paths to them, on which less is known. So nothing is merged before all is known.
    settle(graph, values, knowledge);
    for _ in 0..MAX_ROUNDS {
        let threaded = thread::thread(graph, values, knowledge);
        let merged = merge::merge(graph);
        let grouped = group::group(graph, values);
        let cleared = dead::remove_dead_writes(graph, values);
        if !threaded && !merged && !grouped && !cleared {
            break;
        }
    }
}

/// A bound only: a filter settles after three to ten rounds.
const MAX_ROUNDS: usize = 40;
