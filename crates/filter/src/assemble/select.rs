//! Instructions for every node.
//!
//! # Theory of operation
//! Nodes are taken in topological order. For each it is known which values A and X hold on *every* way there,
//! so that what is in a register already is not computed again. A binary operation wants its left operand in
//! A and its right one in X; which is computed first, and whether one has to wait in scratch memory, depends
//! on what else the other needs.

use std::collections::HashMap;

use crate::ast::{Comparison, Operator};
use crate::graph::{Graph, Node, Target};
use crate::program::op;
use crate::value::{Size, Test, Value, ValueId, Values};

use super::blocks::{Block, Blocks, End, Instruction, Operand, Slot};

/// Selects instructions for the whole graph; with `reuse`, what a register holds is not computed again.
pub(super) fn select(graph: &Graph, values: &Values, reuse: bool) -> Blocks {
    let order = graph.topological(0);
    let mut entry: Vec<Option<Registers>> = vec![None; graph.nodes.len()];
    let mut blocks = HashMap::with_capacity(order.len());
    for &number in &order {
        let known = entry[number as usize].unwrap_or_default();
        let mut selector = Selector { values, code: Vec::new(), registers: known, temporaries: 0 };
        let end = selector.node(&graph.nodes[number as usize]);
        let after = if reuse { selector.registers } else { Registers::default() };
        for edge in end.edges() {
            let Target::Node(to) = *edge else { continue };
            let there = &mut entry[to as usize];
            *there = Some(there.map_or(after, |other| other.common(after)));
        }
        blocks.insert(number, Block { code: selector.code, end });
    }
    Blocks { by_number: blocks, order, root: graph.root }
}

/// Which values the registers are known to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Registers {
    a: Option<ValueId>,
    x: Option<ValueId>,
}

impl Registers {
    fn common(self, other: Self) -> Self {
        Self { a: self.a.filter(|_| self.a == other.a), x: self.x.filter(|_| self.x == other.x) }
    }
}

struct Selector<'a> {
    values: &'a Values,
    code: Vec<Instruction>,
    registers: Registers,
    /// How many temporaries are in use.
    temporaries: u32,
}

