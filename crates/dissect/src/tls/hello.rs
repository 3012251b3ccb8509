//! Hellos: the first message of either side.

use std::fmt;

use super::Random;
use crate::bytes::Reader;

/// The first message of a side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// Of a client.
    Client(ClientHello),
    /// Of a server.
    Server(ServerHello),
}

impl Hello {
    /// Whether a server wants another client hello first.
    pub fn is_retry(&self) -> bool {
        matches!(self, Self::Server(ServerHello { is_retry: true, .. }))
    }
}

/// What a client begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// What its keys are logged under.
    pub random: Random,
    /// Whom it wants to talk to (SNI).
    pub server_name: Option<String>,
    /// What it can speak inside, best first (ALPN).
    pub protocols: Vec<String>,
    /// The newest version that it offers.
    pub version: Version,
}

/// What a server answers with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerHello {
    /// The version that is spoken.
    pub version: Version,
    /// What is spoken inside, where that is said in the clear: before TLS 1.3.
    pub protocol: Option<String>,
    /// It wants another client hello first.
    pub is_retry: bool,
}

/// A version of TLS: 0x0303 is 1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u16);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0x0300 => f.write_str("SSL 3.0"),
            0x0301..=0x0304 => write!(f, "TLS 1.{}", self.0 - 0x0301),
            other => write!(f, "TLS {other:#06x}"),
        }
    }
}

/// Reads a handshake message without its head of four bytes.
pub(super) fn hello(kind: u8, body: &[u8]) -> Option<Hello> {
    match kind {
        CLIENT_HELLO => client(Reader(body)).map(Hello::Client),
        SERVER_HELLO => server(Reader(body)).map(Hello::Server),
        _ => None,
    }
}

fn client(mut body: Reader<'_>) -> Option<ClientHello> {
    let (legacy, random) = (Version(body.u16()?), body.array()?);
    let _session = body.short_vector()?;
    let _ciphers = body.vector()?;
    let _compressions = body.short_vector()?;
    let mut hello = ClientHello { random, server_name: None, protocols: Vec::new(), version: legacy };
    // SSL 3.0 has no extensions.
    let mut extensions = body.vector().unwrap_or(Reader(&[]));
    while let Some((kind, data)) = extension(&mut extensions) {
        match kind {
            SERVER_NAME => hello.server_name = server_name(data),
            PROTOCOLS => hello.protocols = protocols(data).unwrap_or_default(),
            SUPPORTED_VERSIONS => hello.version = newest(data).unwrap_or(legacy),
            _ => {}
        }
    }
    Some(hello)
}

fn server(mut body: Reader<'_>) -> Option<ServerHello> {
    let (legacy, random): (_, Random) = (Version(body.u16()?), body.array()?);
    let _session = body.short_vector()?;
    let (_cipher, _compression) = (body.u16()?, body.u8()?);
    let mut hello = ServerHello { version: legacy, protocol: None, is_retry: random == RETRY };
    let mut extensions = body.vector().unwrap_or(Reader(&[]));
    while let Some((kind, mut data)) = extension(&mut extensions) {
        match kind {
            PROTOCOLS => hello.protocol = protocols(data).and_then(|mut all| all.pop()),
            SUPPORTED_VERSIONS => hello.version = data.u16().map_or(legacy, Version),
            _ => {}
        }
    }
    Some(hello)
}

fn extension<'a>(extensions: &mut Reader<'a>) -> Option<(u16, Reader<'a>)> {
    Some((extensions.u16()?, extensions.vector()?))
}

fn server_name(mut data: Reader<'_>) -> Option<String> {
    let mut names = data.vector()?;
    while let (Some(kind), Some(name)) = (names.u8(), names.vector()) {
        if kind == HOST_NAME {
            return Some(text(name.0));
        }
    }
    None
}

fn protocols(mut data: Reader<'_>) -> Option<Vec<String>> {
    let mut list = data.vector()?;
    let mut protocols = Vec::new();
    while let Some(protocol) = list.short_vector() {
        // Random ones keep servers tolerant (RFC 8701) and mean nothing.
        if !is_grease(protocol.0) && protocols.len() < MAX_PROTOCOLS {
            protocols.push(text(protocol.0));
        }
    }
    Some(protocols)
}

