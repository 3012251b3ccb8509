//! What can be wrong with a filter, and where in its text.
//!
//! # References
//! pcap-filter(7); the classes of refusal are those of libpcap 1.10, the words are ours.

use std::fmt::{self, Write as _};

use thiserror::Error;

/// A range of bytes of the filter text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset behind the last byte; equal to `start` at the end of the text.
    pub end: usize,
}

impl Span {
    /// The bytes from `start` up to `end`.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// From the beginning of `self` to the end of `last`.
    pub(crate) fn to(self, last: Self) -> Self {
        Self { start: self.start, end: last.end.max(self.end) }
    }
}

/// Why a filter was refused, and which part of its text is to blame.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{kind}")]
pub struct FilterError {
    /// The part of the text that is wrong; empty where something is missing at its end.
    pub span: Span,
    /// What is wrong.
    pub kind: ErrorKind,
}

impl FilterError {
    /// The line of `text` that is wrong with carets under the place, to be printed under the message.
    ///
    /// Lines are indented by two columns. Long lines are cut to what surrounds the place. Characters that a
    /// terminal would obey are replaced by `?`.
    #[must_use]
    pub fn excerpt<'a>(&self, text: &'a str) -> Excerpt<'a> {
        Excerpt { text, span: self.span }
    }
}

/// Two lines: a part of the filter, and carets. Made by [`FilterError::excerpt`].
#[derive(Clone, Copy, Debug)]
pub struct Excerpt<'a> {
    text: &'a str,
    span: Span,
}

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before_all = self.text.get(..self.span.start).unwrap_or(self.text);
        let line_start = before_all.rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.text[line_start..].lines().next().unwrap_or("");
        let before = before_all[line_start..].chars().count();
        // What is wrong may go on in the lines below, which are not shown.
        let marked_end = self.span.end.min(line_start + line.len());
        let marked = self.text.get(self.span.start..marked_end).map_or(0, |marked| marked.chars().count());
        let skip = before.saturating_sub(CONTEXT_CHARS);
        let shown: String = line.chars().skip(skip).take(LINE_CHARS).map(harmless).collect();
        let carets = marked.clamp(1, LINE_CHARS - (before - skip));
        writeln!(f, "  {}", shown.trim_end())?;
        write!(f, "  {:width$}{}", "", "^".repeat(carets), width = before - skip)
    }
}

/// What the text said, in a message: no more than [`NAME_CHARS`] of it, and nothing that a terminal obeys.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().take(NAME_CHARS).map(harmless).try_for_each(|c| f.write_char(c))?;
        if self.0.chars().nth(NAME_CHARS).is_some() { f.write_str("...") } else { Ok(()) }
    }
}

/// A character that moves no cursor, colours nothing and turns no text around.
fn harmless(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() || is_bidirectional_control(c) => '?',
        c => c,
    }
}