impl Selector<'_> {
    fn node(&mut self, node: &Node) -> End {
        match *node {
            Node::Test { test, edges } => self.test(self.values.test(test), edges),
            Node::Known { outcome, edges } => {
                self.emit(op::LD | op::IMM, u32::from(outcome));
                self.registers.a = None;
                End::Branch { code: op::JMP | op::JEQ | op::K, k: 1, edges }
            }
            Node::Set { cell, value, edge } => {
                let slot = Operand::Slot(Slot::Variable(cell));
                if self.registers.x == Some(value) {
                    self.code.push(Instruction { code: op::STX, operand: slot });
                    self.registers.x = self.values.existing_cell(cell);
                } else {
                    self.compute_a(value);
                    self.code.push(Instruction { code: op::ST, operand: slot });
                    self.registers.a = self.values.existing_cell(cell);
                }
                End::Goto(edge)
            }
        }
    }

    fn test(&mut self, test: Test, edges: [Target; 2]) -> End {
        let jump = op::JMP
            | match test.comparison {
                Comparison::Equal => op::JEQ,
                Comparison::Greater => op::JGT,
                Comparison::GreaterOrEqual => op::JGE,
                Comparison::AnyBit => op::JSET,
            };
        if let Some(k) = self.values.as_const(test.right) {
            self.compute_a(test.left);
            return End::Branch { code: jump | op::K, k, edges };
        }
        self.operands(test.left, test.right);
        End::Branch { code: jump | op::X, k: 0, edges }
    }

    fn emit(&mut self, code: u16, k: u32) {
        self.code.push(Instruction { code, operand: Operand::Number(k) });
    }

    /// Computes a value into A. X may change.
    fn compute_a(&mut self, id: ValueId) {
        if self.registers.a == Some(id) {
            return;
        }
        if self.registers.x == Some(id) {
            self.emit(op::MISC | op::TXA, 0);
            self.registers.a = Some(id);
            return;
        }
        match self.values.value(id) {
            Value::Const(k) => self.emit(op::LD | op::IMM, k),
            Value::Length => self.emit(op::LD | op::LEN, 0),
            Value::Cell(cell) => {
                let operand = Operand::Slot(Slot::Variable(cell));
                self.code.push(Instruction { code: op::LD | op::MEM, operand });
            }
            Value::HeaderLength(_) => {
                self.compute_x(id);
                self.emit(op::MISC | op::TXA, 0);
            }
            Value::Load { size, base: None, offset } => self.emit(op::LD | op::ABS | size_code(size), offset),
            Value::Load { size, base: Some(base), offset } => {
                self.compute_x(base);
                self.emit(op::LD | op::IND | size_code(size), offset);
            }
            Value::Negate(operand) => {
                self.compute_a(operand);
                self.emit(op::ALU | op::NEG, 0);
            }
            Value::Binary(operator, left, right) => self.binary(operator, left, right),
        }
        self.registers.a = Some(id);
    }

    fn binary(&mut self, operator: Operator, left: ValueId, right: ValueId) {
        let code = op::ALU | operation_code(operator);
        match (self.values.as_const(left), self.values.as_const(right)) {
            (_, Some(k)) => {
                self.compute_a(left);
                self.emit(code | op::K, k);
            }
            (Some(k), _) if is_commutative(operator) => {
                self.compute_a(right);
                self.emit(code | op::K, k);
            }
            _ if is_commutative(operator) && self.is_better_swapped(left, right) => {
                self.operands(right, left);
                self.emit(code | op::X, 0);
            }
            _ => {
                self.operands(left, right);
                self.emit(code | op::X, 0);
            }
        }
    }

    /// Computes a value into X. A may change, unless the value [`is_direct`](Self::is_direct).
    fn compute_x(&mut self, id: ValueId) {
        if self.registers.x == Some(id) {
            return;
        }
        match self.values.value(id) {
            _ if self.registers.a == Some(id) => self.emit(op::MISC | op::TAX, 0),
            Value::Const(k) => self.emit(op::LDX | op::IMM, k),
            Value::Length => self.emit(op::LDX | op::LEN, 0),
            Value::HeaderLength(offset) => self.emit(op::LDX | op::MSH | op::B, offset),
            Value::Cell(cell) => {
                let operand = Operand::Slot(Slot::Variable(cell));
                self.code.push(Instruction { code: op::LDX | op::MEM, operand });
            }
            _ => {
                self.compute_a(id);
                self.emit(op::MISC | op::TAX, 0);
            }
        }
        self.registers.x = Some(id);
    }

    /// Computes `left` into A and `right` into X.
    fn operands(&mut self, left: ValueId, right: ValueId) {
        if self.is_direct(right) {
            self.compute_a(left);
            self.compute_x(right);
        } else if self.keeps_x(left, right) {
            self.compute_x(right);
            self.compute_a(left);
        } else {
            let slot = Operand::Slot(Slot::Temporary(self.temporaries));
            self.compute_a(right);
            self.code.push(Instruction { code: op::ST, operand: slot });
            self.temporaries += 1;
            self.compute_a(left);
            self.temporaries -= 1;
            self.code.push(Instruction { code: op::LDX | op::MEM, operand: slot });
            self.registers.x = Some(right);
        }
    }

    /// Whether a commutative operation needs less with its operands exchanged.
    fn is_better_swapped(&self, left: ValueId, right: ValueId) -> bool {
        let good = |left, right| self.is_direct(right) || self.keeps_x(left, right);
        let in_place = self.registers.a == Some(right) && self.is_direct(left);
        in_place
            || (!good(left, right) && good(right, left))
            || (!self.is_direct(right) && self.is_direct(left))
    }

    /// Whether a value goes into X without touching A.
    fn is_direct(&self, id: ValueId) -> bool {
        self.registers.x == Some(id) && self.registers.a.is_some()
            || matches!(
                self.values.value(id),
                Value::Const(_) | Value::Length | Value::HeaderLength(_) | Value::Cell(_)
            )
    }

    /// Whether a value can be computed into A while X holds `x`.
    fn keeps_x(&self, mut id: ValueId, x: ValueId) -> bool {
        loop {
            if id == x {
                return true;
            }
            id = match self.values.value(id) {
                Value::Const(_) | Value::Length | Value::Cell(_) | Value::Load { base: None, .. } => {
                    return true;
                }
                Value::Load { base: Some(base), .. } => return base == x,
                Value::Negate(operand) => operand,
                Value::Binary(_, left, right) if right == x || self.values.as_const(right).is_some() => left,
                Value::HeaderLength(_) | Value::Binary(..) => return false,
            };
        }
    }
}

fn is_commutative(operator: Operator) -> bool {
    matches!(operator, Operator::Add | Operator::Mul | Operator::And | Operator::Or | Operator::Xor)
}

fn size_code(size: Size) -> u16 {
    match size {
        Size::Word => 0,
        Size::Half => op::H,
        Size::Byte => op::B,
    }
}

fn operation_code(operator: Operator) -> u16 {
    match operator {
        Operator::Add => op::ADD,
        Operator::Sub => op::SUB,
        Operator::Mul => op::MUL,
        Operator::Div => op::DIV,
        Operator::Mod => op::MOD,
        Operator::And => op::AND,
        Operator::Or => op::OR,
        Operator::Xor => op::XOR,
        Operator::Shl => op::LSH,
        Operator::Shr => op::RSH,
    }
}
