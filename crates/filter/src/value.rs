//! What a program computes: expressions over the packet, each stored once and named by a number.
//!
//! Two expressions with the same number always have the same value, and while a filter runs a value never
//! changes: the packet does not, and a scratch cell is written before it is read (see [`Value::Cell`]). That
//! is what lets the optimiser move and drop tests freely.

mod simplify;

use std::collections::HashMap;

use crate::ast::{Comparison, Operator};
use crate::error::ErrorKind;

/// The name of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ValueId(u32);

impl ValueId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// The name of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TestId(u32);

impl TestId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// The name of a scratch variable. There may be more of them than the machine has cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Cell(pub(crate) u32);

/// How many bytes a load takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Size {
    Byte,
    Half,
    Word,
}

/// An expression. All arithmetic is of 32 unsigned bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Value {
    Const(u32),
    /// The length of the packet on the wire.
    Length,
    /// The length of the IPv4 header at this offset, in bytes: `4*([k]&0xf)`.
    HeaderLength(u32),
    /// The bytes at `base` + `offset`, in network order.
    Load {
        size: Size,
        base: Option<ValueId>,
        offset: u32,
    },
    /// A scratch variable. Every path writes it before it reads it, and at most once between reads, so this
    /// is a value too.
    Cell(Cell),
    Negate(ValueId),
    Binary(Operator, ValueId, ValueId),
}

/// A comparison of two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Test {
    pub(crate) comparison: Comparison,
    pub(crate) left: ValueId,
    pub(crate) right: ValueId,
}

/// A comparison, or its outcome where that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Known(bool),
    /// The test, and whether its outcome is to be turned around.
    Open {
        test: TestId,
        negated: bool,
    },
}

/// What is kept of a value beside it.
#[derive(Clone, Copy, Debug)]
struct Properties {
    depth: u32,
    /// A division by something that may be zero: computing it can end the program.
    traps: bool,
}

/// How much expressions are simplified when they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    /// Not at all.
    Literal,
    /// Comparisons only, as far as libpcap does before it settles which tests are decided.
    Reference,
    /// As far as it goes.
    Full,
}

/// All values and tests of one filter.
#[derive(Debug)]
pub(crate) struct Values {
    all: Vec<Value>,
    properties: Vec<Properties>,
    value_ids: HashMap<Value, ValueId>,
    tests: Vec<Test>,
    test_ids: HashMap<Test, TestId>,
    rules: Rules,
}

