//! The text, cut into tokens.
//!
//! # Theory of operation
//! At every place the longest match wins. Where two kinds of token match the same length, the first of this
//! order does: reserved word or operator, ARCnet address, MAC address, number, dotted IPv4 address, IPv6
//! address, broken MAC address, named constant, identifier. That order makes `1.2.3.4.5.6` a MAC address,
//! `001122334455` another, `1.2.3.4.5` a host name, `tcp-syn` the number 2 and `10-3` an identifier.
//!
//! # References
//! pcap-filter(7); RFC 4291 section 2.2 for the forms of IPv6 addresses.

use std::net::Ipv6Addr;

use crate::ast::Operator;
use crate::error::{ErrorKind, FilterError, Span};
use crate::keywords::{Keyword, constant, keyword};

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Keyword(Keyword),
    Number(u32),
    /// Two to four numbers joined by dots.
    Dotted,
    Ipv6(Ipv6Addr),
    Mac([u8; 6]),
    Arcnet,
    /// A name; the text of it, without the backslash that may have escaped it.
    Name(String),
    Operator(Operator),
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Open,
    Close,
    OpenBracket,
    CloseBracket,
    Colon,
}

/// A token and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
}

/// Cuts the whole text.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, FilterError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&byte) = text.as_bytes().get(at) {
        if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            at += 1;
            continue;
        }
        let token = token(text, at)?;
        at = token.span.end;
        tokens.push(token);
    }
    Ok(tokens)
}

/// The token that begins at `at`, where no white space is.
fn token(text: &str, at: usize) -> Result<Token, FilterError> {
    let rest = &text[at..];
    if let Some((kind, len)) = symbol(rest) {
        return Ok(Token { kind, span: Span::new(at, at + len) });
    }
    let first = rest.chars().next().unwrap_or(' ');
    let (kind, len) = match first {
        '$' => arcnet(rest, at)?,
        '\\' => escaped(rest, at)?,
        ':' | '0'..='9' | 'a'..='z' | 'A'..='Z' => word(rest, at)?,
        _ => return Err(ErrorKind::UnknownCharacter(first).at(Span::new(at, at + first.len_utf8()))),
    };
    Ok(Token { kind, span: Span::new(at, at + len) })
}

/// An operator or bracket, and its length. A colon is one only where no IPv6 address begins with it: two are
/// an address already, and no address begins with one.
fn symbol(rest: &str) -> Option<(TokenKind, usize)> {
    let two = rest.get(..2).and_then(|two| SYMBOLS_2.iter().find(|(text, _)| *text == two));
    if let Some((_, kind)) = two {
        return Some((kind.clone(), 2));
    }
    let one = rest.get(..1).and_then(|one| SYMBOLS_1.iter().find(|(text, _)| *text == one))?;
    if rest.starts_with("::") {
        return None;
    }
    Some((one.1.clone(), 1))
}

/// `$` and one or two hexadecimal digits.
fn arcnet(rest: &str, at: usize) -> Result<(TokenKind, usize), FilterError> {
    match hex_len(&rest[1..]).min(2) {
        0 => Err(ErrorKind::UnknownCharacter('$').at(Span::new(at, at + 1))),
        digits => Ok((TokenKind::Arcnet, 1 + digits)),
    }
}

/// A backslash, and what it makes a name of.
fn escaped(rest: &str, at: usize) -> Result<(TokenKind, usize), FilterError> {
    let name = &rest[1..];
    let len = name.find([' ', '!', '(', ')', '\n', '\t']).unwrap_or(name.len());
    match len {
        0 => Err(ErrorKind::UnknownCharacter('\\').at(Span::new(at, at + 1))),
        len => Ok((TokenKind::Name(name[..len].to_owned()), 1 + len)),
    }
}

