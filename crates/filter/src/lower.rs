//! Tests to a graph: what each word of the language asks of a packet.
//!
//! # Theory of operation
//! One walk over the tests in text order. Where the headers begin is state ([`Layers`]) that `vlan`, `mpls`,
//! `pppoes`, `geneve` and `vxlan` change for everything to their right; every test is generated for the state
//! it is met in. A test becomes a [`Piece`] of graph, and `and`, `or`, `not` only wire pieces together.
//!
//! The order of the comparisons inside a test is that of libpcap, so that the two agree on packets that end
//! early.
//!
//! # References
//! pcap-filter(7); linux/filter.h and linux/if_packet.h for ancillary data.

mod address;
mod arithmetic;
mod chain;
mod decnet;
mod encapsulation;
mod layers;
mod link;
mod port;
mod primitive;
mod protocol;
mod tunnel;

use crate::ast::{Comparison, Operator, Placed, Step};
use crate::error::{ErrorKind, FilterError, Span};
use crate::graph::{Graph, Piece};
use crate::names::Names;
use crate::options::Options;
use crate::value::{Cell, Rules, Size, ValueId, Values};

use layers::{Layers, Offset};

pub use arithmetic::MAX_DEPTH;
pub use chain::{MAX_HEADERS_IP, MAX_HEADERS_IP6};

/// What became of a filter.
#[derive(Debug)]
pub(crate) struct Lowered {
    pub(crate) graph: Graph,
    pub(crate) values: Values,
    /// Whether a filter that can match nothing is refused. Not behind `geneve`, `vxlan` and `protochain`, as
    /// in libpcap.
    pub(crate) refuses_contradiction: bool,
}

/// Builds the graph of a filter that has at least one test, of values that follow `rules`. Its `text` is for
/// messages.
pub(crate) fn lower(
    text: &str,
    steps: &[Step],
    options: &Options,
    names: &dyn Names,
    rules: Rules,
) -> Result<Lowered, FilterError> {
    let mut lower = Lower {
        text,
        options,
        names,
        graph: Graph::new(),
        values: Values::new(rules),
        layers: Layers::new(options.link_type),
        next_cell: 0,
        registers: 0,
        refuses_contradiction: true,
    };
    let whole = lower.steps(steps)?;
    lower.graph.finish(&whole);
    Ok(Lowered {
        graph: lower.graph,
        values: lower.values,
        refuses_contradiction: lower.refuses_contradiction,
    })
}

/// The state of the walk.
struct Lower<'a> {
    text: &'a str,
    options: &'a Options,
    names: &'a dyn Names,
    graph: Graph,
    values: Values,
    layers: Layers,
    /// The first scratch variable that is not in use.
    next_cell: u32,
    /// How many cells libpcap would have in use now: its limit of 16 is part of the language.
    registers: u32,
    refuses_contradiction: bool,
}