impl Values {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            all: Vec::new(),
            properties: Vec::new(),
            value_ids: HashMap::new(),
            tests: Vec::new(),
            test_ids: HashMap::new(),
            rules,
        }
    }

    pub(crate) fn value(&self, id: ValueId) -> Value {
        self.all[id.index()]
    }

    pub(crate) fn test(&self, id: TestId) -> Test {
        self.tests[id.index()]
    }

    pub(crate) fn value_count(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn test_count(&self) -> usize {
        self.tests.len()
    }

    /// The constant that a value is.
    pub(crate) fn as_const(&self, id: ValueId) -> Option<u32> {
        match self.value(id) {
            Value::Const(k) => Some(k),
            _ => None,
        }
    }

    /// Whether computing either side of the test can end the program with a division by zero.
    pub(crate) fn traps(&self, test: TestId) -> bool {
        let test = self.test(test);
        self.properties[test.left.index()].traps || self.properties[test.right.index()].traps
    }

    /// How deep the expression is nested.
    pub(crate) fn depth(&self, id: ValueId) -> u32 {
        self.properties[id.index()].depth
    }

    pub(crate) fn constant(&mut self, k: u32) -> ValueId {
        self.intern(Value::Const(k))
    }

    pub(crate) fn length(&mut self) -> ValueId {
        self.intern(Value::Length)
    }

    pub(crate) fn header_length(&mut self, offset: u32) -> ValueId {
        self.intern(Value::HeaderLength(offset))
    }

    pub(crate) fn cell(&mut self, cell: Cell) -> ValueId {
        self.intern(Value::Cell(cell))
    }

    /// The value of a variable, if anything reads it.
    pub(crate) fn existing_cell(&self, cell: Cell) -> Option<ValueId> {
        self.value_ids.get(&Value::Cell(cell)).copied()
    }

    /// The bytes at `base` + `offset`.
    pub(crate) fn load(&mut self, size: Size, base: Option<ValueId>, offset: u32) -> ValueId {
        let (base, offset) =
            if self.rules == Rules::Full { self.simple_address(base, offset) } else { (base, offset) };
        self.intern(Value::Load { size, base, offset })
    }

    pub(crate) fn negate(&mut self, operand: ValueId) -> ValueId {
        match self.as_const(operand) {
            Some(k) if self.rules == Rules::Full => self.constant(k.wrapping_neg()),
            _ => self.intern(Value::Negate(operand)),
        }
    }

    /// `left operator right`.
    ///
    /// # Errors
    /// Division by a constant zero and shifts by a constant above 31, also where folding finds them.
    pub(crate) fn binary(
        &mut self,
        operator: Operator,
        left: ValueId,
        right: ValueId,
    ) -> Result<ValueId, ErrorKind> {
        match (operator, self.as_const(right)) {
            (Operator::Div | Operator::Mod, Some(0)) => return Err(ErrorKind::DivisionByZero),
            (Operator::Shl | Operator::Shr, Some(k)) if k > 31 => return Err(ErrorKind::ShiftTooFar(k)),
            _ => {}
        }
        let simple = if self.rules == Rules::Full { self.simple_binary(operator, left, right) } else { None };
        Ok(simple.unwrap_or_else(|| self.intern(Value::Binary(operator, left, right))))
    }

    /// The comparison, in the simplest form that decides alike.
    pub(crate) fn compare(&mut self, comparison: Comparison, left: ValueId, right: ValueId) -> Outcome {
        let test = Test { comparison, left, right };
        self.simple_test(test)
    }

    /// The comparison in a relation. libpcap computes the operands of a relation apart from its own tests,
    /// and later.
    pub(crate) fn relate(&mut self, comparison: Comparison, left: ValueId, right: ValueId) -> Outcome {
        let test = Test { comparison, left, right };
        match (self.rules, self.as_const(left), self.as_const(right)) {
            (Rules::Reference, Some(a), Some(b)) => Outcome::Known(holds(comparison, a, b)),
            (Rules::Reference, ..) => Outcome::Open { test: self.intern_test(test), negated: false },
            _ => self.simple_test(test),
        }
    }

    /// The outcome of a test of other `values`, if the rules of these make it known.
    pub(crate) fn known_outcome(&mut self, values: &Self, test: Test) -> Option<bool> {
        let (left, right) = (self.adopt(values, test.left)?, self.adopt(values, test.right)?);
        match self.compare(test.comparison, left, right) {
            Outcome::Known(outcome) => Some(outcome),
            Outcome::Open { .. } => None,
        }
    }

    /// A value of other `values`, by the rules of these. None where those find an error.
    fn adopt(&mut self, values: &Self, id: ValueId) -> Option<ValueId> {
        Some(match values.value(id) {
            Value::Load { size, base: Some(base), offset } => {
                let base = self.adopt(values, base)?;
                self.load(size, Some(base), offset)
            }
            Value::Negate(operand) => {
                let operand = self.adopt(values, operand)?;
                self.negate(operand)
            }
            Value::Binary(operator, left, right) => {
                let (left, right) = (self.adopt(values, left)?, self.adopt(values, right)?);
                self.binary(operator, left, right).ok()?
            }
            leaf => self.intern(leaf),
        })
    }

    /// The same value with every read of a cell in `known` replaced.
    pub(crate) fn substitute(&mut self, id: ValueId, cell: Cell, by: u32) -> ValueId {
        match self.value(id) {
            Value::Cell(read) if read == cell => self.constant(by),
            Value::Load { size, base: Some(base), offset } => {
                let base = self.substitute(base, cell, by);
                self.load(size, Some(base), offset)
            }
            Value::Negate(operand) => {
                let operand = self.substitute(operand, cell, by);
                self.negate(operand)
            }
            Value::Binary(operator, left, right) => {
                let (left, right) = (self.substitute(left, cell, by), self.substitute(right, cell, by));
                // Offsets are added to, never divided or shifted by: nothing can go wrong that has not
                // before.
                self.binary(operator, left, right).unwrap_or(id)
            }
            _ => id,
        }
    }

    /// Calls `found` for every cell that a value reads.
    pub(crate) fn for_each_cell(&self, id: ValueId, found: &mut impl FnMut(Cell)) {
        match self.value(id) {
            Value::Cell(cell) => found(cell),
            Value::Load { base: Some(operand), .. } | Value::Negate(operand) => {
                self.for_each_cell(operand, found);
            }
            Value::Binary(_, left, right) => {
                self.for_each_cell(left, found);
                self.for_each_cell(right, found);
            }
            _ => {}
        }
    }

    fn intern(&mut self, value: Value) -> ValueId {
        if let Some(&id) = self.value_ids.get(&value) {
            return id;
        }
        let id = ValueId(u32::try_from(self.all.len()).expect("a filter of 64 KiB has fewer values"));
        let properties = self.properties_of(value);
        self.all.push(value);
        self.properties.push(properties);
        self.value_ids.insert(value, id);
        id
    }

    fn properties_of(&self, value: Value) -> Properties {
        let of = |id: ValueId| self.properties[id.index()];
        match value {
            Value::Load { base: Some(operand), .. } | Value::Negate(operand) => {
                Properties { depth: of(operand).depth + 1, traps: of(operand).traps }
            }
            Value::Binary(operator, left, right) => {
                let divides =
                    matches!(operator, Operator::Div | Operator::Mod) && self.as_const(right).is_none();
                Properties {
                    depth: of(left).depth.max(of(right).depth) + 1,
                    traps: divides || of(left).traps || of(right).traps,
                }
            }
            _ => Properties { depth: 1, traps: false },
        }
    }

    fn intern_test(&mut self, test: Test) -> TestId {
        if let Some(&id) = self.test_ids.get(&test) {
            return id;
        }
        let id = TestId(u32::try_from(self.tests.len()).expect("a filter of 64 KiB has fewer tests"));
        self.tests.push(test);
        self.test_ids.insert(test, id);
        id
    }
}

