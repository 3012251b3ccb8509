//! Simpler forms of expressions and comparisons, found when they are made.
//!
//! Every rule keeps the value for every packet: the property tests compare with the literal program.

use super::{MAX_OFFSET, Outcome, Rules, Size, Test, Value, ValueId, Values, fold, holds, is_absolute};
use crate::ast::{Comparison, Operator};

impl Values {
    /// A constant part of the base moves into the offset, as long as that stays a plain offset.
    pub(super) fn simple_address(&mut self, base: Option<ValueId>, offset: u32) -> (Option<ValueId>, u32) {
        let Some(base) = base else { return (None, offset) };
        match self.value(base) {
            Value::Const(k) if is_absolute(k.wrapping_add(offset)) => (None, k.wrapping_add(offset)),
            Value::Binary(Operator::Add, left, right) => {
                let split = match (self.as_const(left), self.as_const(right)) {
                    (Some(k), None) => Some((right, k)),
                    (None, Some(k)) => Some((left, k)),
                    _ => None,
                };
                // The kernel adds modulo 2^32 and libpcap's interpreter refuses to, so a sum that could wrap
                // is left to `add`.
                match split.map(|(rest, k)| (rest, k.wrapping_add(offset))) {
                    Some((rest, sum)) if sum < MAX_OFFSET && self.is_small(rest) => {
                        self.simple_address(Some(rest), sum)
                    }
                    _ => (Some(base), offset),
                }
            }
            _ => (Some(base), offset),
        }
    }

    /// Whether a value is known to be far below 2^32, so that adding an offset to it cannot wrap.
    pub(super) fn is_small(&self, id: ValueId) -> bool {
        match self.value(id) {
            Value::HeaderLength(_) | Value::Cell(_) | Value::Load { size: Size::Byte | Size::Half, .. } => {
                true
            }
            Value::Const(k) => k < MAX_OFFSET,
            Value::Binary(Operator::Add, left, right) => self.is_small(left) && self.is_small(right),
            Value::Binary(Operator::And, left, right) => self.is_small(left) || self.is_small(right),
            Value::Binary(Operator::Shr | Operator::Div, left, _) => self.is_small(left),
            Value::Binary(Operator::Mul | Operator::Shl, left, right) => {
                self.is_small(left) && self.as_const(right).is_some_and(|k| k <= 8) && self.is_byte(left)
            }
            _ => false,
        }
    }

    /// Whether a value is known to be below 2^16.
    pub(super) fn is_byte(&self, id: ValueId) -> bool {
        match self.value(id) {
            Value::Load { size: Size::Byte | Size::Half, .. } => true,
            Value::Const(k) => k <= 0xffff,
            Value::Binary(Operator::And, left, right) => self.is_byte(left) || self.is_byte(right),
            _ => false,
        }
    }

    pub(super) fn simple_binary(
        &mut self,
        operator: Operator,
        left: ValueId,
        right: ValueId,
    ) -> Option<ValueId> {
        match (self.as_const(left), self.as_const(right)) {
            (Some(a), Some(b)) => Some(self.constant(fold(operator, a, b)?)),
            (_, Some(0)) => match operator {
                Operator::Mul | Operator::And => Some(self.constant(0)),
                Operator::Div | Operator::Mod => None,
                _ => Some(left),
            },
            (Some(0), _) => match operator {
                Operator::Add | Operator::Or | Operator::Xor => Some(right),
                Operator::Sub => Some(self.negate(right)),
                Operator::Mul | Operator::And | Operator::Shl | Operator::Shr => Some(self.constant(0)),
                // Zero divided by zero ends the program, so this is not always zero.
                Operator::Div | Operator::Mod => None,
            },
            (_, Some(2)) if operator == Operator::Shl => self.header_length_pattern(left),
            (_, Some(4)) if operator == Operator::Mul => self.header_length_pattern(left),
            _ => None,
        }
    }

    /// `([k] & 0xf) << 2`, for which the machine has one instruction.
    pub(super) fn header_length_pattern(&mut self, shifted: ValueId) -> Option<ValueId> {
        let Value::Binary(Operator::And, byte, mask) = self.value(shifted) else { return None };
        match (self.value(byte), self.as_const(mask)) {
            (Value::Load { size: Size::Byte, base: None, offset }, Some(0xf)) if offset < MAX_OFFSET => {
                Some(self.header_length(offset))
            }
            _ => None,
        }
    }

    pub(super) fn simple_test(&mut self, test: Test) -> Outcome {
        let is_mirrored = self.as_const(test.left).is_some() && self.as_const(test.right).is_none();
        if self.rules != Rules::Full || !is_mirrored {
            return self.simple_straight_test(test);
        }
        // The machine compares with a constant on the right.
        let (comparison, negated) = match test.comparison {
            Comparison::Greater => (Comparison::GreaterOrEqual, true),
            Comparison::GreaterOrEqual => (Comparison::Greater, true),
            symmetric => (symmetric, false),
        };
        match self.simple_straight_test(Test { comparison, left: test.right, right: test.left }) {
            Outcome::Known(outcome) => Outcome::Known(outcome != negated),
            Outcome::Open { test, negated: turned } => Outcome::Open { test, negated: turned != negated },
        }
    }

    /// The simplest form of a test with no constant on the left, or one on either side.
    pub(super) fn simple_straight_test(&mut self, mut test: Test) -> Outcome {
        while self.rules != Rules::Literal {
            let Some(k) = self.as_const(test.right) else { break };
            if let Some(a) = self.as_const(test.left) {
                return Outcome::Known(holds(test.comparison, a, k));
            }
            if test.comparison == Comparison::AnyBit && k == 0 {
                return Outcome::Known(false);
            }
            if test.comparison != Comparison::Equal {
                break;
            }
            match self.value(test.left) {
                Value::Binary(Operator::Sub, value, subtracted) => match self.as_const(subtracted) {
                    Some(subtracted) => {
                        let sum = self.constant(k.wrapping_add(subtracted));
                        test = Test { left: value, right: sum, ..test };
                    }
                    None if k == 0 => test = Test { left: value, right: subtracted, ..test },
                    None => break,
                },
                Value::Binary(Operator::And, _, mask) if k == 0 && self.as_const(mask) == Some(0) => {
                    return Outcome::Known(true);
                }
                Value::Binary(Operator::And, value, mask) if k == 0 && self.as_const(mask).is_some() => {
                    let test = Test { comparison: Comparison::AnyBit, left: value, right: mask };
                    return Outcome::Open { test: self.intern_test(test), negated: true };
                }
                _ => break,
            }
        }
        Outcome::Open { test: self.intern_test(test), negated: false }
    }
}