/// An address, number, reserved word, constant or name: the longest that matches, the first in this order
/// among equals.
fn word(rest: &str, at: usize) -> Result<(TokenKind, usize), FilterError> {
    let name_len = name_len(rest);
    let mac = mac(rest);
    let number_len = number_len(rest);
    let dotted_len = dotted_len(rest);
    let ipv6 = ipv6(rest);
    let broken_mac_len = broken_mac_len(rest);
    let longest = [
        name_len,
        mac.map_or(0, |(_, len)| len),
        number_len,
        dotted_len,
        ipv6.map_or(0, |(_, len)| len),
        broken_mac_len,
    ];
    let longest = longest.into_iter().max().unwrap_or(0);
    let span = Span::new(at, at + longest);
    let text = &rest[..longest];
    let kind = match (keyword(text), mac, ipv6) {
        (Some(keyword), ..) => TokenKind::Keyword(keyword),
        (_, Some((mac, len)), _) if len == longest => TokenKind::Mac(mac),
        _ if number_len == longest => TokenKind::Number(number(text).map_err(|kind| kind.at(span))?),
        _ if dotted_len == longest => TokenKind::Dotted,
        (.., Some((ipv6, len))) if len == longest => TokenKind::Ipv6(ipv6),
        _ if broken_mac_len == longest => return Err(ErrorKind::BadMac(text.to_owned()).at(span)),
        _ => constant(text).map_or_else(|| TokenKind::Name(text.to_owned()), TokenKind::Number),
    };
    Ok((kind, longest))
}

/// The length of the name at the beginning of `rest`: letters, digits, `-`, `_` and `.`, not ending in `-` or
/// `_`.
fn name_len(rest: &str) -> usize {
    if !rest.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return 0;
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let run = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
    rest[..run].trim_end_matches(['-', '_']).len()
}

/// How many decimal digits `text` begins with.
fn digit_len(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len())
}

/// How many hexadecimal digits `text` begins with.
fn hex_len(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(text.len())
}

/// The length of the number at the beginning of `rest`, decimal or with `0x`.
fn number_len(rest: &str) -> usize {
    match rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")).map_or(0, hex_len) {
        0 => digit_len(rest),
        digits => 2 + digits,
    }
}

/// The length of two, three or four numbers with dots between them.
fn dotted_len(rest: &str) -> usize {
    let mut len = number_len(rest);
    let mut parts = usize::from(len > 0);
    while (1..4).contains(&parts) && rest[len..].starts_with('.') {
        match number_len(&rest[len + 1..]) {
            0 => break,
            more => len += 1 + more,
        }
        parts += 1;
    }
    if parts >= 2 { len } else { 0 }
}

/// The value of a decimal, octal (`017`) or hexadecimal (`0xf`) number.
fn number(text: &str) -> Result<u32, ErrorKind> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = match hex {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    if radix == 8 && digits.contains(['8', '9']) {
        return Err(ErrorKind::NotOctal(text.to_owned()));
    }
    // Leading zeros aside, the digits are valid in their radix, so all that can be wrong is the size.
    u32::from_str_radix(digits, radix).map_err(|_too_large| ErrorKind::NumberTooLarge(text.to_owned()))
}

/// The longest IPv6 address at the beginning of `rest`, and its length.
fn ipv6(rest: &str) -> Option<(Ipv6Addr, usize)> {
    let run = ipv6_run(rest);
    if !rest[..run].contains(':') {
        return None;
    }
    (2..=run).rev().find_map(|len| Some((rest[..len].parse().ok()?, len)))
}

/// How far an IPv6 address at the beginning of `rest` can reach at most. What it cannot have, such as a second
/// `::`, ends it here, so that few lengths are left to try.
fn ipv6_run(rest: &str) -> usize {
    let mut colons = 0;
    let mut pairs = 0;
    let mut before = b' ';
    for (len, byte) in rest.bytes().enumerate().take(IPV6_CHARS) {
        if byte == b':' {
            colons += 1;
            pairs += usize::from(before == b':');
        } else if !byte.is_ascii_hexdigit() && byte != b'.' {
            return len;
        }
        if colons > IPV6_COLONS || pairs > 1 {
            return len;
        }
        before = byte;
    }
    rest.len().min(IPV6_CHARS)
}

/// The MAC address at the beginning of `rest`, and its length: six groups with one separator, three groups of
/// four digits with dots, or twelve digits.
fn mac(rest: &str) -> Option<([u8; 6], usize)> {
    let grouped = [':', '-', '.'].into_iter().find_map(|separator| mac_groups(rest, separator));
    let dotted = mac_quads(rest, ".", 14);
    let plain = mac_quads(rest, "", 12);
    [grouped, dotted, plain].into_iter().flatten().max_by_key(|(_, len)| *len)
}

