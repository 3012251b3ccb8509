//! The first bytes of one direction of a connection, put together from its segments.
//!
//! # Theory of operation
//! A hello may need several segments and several records, and segments come twice or in the wrong order. Bytes are kept by their place behind the first,
//! up to a limit that every hello of today fits in; then it is read, once.

use super::hello::{Hello, hello};
use crate::bytes::Reader;

/// One direction of a connection that may be TLS.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// The sequence number of the first byte; the first segment tells.
    start: Option<u32>,
    /// From the first byte on, without a gap.
    bytes: Vec<u8>,
    /// Segments behind a gap.
    early: Vec<(usize, Vec<u8>)>,
}

/// What the bytes so far are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More are needed.
    Incomplete,
    /// A hello.
    Hello(Hello),
    /// Something else than TLS.
    Foreign,
}

impl Stream {
    /// Says that SYN had this sequence number, so that the first byte has the next.
    pub fn begin(&mut self, syn: u32) {
        self.start = Some(syn.wrapping_add(1));
    }

    /// The bytes so far, from the first on and without a gap.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets so many of them, which were understood: the stream begins behind them.
    pub fn forget(&mut self, len: usize) {
        let len = len.min(self.bytes.len());
        self.bytes.drain(..len);
        for (place, _) in &mut self.early {
            *place -= len;
        }
        let passed = u32::try_from(len).unwrap_or(u32::MAX);
        self.start = self.start.map(|start| start.wrapping_add(passed));
    }

    /// What is kept until it can be read.
    pub fn held_bytes(&self) -> usize {
        self.bytes.len() + self.early.iter().map(|(_, bytes)| bytes.len()).sum::<usize>()
    }

    /// Whether further segments would be left.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= MAX_LEN
    }

    /// Takes a segment. Whoever has not seen SYN begins with the first segment that has bytes.
    pub fn push(&mut self, seq: u32, payload: &[u8]) -> Progress {
        let start = *self.start.get_or_insert(seq);
        self.insert(seq.wrapping_sub(start), payload);
        while let Some(at) = self.early.iter().position(|(place, _)| *place <= self.bytes.len()) {
            let (place, bytes) = self.early.swap_remove(at);
            self.append(place, &bytes);
        }
        read(&self.bytes)
    }

    /// `place` is where the segment belongs, or before the beginning if it is huge.
    fn insert(&mut self, place: u32, payload: &[u8]) {
        let Some(place) = usize::try_from(place).ok().filter(|place| *place < MAX_LEN) else { return };
        if place <= self.bytes.len() {
            self.append(place, payload);
        } else if self.early.len() < MAX_EARLY {
            let room = payload.len().min(MAX_LEN - place);
            self.early.push((place, payload[..room].to_vec()));
        }
    }

    fn append(&mut self, place: usize, payload: &[u8]) {
        let news = payload.get(self.bytes.len() - place..).unwrap_or_default();
        let room = MAX_LEN - self.bytes.len();
        self.bytes.extend_from_slice(&news[..news.len().min(room)]);
    }
}

/// Reads records until they make a whole message; of a server that wants another hello first, until they make two.
fn read(bytes: &[u8]) -> Progress {
    let mut records = Reader(bytes);
    let mut message = Vec::new();
    let mut retry = None;
    while let Some([kind, major, _minor]) = records.array() {
        // Between the two, a message of TLS 1.2 that means nothing: RFC 8446, appendix D.4.
        let is_filler = kind == CHANGE_CIPHER_SPEC && retry.is_some();
        if major != 3 || (kind != HANDSHAKE && !is_filler) {
            return retry.map_or(Progress::Foreign, Progress::Hello);
        }
        let Some(len) = records.u16() else { break };
        let part = records.take(usize::from(len).min(records.0.len())).unwrap_or_default();
        if !is_filler {
            message.extend_from_slice(part);
        }
        match whole(&message) {
            Progress::Incomplete => {}
            Progress::Hello(hello) if hello.is_retry() && retry.is_none() => {
                retry = Some(hello);
                message.clear();
            }
            known => return known,
        }
        if part.len() < len.into() {
            break;
        }
    }
    if let Some(hello) = retry {
        return Progress::Hello(hello);
    }
    // The first bytes of something else need not be a whole head of a record.
    let is_possible = bytes.first().is_none_or(|&kind| kind == HANDSHAKE);
    if is_possible && bytes.len() < MAX_LEN { Progress::Incomplete } else { Progress::Foreign }
}

fn whole(message: &[u8]) -> Progress {
    let mut reader = Reader(message);
    let (Some(kind), Some(len)) = (reader.u8(), reader.u24()) else { return Progress::Incomplete };
    let Some(body) = reader.take(len) else {
        return if len < MAX_LEN { Progress::Incomplete } else { Progress::Foreign };
    };
    hello(kind, body).map_or(Progress::Foreign, Progress::Hello)
}

