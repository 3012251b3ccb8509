//! The tokens, read from left to right, with the small pieces of grammar that several places share.

use crate::ast::{Direction, Id, Operator, Protocol};
use crate::error::{ErrorKind, FilterError, Span};
use crate::keywords::Keyword;
use crate::lexer::{Token, TokenKind};

/// A place in a list of tokens.
pub(crate) struct Stream<'a> {
    text: &'a str,
    /// Where the text ends, white space aside.
    end: usize,
    tokens: &'a [Token],
    next: usize,
    /// For each token: whether it is an opening parenthesis with nothing but arithmetic inside.
    arithmetic: Vec<bool>,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(text: &'a str, tokens: &'a [Token]) -> Self {
        let end = text.trim_end().len();
        Self { text, end, tokens, next: 0, arithmetic: arithmetic_parentheses(tokens) }
    }

    /// The next token.
    pub(crate) fn kind(&self) -> Option<&'a TokenKind> {
        self.tokens.get(self.next).map(|token| &token.kind)
    }

    /// The one behind it.
    fn second(&self) -> Option<&'a TokenKind> {
        self.tokens.get(self.next + 1).map(|token| &token.kind)
    }

    /// The place of the next token; at the end, the end of the text without its white space.
    pub(crate) fn span(&self) -> Span {
        self.tokens.get(self.next).map_or(Span::new(self.end, self.end), |token| token.span)
    }

    /// From `start` to the end of the last token that was taken.
    pub(crate) fn since(&self, start: Span) -> Span {
        self.next
            .checked_sub(1)
            .and_then(|last| self.tokens.get(last))
            .map_or(start, |last| start.to(last.span))
    }

    pub(crate) fn text_of(&self, span: Span) -> &'a str {
        &self.text[span.start..span.end]
    }

    pub(crate) fn text_since(&self, start: Span) -> &'a str {
        self.text_of(self.since(start))
    }

    pub(crate) fn advance(&mut self) {
        self.next += 1;
    }

    /// Takes the next token if it is this one.
    pub(crate) fn take_kind(&mut self, kind: &TokenKind) -> bool {
        let taken = self.kind() == Some(kind);
        self.next += usize::from(taken);
        taken
    }

    /// Takes the next token if it is this word.
    pub(crate) fn take(&mut self, keyword: Keyword) -> bool {
        self.take_kind(&TokenKind::Keyword(keyword))
    }

    /// Takes every `not` that comes next, and counts them.
    pub(crate) fn take_nots(&mut self) -> usize {
        let start = self.next;
        while self.take(Keyword::Not) {}
        self.next - start
    }

    pub(crate) fn take_protocol(&mut self) -> Option<Protocol> {
        let Some(TokenKind::Keyword(Keyword::Proto(protocol))) = self.kind() else { return None };
        self.advance();
        Some(*protocol)
    }

    pub(crate) fn take_direction(&mut self) -> Option<Direction> {
        let Some(TokenKind::Keyword(Keyword::Direction(direction))) = self.kind() else { return None };
        self.advance();
        Some(*direction)
    }

    /// Whether the operand that comes next is arithmetic, or a number.
    pub(crate) fn opens_arithmetic(&self) -> bool {
        match self.kind() {
            Some(
                TokenKind::Number(_) | TokenKind::Operator(Operator::Sub) | TokenKind::Keyword(Keyword::Len),
            ) => true,
            Some(TokenKind::Keyword(Keyword::Proto(_))) => self.second() == Some(&TokenKind::OpenBracket),
            Some(TokenKind::Open) => self.arithmetic[self.next],
            _ => false,
        }
    }

    /// Whether an operand may end here.
    pub(crate) fn at_operand_end(&self) -> bool {
        matches!(self.kind(), None | Some(TokenKind::Close | TokenKind::Keyword(Keyword::And | Keyword::Or)))
    }

    /// A number without parentheses.
    pub(crate) fn plain_number(&mut self) -> Result<u32, FilterError> {
        let Some(TokenKind::Number(number)) = self.kind() else { return Err(self.unexpected()) };
        self.advance();
        Ok(*number)
    }

    /// A number, maybe in parentheses.
    pub(crate) fn number(&mut self) -> Result<u32, FilterError> {
        let mut depth = 0_usize;
        while self.take_kind(&TokenKind::Open) {
            depth += 1;
        }
        let number = self.plain_number()?;
        for _ in 0..depth {
            if !self.take_kind(&TokenKind::Close) {
                return Err(self.unexpected());
            }
        }
        Ok(number)
    }

    /// A number, maybe in parentheses, if one comes next.
    pub(crate) fn optional_number(&mut self) -> Result<Option<u32>, FilterError> {
        match self.kind() {
            Some(TokenKind::Number(_) | TokenKind::Open) => self.number().map(Some),
            _ => Ok(None),
        }
    }

    /// The name behind `llc`, if there is one. `rnr` is a reserved word of pf too.
    pub(crate) fn llc_name(&mut self) -> Option<String> {
        let text = self.text_of(self.span());
        let name = match self.kind() {
            Some(TokenKind::Name(name)) => name.clone(),
            Some(TokenKind::Keyword(Keyword::Foreign)) if text == "rnr" => text.to_owned(),
            _ => return None,
        };
        self.advance();
        Some(name)
    }

    /// An id that is no number.
    pub(crate) fn id(&mut self) -> Result<Id, FilterError> {
        let text = self.text_of(self.span()).to_owned();
        let id = match self.kind() {
            Some(TokenKind::Name(name)) => Id::Name(name.clone()),
            Some(TokenKind::Dotted) => {
                self.advance();
                return self.dotted(text);
            }
            Some(TokenKind::Ipv6(address)) => {
                self.advance();
                return Ok(match self.prefix()? {
                    Some(length) => Id::Ipv6Prefix(*address, length),
                    None => Id::Ipv6(*address),
                });
            }
            Some(TokenKind::Mac(mac)) => Id::Mac(*mac),
            Some(TokenKind::Arcnet) => Id::Arcnet,
            _ => return Err(self.unexpected()),
        };
        self.advance();
        Ok(id)
    }

    /// What may follow a dotted address.
    fn dotted(&mut self, address: String) -> Result<Id, FilterError> {
        if self.take(Keyword::Mask) {
            let mask = self.text_of(self.span()).to_owned();
            if !self.take_kind(&TokenKind::Dotted) {
                return Err(self.unexpected());
            }
            return Ok(Id::DottedMask(address, mask));
        }
        Ok(match self.prefix()? {
            Some(length) => Id::DottedPrefix(address, length),
            None => Id::Dotted(address),
        })
    }

    /// `/` and a length.
    fn prefix(&mut self) -> Result<Option<u32>, FilterError> {
        if self.take_kind(&TokenKind::Operator(Operator::Div)) {
            self.plain_number().map(Some)
        } else {
            Ok(None)
        }
    }

    /// The error that the grammar has no place for the next token.
    pub(crate) fn unexpected(&self) -> FilterError {
        match self.tokens.get(self.next) {
            Some(token) => self.unexpected_at(token.span),
            None => ErrorKind::UnexpectedEnd.at(self.span()),
        }
    }

    /// The same of the token before it.
    pub(crate) fn unexpected_before(&self) -> FilterError {
        let last = self.next.checked_sub(1).and_then(|last| self.tokens.get(last));
        self.unexpected_at(last.map_or(Span::default(), |token| token.span))
    }

    /// The same of what stands at `span`.
    pub(crate) fn unexpected_at(&self, span: Span) -> FilterError {
        ErrorKind::Unexpected(self.text_of(span).to_owned()).at(span)
    }
}