/// Whether a character changes the direction in which those around it are shown: `Bidi_Control` of Unicode.
fn is_bidirectional_control(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How many characters of a name a message repeats.
const NAME_CHARS: usize = 64;
/// How many characters of a long line are shown.
const LINE_CHARS: usize = 100;
/// How many of them before the place.
const CONTEXT_CHARS: usize = 60;

/// The kinds of refusal. Fields hold what the text said, so that a message can repeat it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The grammar has no place for this token.
    #[error("syntax error at '{}'", Shown(.0))]
    Unexpected(String),
    /// The text ends where something is missing.
    #[error("syntax error at the end of the filter: something is missing here")]
    UnexpectedEnd,
    /// No token begins with this character.
    #[error("no filter word begins with '{}'", .0.escape_default())]
    UnknownCharacter(char),
    /// An address, number or name with no `host`, `port` or other word before it to say what it is.
    #[error("nothing says what '{}' is: write 'host', 'net', 'port' or another such word before it", Shown(.0))]
    NoQualifier(String),
    /// A number does not fit in 32 bits.
    #[error("number '{}' is greater than 4294967295", Shown(.0))]
    NumberTooLarge(String),
    /// A number with a leading zero is octal, and this one has an 8 or a 9.
    #[error("'{}' begins with 0 and is no octal number", Shown(.0))]
    NotOctal(String),
    /// Hexadecimal groups with colons that are neither a MAC nor an IPv6 address.
    #[error("bogus ethernet address '{}'", Shown(.0))]
    BadMac(String),
    /// An octet of a dotted address is not a decimal number up to 255.
    #[error("invalid IPv4 address '{}'", Shown(.0))]
    BadIpv4(String),
    /// A value is greater than its field.
    #[error("{what} {value} is greater than {max}")]
    TooLarge {
        /// What the value is for.
        what: &'static str,
        /// The value.
        value: u32,
        /// The greatest value that the field can hold.
        max: u32,
    },
    /// `P[offset:size]` with a size other than 1, 2 or 4.
    #[error("a load has 1, 2 or 4 bytes, not {0}")]
    LoadSize(u32),
    /// A network address with bits set that its mask does not cover.
    #[error("'{}' has bits set beyond its mask", Shown(.0))]
    HostBits(String),
    /// A mask or prefix length on something that is no `net`.
    #[error("only 'net' takes a mask or prefix length")]
    MaskOnHost,
    /// Division or modulus by a constant that is zero.
    #[error("division by zero")]
    DivisionByZero,
    /// A constant shift by more than 31 bits.
    #[error("shift by {0} bits: at most 31 have a meaning")]
    ShiftTooFar(u32),
    /// Qualifiers that cannot be combined, as in `tcp host A`.
    #[error("'{}' does not go with {with}", Shown(.qualifier))]
    Qualifier {
        /// The word that is out of place.
        qualifier: String,
        /// What it stands next to.
        with: &'static str,
    },
    /// An ethernet address with no `ether` before it.
    #[error("an ethernet address needs 'ether' before it, as in 'ether host {}'", Shown(.0))]
    NeedsEther(String),
    /// `P[..]` or `P` with a protocol that has no such test.
    #[error("'{0}' cannot be used here")]
    Protocol(&'static str),
    /// A word of the language that has no meaning on this link type.
    #[error("'{}' is not supported on {link}", Shown(.what))]
    NotOnLink {
        /// The word or test.
        what: String,
        /// The link type, or what encloses the packet here.
        link: &'static str,
    },
    /// A word that needs a running interface; a capture file does not carry the answer.
    #[error("'{0}' is known of live packets only, not of a capture file")]
    LiveOnly(&'static str),
    /// `ip broadcast` where nobody said what the netmask is.
    #[error("'ip broadcast' needs a netmask")]
    NoNetmask,
    /// A name that no table has.
    #[error("unknown {what} '{}'", Shown(.name))]
    UnknownName {
        /// What kind of name it is.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A port name that belongs to another protocol.
    #[error("port '{}' is {is}", Shown(.name))]
    PortProtocol {
        /// The name.
        name: String,
        /// The protocol that it belongs to.
        is: &'static str,
    },
    /// A host name without an address of the family that was asked for.
    #[error("host '{}' has no {family} address", Shown(.name))]
    NoAddress {
        /// The name.
        name: String,
        /// `IPv4` or `IPv6`.
        family: &'static str,
    },
    /// An expression that needs more than the machine's 16 scratch cells.
    #[error("too many registers needed to evaluate this")]
    TooManyRegisters,
    /// Arithmetic that is nested deeper than [`MAX_DEPTH`](crate::MAX_DEPTH).
    #[error("arithmetic is nested too deep")]
    TooDeep,
    /// The program would be longer than the kernel takes: `BPF_MAXINSNS`, 4096 instructions.
    #[error("filter too long: {0} instructions, the kernel takes 4096")]
    TooLong(usize),
    /// The filter has so many tests that it is not even tried.
    #[error("filter too long: more than {0} tests")]
    TooManyTests(usize),
    /// The expression contradicts itself.
    #[error("expression rejects all packets")]
    RejectsAll,
}

impl ErrorKind {
    /// This error, at `span`.
    pub(crate) fn at(self, span: Span) -> FilterError {
        FilterError { span, kind: self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, start: usize, end: usize, expected: &str) {
        let error = ErrorKind::RejectsAll.at(Span::new(start, end));
        assert_eq!(error.excerpt(text).to_string(), expected);
    }

    #[test]
    fn carets_are_under_the_place() {
        check("tcp port htp or icmp", 9, 12, "  tcp port htp or icmp\n           ^^^");
    }

    #[test]
    fn the_end_of_the_text_has_one_caret() {
        check("tcp and", 7, 7, "  tcp and\n         ^");
    }

    #[test]
    fn only_the_line_of_the_place_is_shown() {
        check("tcp or\nfoo\nor udp", 7, 10, "  foo\n  ^^^");
    }

    #[test]
    fn a_long_line_is_cut() {
        let text = format!("{}x{}", "a".repeat(70), "b".repeat(100));
        let shown = format!("  {}x{}\n  {}^", "a".repeat(60), "b".repeat(39), " ".repeat(60));
        check(&text, 70, 71, &shown);
    }

    #[test]
    fn a_terminal_obeys_nothing() {
        check("\u{1b}[2J foo", 5, 8, "  ?[2J foo\n       ^^^");
        check("a\u{202e}\u{2066}\u{200f} foo", 11, 14, "  a??? foo\n       ^^^");
    }

    #[test]
    fn carets_end_with_the_line_that_is_shown() {
        check("net 10.0.0.1\n/8", 4, 15, "  net 10.0.0.1\n      ^^^^^^^^");
        check("net 10.0.0.1\r\n/8", 4, 16, "  net 10.0.0.1\n      ^^^^^^^^");
        check("tcp\n", 4, 4, "  \n  ^");
    }

    #[track_caller]
    fn check_name(name: &str, shown: &str) {
        let kind = ErrorKind::UnknownName { what: "host", name: name.to_owned() };
        assert_eq!(kind.at(Span::default()).to_string(), format!("unknown host '{shown}'"));
    }

    #[test]
    fn a_name_in_a_message_is_short_and_obeyed_by_no_terminal() {
        check_name("caf\u{e9}", "caf\u{e9}");
        check_name("\u{1b}[31mred", "?[31mred");
        check_name("a\u{202e}b\tc\u{9b}", "a?b c?");
        let whole = "\u{e9}".repeat(64);
        check_name(&whole, &whole);
        check_name(&"\u{e9}".repeat(60_000), &format!("{whole}..."));
    }
}
