//! From text to program: the passes in their order.

use crate::assemble::{Target, assemble};
use crate::error::{ErrorKind, FilterError, Span};
use crate::graph::Graph;
use crate::lower::{Lowered, lower};
use crate::names::Names;
use crate::optimise;
use crate::options::Options;
use crate::parser::parse;
use crate::program::Program;
use crate::value::Values;

/// Compiles a filter. The empty text matches every packet.
///
/// Names are looked up in `names`; [`NoNames`](crate::NoNames) knows none, [`Tables`](crate::Tables) those of /etc.
///
/// # Errors
/// Everything that pcap-filter(7) does not allow, with its place in the text; a filter that contradicts itself; one that takes more than
/// 4096 instructions.
///
/// The same as `tcpdump -y LINKTYPE -d TEXT`.
pub fn compile(text: &str, options: &Options, names: &dyn Names) -> Result<Program, FilterError> {
    let all = Span::new(text.len() - text.trim_start().len(), text.trim_end().len());
    let steps = parse(text)?;
    let target = Target { snaplen: options.snaplen, optimise: options.optimise };
    let finished = |graph: &Graph, values: &Values| assemble(graph, values, target).map_err(|kind| kind.at(all));
    if steps.is_empty() {
        return finished(&Graph::new(), &Values::new(false));
    }
    let Lowered { mut graph, mut values, refuses_contradiction } = lower(&steps, options, names)?;
    if !options.optimise {
        initialise(&mut graph, &mut values);
        return finished(&graph, &values);
    }
    if optimise::is_contradiction(&mut graph, &values) && refuses_contradiction {
        return Err(ErrorKind::RejectsAll.at(all));
    }
    let special = optimise::specialise(&graph, &mut values);
    let mut programs = Vec::new();
    for mut candidate in [Some(graph), special].into_iter().flatten() {
        optimise::reduce(&mut candidate, &values);
        initialise(&mut candidate, &mut values);
        programs.push(finished(&candidate, &values));
    }
    // A candidate that is too long is no loss as long as the other one is not.
    programs.into_iter().min_by_key(|program| program.as_ref().map_or(usize::MAX, |program| program.insns().len())).expect(
        "there is always the graph itself",
    )
}

/// Writes zero to the variables that some path reads without having written them.
fn initialise(graph: &mut Graph, values: &mut Values) {
    let unwritten = optimise::unwritten(graph, values);
    optimise::zero(graph, values, &unwritten);
}