impl Lower<'_> {
    fn steps(&mut self, steps: &[Step]) -> Result<Piece, FilterError> {
        let mut stack: Vec<Piece> = Vec::new();
        for step in steps {
            match step {
                Step::Test(primitive, span) => {
                    let piece = self.primitive(primitive, *span)?;
                    stack.push(piece);
                    if self.graph.nodes.len() > MAX_TESTS {
                        return Err(ErrorKind::TooManyTests(MAX_TESTS).at(*span));
                    }
                }
                Step::Not => {
                    let piece = stack.pop().map(Graph::not);
                    stack.extend(piece);
                }
                Step::And | Step::Or => {
                    let (second, first) = (stack.pop(), stack.pop());
                    let (Some(first), Some(second)) = (first, second) else { unreachable!("{OPERANDS}") };
                    let and = *step == Step::And;
                    stack.push(if and {
                        self.graph.and(first, second)
                    } else {
                        self.graph.or(first, second)
                    });
                }
            }
        }
        Ok(stack.pop().expect(OPERANDS))
    }

    /// A scratch variable. It is zero on paths that never write it.
    fn new_cell(&mut self) -> Cell {
        let cell = Cell(self.next_cell);
        self.next_cell += 1;
        cell
    }

    /// The bytes at an offset.
    fn load(&mut self, at: Offset, size: Size) -> ValueId {
        let base = at.cell.map(|cell| self.values.cell(cell));
        self.values.load(size, base, at.constant)
    }

    /// `left comparison right`.
    fn compare(&mut self, comparison: Comparison, left: ValueId, right: ValueId) -> Piece {
        let outcome = self.values.compare(comparison, left, right);
        self.graph.test(outcome)
    }

    /// `left comparison k`.
    fn compare_const(&mut self, comparison: Comparison, left: ValueId, k: u32) -> Piece {
        let right = self.values.constant(k);
        self.compare(comparison, left, right)
    }

    /// Whether the bytes at an offset are `k`.
    fn equal(&mut self, at: Offset, size: Size, k: u32) -> Piece {
        let left = self.load(at, size);
        self.compare_const(Comparison::Equal, left, k)
    }

    /// Whether the bytes at an offset are `k` where `mask` has bits.
    fn equal_masked(&mut self, at: Offset, size: Size, k: u32, mask: u32) -> Piece {
        let left = self.load(at, size);
        let left = if mask == u32::MAX { left } else { self.masked(left, mask) };
        self.compare_const(Comparison::Equal, left, k)
    }

    /// `value & mask`.
    fn masked(&mut self, value: ValueId, mask: u32) -> ValueId {
        self.operate_const(Operator::And, value, mask)
    }

    /// `value operator k`, for a `k` that the operator takes.
    fn operate_const(&mut self, operator: Operator, value: ValueId, k: u32) -> ValueId {
        let k = self.values.constant(k);
        self.operate(operator, value, k)
    }

    /// `left operator right`, for a `right` that the operator takes.
    fn operate(&mut self, operator: Operator, left: ValueId, right: ValueId) -> ValueId {
        self.values
            .binary(operator, left, right)
            .expect("our own constants are no zero divisors and no long shifts")
    }

    /// The bytes `bytes` at an offset, compared in words from the end, then a half word, then a byte.
    fn equal_bytes(&mut self, at: Offset, bytes: &[u8]) -> Piece {
        let mut piece: Option<Piece> = None;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (size, len) = match rest.len() {
                1 => (Size::Byte, 1),
                2 | 3 => (Size::Half, 2),
                _ => (Size::Word, 4),
            };
            let (before, last) = rest.split_at(rest.len() - len);
            let k = last.iter().fold(0, |k, byte| k << 8 | u32::from(*byte));
            let offset = u32::try_from(before.len()).expect("an address has a few bytes");
            let next = self.equal(at.plus(offset), size, k);
            piece = Some(match piece {
                Some(piece) => self.graph.and(piece, next),
                None => next,
            });
            rest = before;
        }
        piece.expect("an address has bytes")
    }

    /// Both pieces, or the one that there is.
    fn and_also(&mut self, first: Option<Piece>, second: Piece) -> Piece {
        match first {
            Some(first) => self.graph.and(first, second),
            None => second,
        }
    }

    /// All pieces, tried in their order.
    fn or_all(&mut self, pieces: impl IntoIterator<Item = Piece>) -> Option<Piece> {
        pieces.into_iter().reduce(|first, second| self.graph.or(first, second))
    }

    /// Takes one of the 16 cells that libpcap has.
    fn take_register(&mut self, span: Span) -> Result<(), FilterError> {
        if self.registers == REGISTERS {
            return Err(ErrorKind::TooManyRegisters.at(span));
        }
        self.registers += 1;
        Ok(())
    }

    /// A test that never holds.
    fn never(&mut self) -> Piece {
        let one = self.values.constant(1);
        self.compare_const(Comparison::Equal, one, 0)
    }

    /// What the user wrote at `span`.
    fn typed(&self, span: Span) -> String {
        self.text[span.start..span.end].to_owned()
    }

    /// The error that `what` does not exist on the link type in force.
    fn not_on_link(&self, what: &str, span: Span) -> FilterError {
        ErrorKind::NotOnLink { what: what.to_owned(), link: self.layers.name() }.at(span)
    }
}

/// How many nodes a graph may have before it is optimised. The kernel's 4096 instructions are reached far
/// below: four bytes of text, `or 1`, can ask for 27 tests, which 3 instructions may do in the end.
const MAX_TESTS: usize = 1 << 17;

/// `BPF_MEMWORDS`, linux/bpf_common.h.
pub(crate) const REGISTERS: u32 = 16;

/// What the parser promises.
const OPERANDS: &str = "the parser emits an operator behind its operands";

/// The number behind a word, if it is no greater than `max`.
fn optional_limit(
    what: &'static str,
    number: Option<Placed<u32>>,
    max: u32,
) -> Result<Option<u32>, FilterError> {
    number.map(|number| limit(what, number.value, max, number.span)).transpose()
}

/// `value`, if it is no greater than `max`.
fn limit(what: &'static str, value: u32, max: u32, span: Span) -> Result<u32, FilterError> {
    if value > max { Err(ErrorKind::TooLarge { what, value, max }.at(span)) } else { Ok(value) }
}