/// What the machine computes. None for a division by zero.
pub(crate) fn fold(operator: Operator, a: u32, b: u32) -> Option<u32> {
    Some(match operator {
        Operator::Add => a.wrapping_add(b),
        Operator::Sub => a.wrapping_sub(b),
        Operator::Mul => a.wrapping_mul(b),
        Operator::Div => a.checked_div(b)?,
        Operator::Mod => a.checked_rem(b)?,
        Operator::And => a & b,
        Operator::Or => a | b,
        Operator::Xor => a ^ b,
        Operator::Shl => a.checked_shl(b).unwrap_or(0),
        Operator::Shr => a.checked_shr(b).unwrap_or(0),
    })
}

/// Whether the comparison holds.
pub(crate) fn holds(comparison: Comparison, a: u32, b: u32) -> bool {
    match comparison {
        Comparison::Equal => a == b,
        Comparison::Greater => a > b,
        Comparison::GreaterOrEqual => a >= b,
        Comparison::AnyBit => a & b != 0,
    }
}

/// Whether the kernel takes an absolute load from here. Where it does not, an indexed one does the same: it
/// ends the program.
fn is_absolute(offset: u32) -> bool {
    match offset.checked_sub(SKF_AD_OFF) {
        Some(field) => field % 4 == 0 && field < SKF_AD_MAX,
        None => true,
    }
}

/// Where ancillary fields begin, and how far they go: linux/filter.h.
const SKF_AD_OFF: u32 = 0xffff_f000;
const SKF_AD_MAX: u32 = 64;

/// Offsets from here on are not of packet bytes: the kernel reads them as its negative, ancillary ones.
const MAX_OFFSET: u32 = 0x8000_0000;
