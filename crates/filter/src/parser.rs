//! The grammar: tokens to a postfix list of tests.
//!
//! # Theory of operation
//! `and` and `or` have one precedence and associate to the left; `not` binds to what follows it. An address,
//! number or name without words of its own before it takes the *qualifier in force*: the one of the nearest
//! term to its left in the same chain. A keyword term leaves none in force; a parenthesis leaves the one that
//! was in force before it.
//!
//! A parenthesis after `and` or `or` may hold an expression or a list of ids (`host a and (b or c)`), and
//! only its first element tells which. So open parentheses are kept on a stack of our own, each with what it
//! may still be ([`Mode`]); nothing recurses, and ten thousand of them are as good as one.
//!
//! # References
//! pcap-filter(7), sections "DESCRIPTION" and "PRIMITIVES".

use crate::arith::{self, ParsedArith};
use crate::ast::{
    ByteOp, Comparison, Direction, Id, Kind, Operator, Placed, Primitive, Protocol, Qualifier, Step,
};
use crate::error::{ErrorKind, FilterError, Span};
use crate::keywords::Keyword;
use crate::lexer::{TokenKind, tokens};
use crate::stream::Stream;

/// Parses a whole filter. The empty text is the empty list.
pub(crate) fn parse(text: &str) -> Result<Vec<Step>, FilterError> {
    let tokens = tokens(text)?;
    if tokens.is_empty() {
        return Ok(Vec::new());
    }
    let mut parser = Parser { stream: Stream::new(text, &tokens), open: Vec::new(), steps: Vec::new() };
    parser.expression()?;
    Ok(parser.steps)
}

/// What a parenthesis, or the whole text, may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Terms joined by `and` and `or`; ids only behind one of those.
    Terms,
    /// Ids only.
    Ids,
    /// What the first element is.
    Undecided,
}

/// What a closed parenthesis is to what encloses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// An expression or a list, by its mode.
    Group,
    /// The list behind `host`, `port` ...: with those words, a term.
    Headed,
}

/// A chain of operands: the whole text, or what stands in one pair of parentheses.
#[derive(Debug)]
struct Chain {
    mode: Mode,
    role: Role,
    opened: Span,
    /// The qualifier in force where the chain began.
    outer: Option<Qualifier>,
    /// The qualifier in force now.
    qualifier: Option<Qualifier>,
    /// How many `not` wait for the end of this parenthesis; they stand before it, behind its head.
    nots_of_head: usize,
    /// How many `not` wait for the next operand.
    nots: usize,
    /// The operator that waits for the next operand.
    operator: Option<Step>,
    /// No operand is complete yet.
    at_first: bool,
}

impl Chain {
    fn new(mode: Mode, role: Role, opened: Span, qualifier: Option<Qualifier>) -> Self {
        Self {
            mode,
            role,
            opened,
            outer: qualifier,
            qualifier,
            nots_of_head: 0,
            nots: 0,
            operator: None,
            at_first: true,
        }
    }

    /// Whether an id may stand here.
    fn takes_id(&self) -> bool {
        self.mode != Mode::Terms || !self.at_first
    }
}

/// What kind of operand has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operand {
    /// A term, which leaves this qualifier in force.
    Term(Option<Qualifier>),
    /// An address or name.
    Id,
    /// A number.
    Number,
    /// A list in parentheses.
    List,
}

struct Parser<'a> {
    stream: Stream<'a>,
    /// The chains that are not complete, outermost first.
    open: Vec<Chain>,
    steps: Vec<Step>,
}

