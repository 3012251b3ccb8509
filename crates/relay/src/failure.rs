//! The answer to a query whose server cannot be reached.
//!
//! Without it a resolver waits for 5 s before it asks the next server; with it, it goes on at once. glibc and dig take an
//! answer for theirs only if it repeats the question.
//!
//! ```text
//!   0  1  2  3  4  5  6  7  8  9  0  1  2  3  4  5
//! |                      ID                       |
//! |QR|   Opcode  |AA|TC|RD|RA| Z|AD|CD|   RCODE   |
//! |                    QDCOUNT                    |
//! |                    ANCOUNT                    |
//! |                    NSCOUNT                    |
//! |                    ARCOUNT                    |
//! ```
//!
//! # References
//! RFC 1035 sections 4.1.1 and 4.1.2; RFC 4035 section 3.2.2 (CD); glibc resolv/res_send.c, `send_dg()`.

/// An answer that says SERVFAIL, ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    bytes: [u8; MAX],
    len: usize,
}

impl Failure {
    /// The answer to `query`. `None` if that is no query, so nobody waits for an answer.
    pub(crate) fn to(query: &[u8]) -> Option<Self> {
        let header = query.first_chunk::<HEADER>()?;
        if header[2] & QR != 0 {
            return None;
        }
        let question = question(query);
        let mut bytes = [0; MAX];
        bytes[..2].copy_from_slice(&header[..2]);
        bytes[2] = QR | header[2] & (OPCODE | RD);
        // Whoever asked for recursion asked a server that has it: that is what a name server in resolv.conf is for.
        bytes[3] = (header[2] & RD) << 7 | header[3] & CD | SERVFAIL;
        bytes[5] = u8::from(question.is_some());
        let question = question.unwrap_or_default();
        let len = HEADER + question.len();
        bytes[HEADER..len].copy_from_slice(question);
        Some(Self { bytes, len })
    }

    /// Whether `answer` answers the same query.
    pub(crate) fn has_id_of(&self, answer: &[u8]) -> bool {
        answer.get(..2) == Some(&self.bytes[..2])
    }

    /// The message.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The question of a query that has one, whole and without compression.
fn question(query: &[u8]) -> Option<&[u8]> {
    if query.get(4..6)? != [0, 1] {
        return None;
    }
    let mut end = HEADER;
    loop {
        let label = usize::from(*query.get(end)?);
        end += 1 + label;
        match label {
            0 => break,
            1..=63 => {}
            _ => return None, // A pointer, and nothing stands before the question that it could point to.
        }
        if end - HEADER > MAX_NAME {
            return None;
        }
    }
    query.get(HEADER..end + TYPE_AND_CLASS).filter(|question| question.len() <= MAX_NAME + TYPE_AND_CLASS)
}

const HEADER: usize = 12;
const MAX_NAME: usize = 255;
const TYPE_AND_CLASS: usize = 4;
const MAX: usize = HEADER + MAX_NAME + TYPE_AND_CLASS;

// Bits of the header's third byte.
const QR: u8 = 0x80;
const OPCODE: u8 = 0x78;
const RD: u8 = 0x01;
// Bits of its fourth.
const CD: u8 = 0x10;
const SERVFAIL: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &[u8] =
        b"\x12\x34\x01\x10\0\x01\0\0\0\0\0\x01\x02ns\x05trace\0\0\x1c\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\0";

    fn check(query: &[u8], expected: Option<&[u8]>) {
        let failure = Failure::to(query);
        assert_eq!(failure.as_ref().map(Failure::bytes), expected, "{query:02x?}");
    }

    #[test]
    fn it_repeats_id_and_question_and_no_more() {
        check(QUERY, Some(b"\x12\x34\x81\x92\0\x01\0\0\0\0\0\0\x02ns\x05trace\0\0\x1c\0\x01"));
        check(
            b"\x12\x34\0\0\0\x01\0\0\0\0\0\0\0\0\x02\0\x01",
            Some(b"\x12\x34\x80\x02\0\x01\0\0\0\0\0\0\0\0\x02\0\x01"),
        );
    }

    #[test]
    fn what_is_no_query_has_no_answer() {
        check(b"", None);
        check(&QUERY[..11], None);
        check(b"\x12\x34\x81\x80\0\x01\0\0\0\0\0\0\0\0\x01\0\x01", None);
    }

    #[test]
    fn a_question_that_is_not_whole_is_not_repeated() {
        let header_only: &[u8] = b"\x12\x34\x81\x12\0\0\0\0\0\0\0\0";
        let header_only = &[header_only[0], 0x34, 0x81, 0x92, 0, 0, 0, 0, 0, 0, 0, 0];
        for len in 12..12 + 14 {
            check(&QUERY[..len], Some(header_only));
        }
        check(b"\x12\x34\x01\x10\0\x02\0\0\0\0\0\0\0\0\x01\0\x01\0\0\x1c\0\x01", Some(header_only));
        check(b"\x12\x34\x01\x10\0\x01\0\0\0\0\0\0\xc0\x0c\0\x01\0\x01", Some(header_only));
    }

    #[test]
    fn a_name_of_255_bytes_fits_and_a_longer_one_is_not_repeated() {
        for (last, fits) in [(61, true), (62, false)] {
            let mut query = QUERY[..12].to_vec();
            for label in [63, 63, 63, last] {
                query.push(label);
                query.extend(vec![b'x'; usize::from(label)]);
            }
            query.extend([0, 0, 1, 0, 1]);
            let failure = Failure::to(&query).expect("it is a query");
            assert_eq!(failure.bytes().len() > HEADER, fits);
        }
    }

    #[test]
    fn an_answer_is_known_by_its_id() {
        let failure = Failure::to(QUERY).expect("it is a query");
        assert!(failure.has_id_of(b"\x12\x34\x81\x80"));
        assert!(!failure.has_id_of(b"\x12\x35\x81\x80") && !failure.has_id_of(b"\x12"));
    }
}