/// Six groups of one or two digits.
fn mac_groups(rest: &str, separator: char) -> Option<([u8; 6], usize)> {
    let mut mac = [0; 6];
    let mut len = 0;
    for (index, octet) in mac.iter_mut().enumerate() {
        if index > 0 {
            rest[len..].strip_prefix(separator)?;
            len += 1;
        }
        let digits = hex_len(&rest[len..]).min(2);
        *octet = u8::from_str_radix(rest.get(len..len + digits)?, 16).ok()?;
        len += digits;
    }
    Some((mac, len))
}

/// Three groups of four digits with `separator` between them, `len` characters in all.
fn mac_quads(rest: &str, separator: &str, len: usize) -> Option<([u8; 6], usize)> {
    let text = rest.get(..len)?;
    let mut mac = [0; 6];
    for group in 0..3 {
        let start = group * (4 + separator.len());
        let digits = text.get(start..start + 4).filter(|digits| hex_len(digits) == 4)?;
        if group > 0 && !text[..start].ends_with(separator) {
            return None;
        }
        let value = u16::from_str_radix(digits, 16).ok()?;
        mac[group * 2..group * 2 + 2].copy_from_slice(&value.to_be_bytes());
    }
    Some((mac, len))
}

/// The length of two or more groups of one or two hexadecimal digits, each followed by colons.
fn broken_mac_len(rest: &str) -> usize {
    let mut len = 0;
    let mut groups = 0;
    loop {
        let digits = hex_len(&rest[len..]);
        // Before the colons are counted: there can be 64 KiB of them at every place of the text.
        if !(1..=2).contains(&digits) {
            break;
        }
        let after = &rest[len + digits..];
        let colons = after.len() - after.trim_start_matches(':').len();
        if colons == 0 {
            break;
        }
        len += digits + colons;
        groups += 1;
    }
    if groups >= 2 { len } else { 0 }
}

/// The longest text of an IPv6 address, `INET6_ADDRSTRLEN` without its final zero.
const IPV6_CHARS: usize = 45;
/// The most colons of an IPv6 address: `1:2:3:4:5:6:7::`.
const IPV6_COLONS: usize = 8;

const SYMBOLS_2: &[(&str, TokenKind)] = &[
    ("&&", TokenKind::Keyword(Keyword::And)),
    ("||", TokenKind::Keyword(Keyword::Or)),
    (">=", TokenKind::GreaterOrEqual),
    ("<=", TokenKind::LessOrEqual),
    ("!=", TokenKind::NotEqual),
    ("==", TokenKind::Equal),
    ("<<", TokenKind::Operator(Operator::Shl)),
    (">>", TokenKind::Operator(Operator::Shr)),
];