/// Which opening parentheses have nothing but arithmetic inside.
fn arithmetic_parentheses(tokens: &[Token]) -> Vec<bool> {
    let mut arithmetic = vec![false; tokens.len()];
    let mut open: Vec<usize> = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        match &token.kind {
            TokenKind::Open => {
                arithmetic[index] = true;
                open.push(index);
            }
            TokenKind::Close => {
                let inner = open.pop();
                if let (Some(inner), Some(&outer)) = (inner, open.last()) {
                    arithmetic[outer] &= arithmetic[inner];
                }
            }
            kind => {
                let loads = tokens.get(index + 1).is_some_and(|next| next.kind == TokenKind::OpenBracket);
                if let Some(&innermost) = open.last() {
                    arithmetic[innermost] &= is_arithmetic(kind, loads);
                }
            }
        }
    }
    // Never closed: whatever it is, it is wrong, and the other parser says so better.
    for index in open {
        arithmetic[index] = false;
    }
    arithmetic
}

/// Whether a token can be part of an arithmetic expression; a protocol only if it `loads`.
fn is_arithmetic(kind: &TokenKind, loads: bool) -> bool {
    match kind {
        TokenKind::Number(_)
        | TokenKind::Operator(_)
        | TokenKind::OpenBracket
        | TokenKind::CloseBracket
        | TokenKind::Colon
        | TokenKind::Keyword(Keyword::Len) => true,
        TokenKind::Keyword(Keyword::Proto(_)) => loads,
        _ => false,
    }
}
