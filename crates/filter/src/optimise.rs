//! A smaller graph that decides alike.
//!
//! # Theory of operation
//! Values never change while a filter runs, so a test whose outcome is implied by the tests before it can be skipped ([`thread`]). Tests of one
//! value in a chain with one exit are brought together, so that the value is loaded once ([`group`]). Nodes that are alike are made one
//! ([`merge`]). Each of these can make work for the others, so they take turns until nothing changes.
//!
//! A filter that can match nothing is an error of the language, and *which* contradictions are seen is too: those that libpcap's
//! optimiser sees. So the first round knows no more than it does: the outcome of an equal test on every path here, and that a value
//! which equals one constant equals no other. What is known beyond that is used only once the verdict stands.

mod dead;
mod group;
mod merge;
mod specialise;
mod thread;

use crate::graph::{Graph, Target};
use crate::value::Values;

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

/// Whether the graph, seen as libpcap sees it, can match nothing. Leaves it simplified.
pub(crate) fn is_contradiction(graph: &mut Graph, values: &Values) -> bool {
    for _ in 0..MAX_ROUNDS {
        let threaded = thread::thread(graph, values, Knowledge::Reference);
        let grouped = group::group(graph, values);
        if !threaded && !grouped {
            break;
        }
    }
    graph.root == Target::Reject
}

/// Makes the graph as small as it gets.
pub(crate) fn reduce(graph: &mut Graph, values: &Values) {
    for _ in 0..MAX_ROUNDS {
        let threaded = thread::thread(graph, values, Knowledge::Full);
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
