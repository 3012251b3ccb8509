//! From text to program: the passes in their order.

use crate::assemble::{Target, assemble};
use crate::error::{ErrorKind, FilterError, Span};
use crate::graph::Graph;
use crate::lower::{Lowered, lower};
use crate::names::Names;
use crate::optimise::{self, Knowledge};
use crate::options::Options;
use crate::parser::parse;
use crate::program::Program;
use crate::value::{Rules, Values};

/// Compiles a filter. The empty text matches every packet.
///
/// Names are looked up in `names`; [`NoNames`](crate::NoNames) knows none, [`Tables`](crate::Tables) those of
/// /etc.
///
/// # Errors
/// Everything that pcap-filter(7) does not allow, with its place in the text; a filter that contradicts
/// itself; one that takes more than 4096 instructions.
///
/// It is what `tcpdump -y LINKTYPE -d TEXT` refuses, but for what the table of differences in the
/// [crate's documentation](crate) lists.
pub fn compile(text: &str, options: &Options, names: &dyn Names) -> Result<Program, FilterError> {
    let all = Span::new(text.len() - text.trim_start().len(), text.trim_end().len());
    let steps = parse(text)?;
    let target = Target { snaplen: options.snaplen, optimise: options.optimise };
    let finished =
        |graph: &Graph, values: &Values| assemble(graph, values, target).map_err(|kind| kind.at(all));
    if steps.is_empty() {
        return finished(&Graph::new(), &Values::new(Rules::Literal));
    }
    if !options.optimise {
        let Lowered { mut graph, mut values, .. } = lower(text, &steps, options, names, Rules::Literal)?;
        initialise(&mut graph, &mut values);
        return finished(&graph, &values);
    }
    let Lowered { mut graph, values, refuses_contradiction } =
        lower(text, &steps, options, names, Rules::Reference)?;
    if refuses_contradiction && optimise::is_contradiction(&mut graph, &values) {
        return Err(ErrorKind::RejectsAll.at(all));
    }
    let Lowered { graph, mut values, .. } = lower(text, &steps, options, names, Rules::Full)?;
    let special = optimise::specialise(&graph, &mut values);
    // More knowledge skips more tests, which at times takes away what could have been shared. So both are
    // tried.
    let mut best = None;
    for graph in std::iter::once(graph).chain(special) {
        for knowledge in [Knowledge::Full, Knowledge::Reference] {
            let mut graph = graph.clone();
            optimise::reduce(&mut graph, &values, knowledge);
            initialise(&mut graph, &mut values);
            best = Some(shorter(best, finished(&graph, &values)));
        }
    }
    best.unwrap_or_else(|| unreachable!("there is always a candidate"))
}

/// The shorter program; one that the kernel does not take is longer than any other.
fn shorter(
    best: Option<Result<Program, FilterError>>,
    other: Result<Program, FilterError>,
) -> Result<Program, FilterError> {
    let length =
        |program: &Result<Program, _>| program.as_ref().map_or(usize::MAX, |program| program.insns().len());
    match best {
        Some(best) if length(&best) <= length(&other) => best,
        _ => other,
    }
}

/// Writes zero to the variables that some path reads without having written them.
fn initialise(graph: &mut Graph, values: &mut Values) {
    let unwritten = optimise::unwritten(graph, values);
    optimise::zero(graph, values, &unwritten);
}