const SYMBOLS_1: &[(&str, TokenKind)] = &[
    ("+", TokenKind::Operator(Operator::Add)),
    ("-", TokenKind::Operator(Operator::Sub)),
    ("*", TokenKind::Operator(Operator::Mul)),
    ("/", TokenKind::Operator(Operator::Div)),
    ("%", TokenKind::Operator(Operator::Mod)),
    ("&", TokenKind::Operator(Operator::And)),
    ("|", TokenKind::Operator(Operator::Or)),
    ("^", TokenKind::Operator(Operator::Xor)),
    ("!", TokenKind::Keyword(Keyword::Not)),
    ("=", TokenKind::Equal),
    ("<", TokenKind::Less),
    (">", TokenKind::Greater),
    ("(", TokenKind::Open),
    (")", TokenKind::Close),
    ("[", TokenKind::OpenBracket),
    ("]", TokenKind::CloseBracket),
    (":", TokenKind::Colon),
];

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn kinds(text: &str) -> Vec<TokenKind> {
        tokens(text).unwrap().into_iter().map(|token| token.kind).collect()
    }

    #[track_caller]
    fn check(text: &str, expected: &[TokenKind]) {
        assert_eq!(kinds(text), expected, "{text}");
    }

    fn name(text: &str) -> TokenKind {
        TokenKind::Name(text.to_owned())
    }

    #[test]
    fn the_longest_match_wins() {
        check("len-14", &[name("len-14")]);
        check("10-3", &[name("10-3")]);
        check("1.2.3.4.5", &[name("1.2.3.4.5")]);
        check("10.0.0.1and", &[name("10.0.0.1and")]);
        check("ip6x", &[name("ip6x")]);
        check("0x", &[name("0x")]);
    }

    #[test]
    fn a_name_does_not_end_in_a_dash() {
        let dash = TokenKind::Operator(Operator::Sub);
        check("foo- 1", &[name("foo"), dash, TokenKind::Number(1)]);
    }

    #[test]
    fn numbers_have_three_radices() {
        check("10 0x1F 017", &[TokenKind::Number(10), TokenKind::Number(31), TokenKind::Number(15)]);
    }

    #[test]
    fn constants_are_numbers() {
        check("tcp-syn", &[TokenKind::Number(2)]);
    }

    #[test]
    fn mac_addresses_have_many_forms() {
        let mac = TokenKind::Mac([1, 2, 3, 4, 5, 6]);
        for text in ["1:2:3:4:5:6", "01-02-03-04-05-06", "1.2.3.4.5.6", "0102.0304.0506", "010203040506"] {
            check(text, std::slice::from_ref(&mac));
        }
    }

    #[test]
    fn ipv6_is_told_from_a_load() {
        check("::", &[TokenKind::Ipv6(Ipv6Addr::UNSPECIFIED)]);
        check("::ffff:1.2.3.4", &[TokenKind::Ipv6("::ffff:1.2.3.4".parse().unwrap())]);
        check("6:2", &[TokenKind::Number(6), TokenKind::Colon, TokenKind::Number(2)]);
    }

    #[test]
    fn the_longest_ipv6_address_wins() {
        let ipv6 = |text: &str| TokenKind::Ipv6(text.parse().unwrap());
        check("1:2:3:4:5:6:7::", &[ipv6("1:2:3:4:5:6:7:0")]);
        check("::2:3:4:5:6:7:8", &[ipv6("0:2:3:4:5:6:7:8")]);
        check("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", &[ipv6(&"ffff:".repeat(8)[..39])]);
        check("::1::2", &[ipv6("::1"), ipv6("::2")]);
        check("12345::", &[TokenKind::Number(12345), ipv6("::")]);
        check(":::", &[ipv6("::"), TokenKind::Colon]);
        check("::::", &[ipv6("::"), ipv6("::")]);
        check(":a", &[TokenKind::Colon, name("a")]);
    }

    #[test]
    fn many_colons_do_not_take_long() {
        let start = Instant::now();
        assert_eq!(kinds(&":".repeat(1 << 16)).len(), 1 << 15);
        for part in ["a:::z ", "aaa:", "::a", ":a", "aaa:aaa:aaa:aaa:aaa:aaa:aaa:g "] {
            // Some of these are no filter: that must be found out soon, too.
            drop(tokens(&part.repeat((1 << 16) / part.len())));
        }
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    }

    #[test]
    fn a_backslash_makes_a_name() {
        check("\\tcp", &[name("tcp")]);
        check("\\10.0.0.1)", &[name("10.0.0.1"), TokenKind::Close]);
    }

    #[track_caller]
    fn check_refused(text: &str, start: usize, end: usize, message: &str) {
        let error = tokens(text).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.span), (message, Span::new(start, end)), "{text}");
    }

    #[test]
    fn what_begins_no_token_is_refused() {
        check_refused("tcp , udp", 4, 5, "no filter word begins with ','");
        check_refused("é", 0, 2, "no filter word begins with '\\u{e9}'");
        check_refused("\\ x", 0, 1, "no filter word begins with '\\\\'");
        check_refused("$g", 0, 1, "no filter word begins with '$'");
        check_refused("4294967296", 0, 10, "number '4294967296' is greater than 4294967295");
        check_refused("port 089", 5, 8, "'089' begins with 0 and is no octal number");
        check_refused("ab:cd:ef:", 0, 9, "bogus ethernet address 'ab:cd:ef:'");
    }
}