fn newest(mut data: Reader<'_>) -> Option<Version> {
    let mut list = data.short_vector()?;
    let versions = std::iter::from_fn(|| list.u16());
    versions.filter(|version| !is_grease(&version.to_be_bytes())).max().map(Version)
}

/// RFC 8701, section 2: two equal bytes that end with `a`.
fn is_grease(bytes: &[u8]) -> bool {
    matches!(bytes, [a, b] if a == b && a & 0xf == 0xa)
}

/// What is not printable comes from somebody who is up to something.
fn text(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| byte.escape_ascii()).map(char::from).collect()
}

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
// Extensions, IANA's numbers.
const SERVER_NAME: u16 = 0;
const PROTOCOLS: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;
/// The one kind of name that there is.
const HOST_NAME: u8 = 0;
const MAX_PROTOCOLS: usize = 16;
/// The random of a server hello that is a retry request: SHA-256 of "HelloRetryRequest".
pub(super) const RETRY: Random = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
    0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn vector(bytes: &[u8]) -> Vec<u8> {
        [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &vector(data)].concat()
    }

    /// The body of a client hello for a name, with `padding` bytes of an extension that nobody knows.
    pub(in crate::tls) fn client_body(name: &str, padding: usize) -> Vec<u8> {
        let extensions = [
            extension(21, &vec![0; padding]),
            extension(SERVER_NAME, &vector(&[&[HOST_NAME][..], &vector(name.as_bytes())].concat())),
            extension(PROTOCOLS, &vector(b"\x02\x0a\x0a\x02h2\x08http/1.1")),
            extension(SUPPORTED_VERSIONS, b"\x06\x1a\x1a\x03\x04\x03\x03"),
        ]
        .concat();
        let head = [&b"\x03\x03"[..], &[7; 32], b"\0", &vector(&[0x13, 1]), b"\x01\0"].concat();
        [head, vector(&extensions)].concat()
    }

    pub(in crate::tls) fn server_body(random: Random) -> Vec<u8> {
        let extensions =
            [extension(SUPPORTED_VERSIONS, b"\x03\x04"), extension(PROTOCOLS, &vector(b"\x02h2"))];
        [&b"\x03\x03"[..], &random, b"\0\x13\x01\0", &vector(&extensions.concat())].concat()
    }

    #[test]
    fn a_client_says_whom_it_wants_and_what_it_speaks() {
        let expected = ClientHello {
            random: [7; 32],
            server_name: Some("example.com".into()),
            protocols: vec!["h2".into(), "http/1.1".into()],
            version: Version(0x0304),
        };
        assert_eq!(hello(CLIENT_HELLO, &client_body("example.com", 0)), Some(Hello::Client(expected)));
    }

    #[test]
    fn a_server_says_the_version_and_perhaps_the_protocol() {
        let expected = ServerHello { version: Version(0x0304), protocol: Some("h2".into()), is_retry: false };
        assert_eq!(hello(SERVER_HELLO, &server_body([1; 32])), Some(Hello::Server(expected.clone())));
        let retry = ServerHello { is_retry: true, ..expected };
        assert_eq!(hello(SERVER_HELLO, &server_body(RETRY)), Some(Hello::Server(retry)));
        let names = [0x0303, 0x0304, 0x7f1c].map(|version| Version(version).to_string());
        assert_eq!(names, ["TLS 1.2", "TLS 1.3", "TLS 0x7f1c"]);
    }

    #[test]
    fn a_hello_cut_anywhere_does_no_harm() {
        for body in [client_body("a\x1bb", 9), server_body([1; 32])] {
            for len in 0..body.len() {
                for kind in [CLIENT_HELLO, SERVER_HELLO, 11] {
                    let _ = hello(kind, &body[..len]);
                }
            }
        }
        let Some(Hello::Client(hello)) = hello(CLIENT_HELLO, &client_body("a\x1bb", 9)) else { panic!() };
        assert_eq!(hello.server_name.as_deref(), Some(r"a\x1bb"));
    }
}
