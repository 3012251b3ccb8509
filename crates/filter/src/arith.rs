//! Arithmetic: tokens to a postfix list, by an operator stack.
//!
//! # Theory of operation
//! From loose to tight: `|`, `&`, shifts, `+ -`, `* /`, unary minus; each level associates to the left. `%`
//! and `^` have no level: the reference grammar declares none for them, and its parser then always reads on.
//! So they bind the operand on their left tighter than anything does, and take the longest expression that
//! follows: `7 % 4 + 1` is `7 % (4 + 1)`.
//!
//! # References
//! pcap-filter(7), "expr1 relop expr2"; the precedence is measured behaviour of libpcap 1.10.

use crate::ast::{Arith, ArithStep, Operator, Protocol};
use crate::error::{ErrorKind, FilterError, Span};
use crate::keywords::Keyword;
use crate::lexer::TokenKind;
use crate::stream::Stream;

/// An arithmetic expression.
#[derive(Debug)]
pub(crate) struct ParsedArith {
    pub(crate) steps: Arith,
    /// The number that it is, if it is nothing but a number, maybe in parentheses.
    pub(crate) number: Option<u32>,
}

/// Reads the longest arithmetic expression that comes next.
pub(crate) fn parse(stream: &mut Stream<'_>) -> Result<ParsedArith, FilterError> {
    let mut parser = Parser { stream, steps: Vec::new(), pending: Vec::new(), bare: true };
    parser.expression()?;
    let number = match parser.steps.as_slice() {
        [(ArithStep::Number(number), _)] if parser.bare => Some(*number),
        _ => None,
    };
    Ok(ParsedArith { steps: parser.steps, number })
}

/// What waits on the stack.
#[derive(Clone, Copy, Debug)]
enum Pending {
    Open,
    /// The bracket behind a protocol.
    Bracket(Protocol),
    Negate,
    Binary(Operator),
}

struct Parser<'s, 'a> {
    stream: &'s mut Stream<'a>,
    steps: Arith,
    pending: Vec<(Pending, Span)>,
    /// Nothing but a number and parentheses has been seen.
    bare: bool,
}

impl Parser<'_, '_> {
    fn expression(&mut self) -> Result<(), FilterError> {
        loop {
            self.operand()?;
            self.close_all()?;
            let Some(TokenKind::Operator(operator)) = self.stream.kind() else { break };
            self.binary(*operator);
        }
        self.reduce_while(|pending| matches!(pending, Pending::Binary(_) | Pending::Negate));
        if self.pending.is_empty() { Ok(()) } else { Err(self.stream.unexpected()) }
    }

    /// Everything up to and with a number or `len`.
    fn operand(&mut self) -> Result<(), FilterError> {
        loop {
            let span = self.stream.span();
            match self.stream.kind() {
                Some(TokenKind::Number(number)) => {
                    self.stream.advance();
                    self.steps.push((ArithStep::Number(*number), span));
                    return Ok(());
                }
                Some(TokenKind::Keyword(Keyword::Len)) => {
                    self.stream.advance();
                    self.steps.push((ArithStep::Length, span));
                    return Ok(());
                }
                Some(TokenKind::Open) => {
                    self.stream.advance();
                    self.pending.push((Pending::Open, span));
                }
                Some(TokenKind::Operator(Operator::Sub)) => {
                    self.stream.advance();
                    self.bare = false;
                    self.pending.push((Pending::Negate, span));
                }
                Some(TokenKind::Keyword(Keyword::Proto(protocol))) => {
                    self.stream.advance();
                    if !self.stream.take_kind(&TokenKind::OpenBracket) {
                        return Err(self.stream.unexpected());
                    }
                    self.bare = false;
                    self.pending.push((Pending::Bracket(*protocol), span));
                }
                _ => return Err(self.stream.unexpected()),
            }
        }
    }

    /// Every closing parenthesis or bracket that comes next and is ours.
    fn close_all(&mut self) -> Result<(), FilterError> {
        loop {
            match self.stream.kind() {
                Some(TokenKind::Close) => {
                    let depth = self.pending.iter().rev().find(|(pending, _)| !is_operator(*pending));
                    if !matches!(depth, Some((Pending::Open, _))) {
                        return Ok(());
                    }
                    self.stream.advance();
                    self.reduce_while(is_operator);
                    self.pending.pop();
                }
                Some(TokenKind::CloseBracket | TokenKind::Colon) => self.close_bracket()?,
                _ => return Ok(()),
            }
        }
    }

    /// `]` or `:SIZE]`.
    fn close_bracket(&mut self) -> Result<(), FilterError> {
        let unexpected = self.stream.unexpected();
        self.reduce_while(is_operator);
        let Some((Pending::Bracket(protocol), start)) = self.pending.pop() else { return Err(unexpected) };
        let mut size = 1;
        if self.stream.take_kind(&TokenKind::Colon) {
            let span = self.stream.span();
            size = self.stream.plain_number()?;
            if !matches!(size, 1 | 2 | 4) {
                return Err(ErrorKind::LoadSize(size).at(span));
            }
        }
        if !self.stream.take_kind(&TokenKind::CloseBracket) {
            return Err(self.stream.unexpected());
        }
        self.steps.push((ArithStep::Load { protocol, size }, self.stream.since(start)));
        Ok(())
    }

    fn binary(&mut self, operator: Operator) {
        let span = self.stream.span();
        self.stream.advance();
        self.bare = false;
        self.reduce_while(|pending| match (pending, precedence(operator)) {
            (Pending::Negate, Some(_)) => true,
            (Pending::Binary(before), Some(level)) => {
                precedence(before).is_some_and(|before| before >= level)
            }
            _ => false,
        });
        self.pending.push((Pending::Binary(operator), span));
    }

    /// Emits operators from the stack as long as `applies` to them.
    fn reduce_while(&mut self, applies: impl Fn(Pending) -> bool) {
        while let Some((pending, span)) = self.pending.pop_if(|(pending, _)| applies(*pending)) {
            match pending {
                Pending::Negate => self.steps.push((ArithStep::Negate, span)),
                Pending::Binary(operator) => self.steps.push((ArithStep::Binary(operator), span)),
                Pending::Open | Pending::Bracket(_) => {}
            }
        }
    }
}

fn is_operator(pending: Pending) -> bool {
    matches!(pending, Pending::Negate | Pending::Binary(_))
}

/// How tight an operator binds; none for the two that always read on.
fn precedence(operator: Operator) -> Option<u8> {
    match operator {
        Operator::Or => Some(0),
        Operator::And => Some(1),
        Operator::Shl | Operator::Shr => Some(2),
        Operator::Add | Operator::Sub => Some(3),
        Operator::Mul | Operator::Div => Some(4),
        Operator::Mod | Operator::Xor => None,
    }
}