/// Content type of RFC 8446, section 5.1.
const HANDSHAKE: u8 = 22;
const CHANGE_CIPHER_SPEC: u8 = 20;
/// Bytes. A client hello with post-quantum keys has two thousand; one with a ticket and a large ECH may have twice that.
const MAX_LEN: usize = 16 * 1024;
/// Segments behind a gap.
const MAX_EARLY: usize = 16;

#[cfg(test)]
mod tests {
    use super::super::hello::RETRY;
    use super::super::hello::tests::{client_body, server_body};
    use super::*;

    /// A message in records of at most `record` bytes.
    fn records(kind: u8, body: &[u8], record: usize) -> Vec<u8> {
        let [_, a, b, c] = u32::try_from(body.len()).unwrap().to_be_bytes();
        let message = [&[kind, a, b, c], body].concat();
        let head =
            |part: &[u8]| [&[22, 3, 1][..], &u16::try_from(part.len()).unwrap().to_be_bytes(), part].concat();
        message.chunks(record).flat_map(head).collect()
    }

    fn is_for(progress: &Progress, name: &str) -> bool {
        matches!(progress, Progress::Hello(Hello::Client(hello)) if hello.server_name.as_deref() == Some(name))
    }

    #[test]
    fn a_hello_in_many_segments_is_put_together_in_any_order() {
        let bytes = records(1, &client_body("example.com", 3000), 700);
        let segments: Vec<_> = bytes.chunks(500).enumerate().collect();
        let seq =
            |place: usize| 0xffff_ff00_u32.wrapping_add(1).wrapping_add(u32::try_from(place * 500).unwrap());
        for order in [vec![0, 1, 2, 3, 4, 5, 6], vec![6, 5, 4, 3, 2, 1, 0], vec![0, 0, 2, 1, 1, 4, 3, 6, 5]] {
            let mut stream = Stream::default();
            stream.begin(0xffff_ff00);
            let mut last = Progress::Incomplete;
            for &at in &order {
                assert_eq!(last, Progress::Incomplete);
                last = stream.push(seq(segments[at].0), segments[at].1);
            }
            assert!(is_for(&last, "example.com"), "{order:?}: {last:?}");
        }
    }

    #[test]
    fn a_stream_without_syn_begins_with_its_first_bytes() {
        let mut stream = Stream::default();
        assert!(is_for(&stream.push(5, &records(1, &client_body("b.example", 0), 9000)), "b.example"));
        let mut stream = Stream::default();
        let hello = stream.push(5, &records(2, &server_body([1; 32]), 9000));
        assert!(matches!(hello, Progress::Hello(Hello::Server(_))), "{hello:?}");
    }

    #[test]
    fn a_server_that_wants_another_hello_is_read_on() {
        let retry = records(2, &server_body(RETRY), 9000);
        let filler = b"\x14\x03\x03\0\x01\x01";
        let hello = records(2, &server_body([1; 32]), 9000);
        let mut stream = Stream::default();
        stream.begin(0);
        let mut seq = 1;
        for (bytes, expected) in
            [(&retry[..], true), (filler, true), (&hello[..20], true), (&hello[20..], false)]
        {
            let Progress::Hello(hello) = stream.push(seq, bytes) else { panic!("{seq}") };
            assert_eq!(hello.is_retry(), expected, "{seq}");
            seq += u32::try_from(bytes.len()).unwrap();
        }
    }

    #[test]
    fn what_is_not_tls_is_known_soon() {
        for bytes in [&b"GET / HTTP/1.1"[..], b"SSH-2.0", b"\x16\x02\0", b"\x17\x03\x03\0\x10"] {
            assert_eq!(Stream::default().push(1, bytes), Progress::Foreign, "{bytes:?}");
        }
        assert_eq!(Stream::default().push(1, b"\x16\x03"), Progress::Incomplete);
        assert_eq!(Stream::default().push(1, b""), Progress::Incomplete);
    }

    #[test]
    fn what_was_understood_is_forgotten_and_what_follows_is_not() {
        let mut stream = Stream::default();
        stream.begin(u32::MAX - 3);
        stream.push(u32::MAX - 2, b"abcdef");
        stream.push(7, b"kl");
        stream.forget(4);
        assert_eq!((stream.bytes(), stream.held_bytes()), (&b"ef"[..], 4));
        stream.push(u32::MAX - 2, b"abcdefg");
        stream.push(3, b"ghij");
        assert_eq!(stream.bytes(), b"efghijkl");
        stream.forget(99);
        assert_eq!((stream.bytes(), stream.held_bytes()), (&b""[..], 0));
        stream.push(9, b"m");
        assert_eq!(stream.bytes(), b"m");
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let mut stream = Stream::default();
        stream.begin(0);
        let full = [&[22, 3, 1, 0xff, 0xff, 1, 0, 0x3f, 0xff][..], &vec![0; 60_000]].concat();
        for place in [70_000, 9000, 40, 20_000, 1] {
            let _ = stream.push(place, &full);
        }
        assert!(stream.bytes.len() <= MAX_LEN && stream.early.is_empty(), "{}", stream.bytes.len());
    }
}