impl Parser<'_> {
    fn expression(&mut self) -> Result<(), FilterError> {
        self.open.push(Chain::new(Mode::Terms, Role::Group, Span::default(), None));
        loop {
            if !self.operand()? {
                continue;
            }
            while self.stream.take_kind(&TokenKind::Close) {
                self.close()?;
            }
            match self.stream.kind() {
                None => break,
                Some(TokenKind::Keyword(Keyword::And)) => self.operator(Step::And),
                Some(TokenKind::Keyword(Keyword::Or)) => self.operator(Step::Or),
                Some(_) => return Err(self.stream.unexpected()),
            }
        }
        match self.open.len() {
            1 => Ok(()),
            _ => Err(self.stream.unexpected()),
        }
    }

    fn operator(&mut self, step: Step) {
        self.stream.advance();
        self.chain().operator = Some(step);
    }

    /// The innermost open chain.
    fn chain(&mut self) -> &mut Chain {
        self.open.last_mut().expect("the outermost chain is closed by the end of the text only")
    }

    /// Reads an operand. False where it was an opening parenthesis, whose first operand is to be read next.
    fn operand(&mut self) -> Result<bool, FilterError> {
        self.chain().nots += self.stream.take_nots();
        let start = self.stream.span();
        let (mode, takes_id) = (self.chain().mode, self.chain().takes_id());
        if self.stream.opens_arithmetic() {
            return self.number_or_relation(mode, takes_id).map(|()| true);
        }
        match self.stream.kind() {
            Some(TokenKind::Open) => {
                self.group();
                Ok(false)
            }
            Some(
                TokenKind::Name(_)
                | TokenKind::Dotted
                | TokenKind::Ipv6(_)
                | TokenKind::Mac(_)
                | TokenKind::Arcnet,
            ) => {
                if !takes_id {
                    return Err(self.no_qualifier());
                }
                let id = self.stream.id()?;
                self.push_id(id, start)?;
                self.finish(Operand::Id, start)?;
                Ok(true)
            }
            Some(TokenKind::Keyword(_)) if mode != Mode::Ids => self.term(),
            _ => Err(self.stream.unexpected()),
        }
    }

    /// A number that is an id, or two sides of a relation.
    fn number_or_relation(&mut self, mode: Mode, takes_id: bool) -> Result<(), FilterError> {
        let start = self.stream.span();
        if mode == Mode::Ids {
            let number = self.stream.number()?;
            self.push_id(Id::Number(number), start)?;
            return self.finish(Operand::Number, start);
        }
        let ParsedArith { steps: left, number } = arith::parse(&mut self.stream)?;
        let relation = self.stream.kind().and_then(relation_operator);
        match (relation, number) {
            (Some((comparison, negated)), _) => {
                self.stream.advance();
                let right = arith::parse(&mut self.stream)?.steps;
                self.push_test(Primitive::Relation { comparison, negated, left, right }, start);
                self.finish(Operand::Term(None), start)
            }
            (None, Some(number)) if takes_id => {
                self.push_id(Id::Number(number), start)?;
                self.finish(Operand::Number, start)
            }
            (None, Some(_)) if self.stream.at_operand_end() => {
                Err(ErrorKind::NoQualifier(self.stream.text_since(start).to_owned())
                    .at(self.stream.since(start)))
            }
            _ => Err(self.stream.unexpected()),
        }
    }

    /// An opening parenthesis around terms or ids.
    fn group(&mut self) {
        let opened = self.stream.span();
        self.stream.advance();
        let chain = self.chain();
        let mode = if chain.mode == Mode::Terms && !chain.at_first { Mode::Undecided } else { chain.mode };
        let inner = Chain::new(mode, Role::Group, opened, chain.qualifier);
        self.open.push(inner);
    }

    /// A closing parenthesis, which makes an operand of the innermost chain.
    fn close(&mut self) -> Result<(), FilterError> {
        if self.open.len() == 1 {
            return Err(self.stream.unexpected_before());
        }
        let Some(chain) = self.open.pop() else { return Ok(()) };
        let operand = match (chain.role, chain.mode) {
            (Role::Headed, _) => {
                self.steps.extend(std::iter::repeat_n(Step::Not, chain.nots_of_head));
                Operand::Term(chain.outer)
            }
            (Role::Group, Mode::Terms) => Operand::Term(chain.outer),
            (Role::Group, Mode::Ids | Mode::Undecided) => Operand::List,
        };
        self.finish(operand, chain.opened)
    }

    /// Emits what waited for an operand, and learns from it what the chain is.
    fn finish(&mut self, operand: Operand, start: Span) -> Result<(), FilterError> {
        let joined = matches!(self.stream.kind(), Some(TokenKind::Keyword(Keyword::And | Keyword::Or)));
        let chain = self.chain();
        let bare = chain.nots == 0;
        let fits = match (operand, chain.mode) {
            (Operand::Term(_), mode) => mode != Mode::Ids,
            (Operand::Id, _) | (Operand::Number, Mode::Terms) => chain.takes_id(),
            // `port (22 or 23)`: a number opens a list only if one follows.
            (Operand::Number, _) => !chain.at_first || !bare || joined,
            (Operand::List, _) => chain.takes_id() && (!chain.at_first || !bare),
        };
        if !fits {
            return Err(self.stream.unexpected_at(start));
        }
        match operand {
            Operand::Term(qualifier) => {
                chain.mode = Mode::Terms;
                chain.qualifier = qualifier;
            }
            Operand::Id | Operand::Number | Operand::List if chain.mode == Mode::Undecided => {
                chain.mode = Mode::Ids;
            }
            Operand::Id | Operand::Number | Operand::List => {}
        }
        chain.at_first = false;
        let nots = std::mem::take(&mut chain.nots);
        let operator = chain.operator.take();
        self.steps.extend(std::iter::repeat_n(Step::Not, nots));
        self.steps.extend(operator);
        Ok(())
    }

    fn push_test(&mut self, primitive: Primitive, start: Span) {
        let span = self.stream.since(start);
        self.steps.push(Step::Test(primitive, span));
    }

    /// A test of `id` with the qualifier in force.
    fn push_id(&mut self, id: Id, start: Span) -> Result<(), FilterError> {
        let Some(qualifier) = self.chain().qualifier else {
            let text = self.stream.text_since(start).to_owned();
            return Err(ErrorKind::NoQualifier(text).at(self.stream.since(start)));
        };
        self.push_test(Primitive::Id(qualifier, id), start);
        Ok(())
    }

    /// An id where no term before it could qualify it.
    fn no_qualifier(&self) -> FilterError {
        let text = self.stream.text_of(self.stream.span());
        ErrorKind::NoQualifier(text.to_owned()).at(self.stream.span())
    }

    /// A term that begins with a reserved word. False where it opened a list of ids.
    fn term(&mut self) -> Result<bool, FilterError> {
        let start = self.stream.span();
        let protocol = self.stream.take_protocol();
        if let Some(qualifier) = self.head(protocol, start)? {
            return self.headed(qualifier, start);
        }
        let primitive = match protocol {
            Some(protocol) => self.protocol_term(protocol),
            None => self.other_term()?,
        };
        self.push_test(primitive, start);
        self.finish(Operand::Term(None), start)?;
        Ok(true)
    }

    /// `tcp`, `ether broadcast`, `ip multicast`.
    fn protocol_term(&mut self, protocol: Protocol) -> Primitive {
        if self.stream.take(Keyword::Broadcast) {
            Primitive::Broadcast(Some(protocol))
        } else if self.stream.take(Keyword::Multicast) {
            Primitive::Multicast(Some(protocol))
        } else {
            Primitive::Protocol(protocol)
        }
    }

    /// The words before an id, behind an optional protocol: a direction, a kind, or both.
    fn head(&mut self, protocol: Option<Protocol>, start: Span) -> Result<Option<Qualifier>, FilterError> {
        let direction = self.direction()?;
        let kind = match self.stream.kind() {
            Some(TokenKind::Keyword(Keyword::Kind(kind))) => Some(*kind),
            _ => None,
        };
        if direction.is_none() && kind.is_none() {
            return Ok(None);
        }
        if direction.is_some() && matches!(kind, Some(Kind::Proto | Kind::Protochain | Kind::Gateway)) {
            return Err(self.stream.unexpected());
        }
        if kind.is_some() {
            self.stream.advance();
        }
        let span = self.stream.since(start);
        Ok(Some(Qualifier { protocol, direction: direction.unwrap_or(Direction::SrcOrDst), kind, span }))
    }

    /// `src`, `dst`, `src or dst`, `src and dst`.
    fn direction(&mut self) -> Result<Option<Direction>, FilterError> {
        let Some(first) = self.stream.take_direction() else { return Ok(None) };
        let joint = match self.stream.kind() {
            Some(TokenKind::Keyword(Keyword::Or)) => Direction::SrcOrDst,
            Some(TokenKind::Keyword(Keyword::And)) => Direction::SrcAndDst,
            _ => return Ok(Some(first)),
        };
        self.stream.advance();
        let at_second = self.stream.unexpected();
        match (first, self.stream.take_direction()) {
            (Direction::Src, Some(Direction::Dst)) | (Direction::Dst, Some(Direction::Src)) => {
                Ok(Some(joint))
            }
            _ => Err(at_second),
        }
    }

    /// The id or list of ids behind a head. False where a list was opened.
    fn headed(&mut self, qualifier: Qualifier, start: Span) -> Result<bool, FilterError> {
        let nots = self.stream.take_nots();
        if self.stream.kind() == Some(&TokenKind::Open) && !self.stream.opens_arithmetic() {
            let opened = self.stream.span();
            self.stream.advance();
            let mut list = Chain::new(Mode::Ids, Role::Headed, opened, Some(qualifier));
            list.nots_of_head = nots;
            self.open.push(list);
            return Ok(false);
        }
        let id_start = self.stream.span();
        let id = if self.stream.opens_arithmetic() {
            Id::Number(self.stream.number()?)
        } else {
            self.stream.id()?
        };
        self.push_test(Primitive::Id(qualifier, id), id_start);
        self.steps.extend(std::iter::repeat_n(Step::Not, nots));
        self.finish(Operand::Term(Some(qualifier)), start)?;
        Ok(true)
    }

    /// A term that begins with neither a protocol nor a head.
    fn other_term(&mut self) -> Result<Primitive, FilterError> {
        let Some(TokenKind::Keyword(keyword)) = self.stream.kind().cloned() else {
            return Err(self.stream.unexpected());
        };
        let at_keyword = self.stream.span();
        if !begins_term(keyword) {
            return Err(self.stream.unexpected());
        }
        self.stream.advance();
        Ok(match keyword {
            Keyword::Broadcast => Primitive::Broadcast(None),
            Keyword::Multicast => Primitive::Multicast(None),
            Keyword::Less => Primitive::Less(self.stream.plain_number()?),
            Keyword::Greater => Primitive::Greater(self.stream.plain_number()?),
            Keyword::Byte => self.byte()?,
            Keyword::Inbound => Primitive::Inbound,
            Keyword::Outbound => Primitive::Outbound,
            Keyword::Ifindex => Primitive::Ifindex(self.stream.plain_number()?),
            Keyword::Vlan => Primitive::Vlan(self.number_behind()?),
            Keyword::Mpls => Primitive::Mpls(self.number_behind()?),
            Keyword::Pppoed => Primitive::Pppoed,
            Keyword::Pppoes => Primitive::Pppoes(self.number_behind()?),
            Keyword::Geneve => Primitive::Geneve(self.number_behind()?),
            Keyword::Vxlan => Primitive::Vxlan(self.number_behind()?),
            Keyword::Llc => Primitive::Llc(self.llc_name()),
            _ => {
                let what = self.stream.text_of(at_keyword).to_owned();
                return Err(ErrorKind::NotOnLink { what, link: "this link type" }.at(at_keyword));
            }
        })
    }

    /// The number behind `vlan` and the like, if there is one.
    fn number_behind(&mut self) -> Result<Option<Placed<u32>>, FilterError> {
        let start = self.stream.span();
        let number = self.stream.optional_number()?;
        Ok(number.map(|value| Placed { value, span: self.stream.since(start) }))
    }

    /// The name behind `llc`, if there is one.
    fn llc_name(&mut self) -> Option<Placed<String>> {
        let span = self.stream.span();
        self.stream.llc_name().map(|value| Placed { value, span })
    }

    /// `byte N op V`, behind `byte`.
    fn byte(&mut self) -> Result<Primitive, FilterError> {
        let offset = self.stream.plain_number()?;
        let op = match self.stream.kind() {
            Some(TokenKind::Equal) => ByteOp::Equal,
            Some(TokenKind::Less) => ByteOp::Less,
            Some(TokenKind::Greater) => ByteOp::Greater,
            Some(TokenKind::Operator(Operator::And)) => ByteOp::And,
            Some(TokenKind::Operator(Operator::Or)) => ByteOp::Or,
            _ => return Err(self.stream.unexpected()),
        };
        self.stream.advance();
        Ok(Primitive::Byte { offset, op, value: self.stream.plain_number()? })
    }
}

/// Whether a term can begin with this word (protocols, directions and kinds aside).
fn begins_term(keyword: Keyword) -> bool {
    !matches!(
        keyword,
        Keyword::And
            | Keyword::Or
            | Keyword::Not
            | Keyword::Mask
            | Keyword::Len
            | Keyword::Proto(_)
            | Keyword::Direction(_)
            | Keyword::Kind(_)
    )
}

/// The comparison that a relational operator makes, and whether its outcome is turned around.
fn relation_operator(kind: &TokenKind) -> Option<(Comparison, bool)> {
    Some(match kind {
        TokenKind::Equal => (Comparison::Equal, false),
        TokenKind::NotEqual => (Comparison::Equal, true),
        TokenKind::Greater => (Comparison::Greater, false),
        TokenKind::LessOrEqual => (Comparison::Greater, true),
        TokenKind::GreaterOrEqual => (Comparison::GreaterOrEqual, false),
        TokenKind::Less => (Comparison::GreaterOrEqual, true),
        _ => return None,
    })
}
