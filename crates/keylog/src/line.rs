//! A line of a key log.
//!
//! ```text
//! CLIENT_RANDOM 52 bytes of hex: 64 digits, then 96 digits of secret
//! LABEL <client random: 64 hex digits> <secret: hex digits>
//! ```
//!
//! # References
//! draft-ietf-tls-keylogfile, section 2.

/// What a secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Label {
    /// Everything, up to TLS 1.2.
    ClientRandom,
    /// TLS 1.3: what the client says during the handshake.
    ClientHandshake,
    /// What the server says then.
    ServerHandshake,
    /// What the client says afterwards.
    ClientTraffic,
    /// What the server says afterwards.
    ServerTraffic,
    /// Others that readers know: early data, exporters, ECH.
    Other,
}

/// A line, as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// What the secret is for.
    pub label: Label,
    /// What the client of the connection has in its hello.
    pub client_random: [u8; 32],
    /// The whole of it, its end left out.
    pub text: &'a [u8],
}

impl<'a> Line<'a> {
    /// Reads a line without its end. `None` if it is something else: a comment, too.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let mut words = text.split(|&byte| byte == b' ');
        let (label, random, secret) = (words.next()?, words.next()?, words.next()?);
        let is_whole = words.next().is_none() && (2..=MAX_SECRET_DIGITS).contains(&secret.len());
        let is_hex = secret.len().is_multiple_of(2) && secret.iter().all(u8::is_ascii_hexdigit);
        let label = label_of(label)?;
        let client_random = hex(random)?;
        (is_whole && is_hex).then_some(Self { label, client_random, text })
    }
}

fn label_of(word: &[u8]) -> Option<Label> {
    LABELS.iter().find(|(known, _)| known.as_bytes() == word).map(|(_, label)| *label)
}

fn hex(digits: &[u8]) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(0)? << 4 | digit(1)?;
    }
    Some(bytes)
}

const LABELS: [(&str, Label); 9] = [
    ("CLIENT_RANDOM", Label::ClientRandom),
    ("CLIENT_HANDSHAKE_TRAFFIC_SECRET", Label::ClientHandshake),
    ("SERVER_HANDSHAKE_TRAFFIC_SECRET", Label::ServerHandshake),
    ("CLIENT_TRAFFIC_SECRET_0", Label::ClientTraffic),
    ("SERVER_TRAFFIC_SECRET_0", Label::ServerTraffic),
    ("CLIENT_EARLY_TRAFFIC_SECRET", Label::Other),
    ("EARLY_EXPORTER_SECRET", Label::Other),
    ("EXPORTER_SECRET", Label::Other),
    ("ECH_SECRET", Label::Other),
];
/// A hash of SHA-512, and then some.
const MAX_SECRET_DIGITS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(label: &str, random: &str, secret: &str) -> Vec<u8> {
        format!("{label} {random} {secret}").into_bytes()
    }

    #[test]
    fn a_line_is_label_random_and_secret() {
        let (random, secret) = ("Ab".repeat(32), "01".repeat(48));
        for (word, label) in LABELS {
            let text = line(word, &random, &secret);
            let expected = Line { label, client_random: [0xab; 32], text: &text };
            assert_eq!(Line::parse(&text), Some(expected));
        }
    }

    #[test]
    fn other_lines_are_nothing() {
        let (random, secret) = ("ab".repeat(32), "01".repeat(48));
        for text in [
            line("client_random", &random, &secret),
            line("CLIENT_RANDOM", &random[2..], &secret),
            line("CLIENT_RANDOM", &"xy".repeat(32), &secret),
            line("CLIENT_RANDOM", &random, "012"),
            line("CLIENT_RANDOM", &random, "0x"),
            line("CLIENT_RANDOM", &random, ""),
            line("CLIENT_RANDOM", &random, &"01".repeat(129)),
            line("CLIENT_RANDOM", &random, &format!("{secret} more")),
            line("CLIENT_RANDOM ", &random, &secret),
            b"# comment".to_vec(),
            b"".to_vec(),
            b"\xff\xfe".to_vec(),
        ] {
            assert_eq!(Line::parse(&text), None, "{}", String::from_utf8_lossy(&text));
        }
    }
}
