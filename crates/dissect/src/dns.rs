//! Messages of DNS: what was asked, and which addresses were the answer.
//!
//! # References
//! RFC 1035, section 4; RFC 3596 (AAAA); RFC 9460 (HTTPS, SVCB).

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use crate::bytes::Reader;

/// A question or its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The same in both.
    pub id: u16,
    /// Whether it is an answer.
    pub is_response: bool,
    /// What became of the question: 0 is fine, [`NXDOMAIN`] no such name.
    pub rcode: u8,
    /// What is asked.
    pub questions: Vec<Question>,
    /// Addresses and other names, of the answer section.
    pub answers: Vec<Answer>,
}

/// A name and what is wanted of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// With no dot at its end.
    pub name: String,
    /// `A` is 1.
    pub qtype: Qtype,
}

/// One record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whose record it is.
    pub name: String,
    /// What it says.
    pub data: Data,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// A or AAAA.
    Address(IpAddr),
    /// CNAME: the name is another name's.
    Alias(String),
    /// PTR: an address has this name.
    Pointer(String),
}

/// The type of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Qtype(pub u16);

impl fmt::Display for Qtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match QTYPES.iter().find(|(number, _)| *number == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

/// RFC 8914 calls it so: the name does not exist.
pub const NXDOMAIN: u8 = 3;
/// The server could not answer.
pub const SERVFAIL: u8 = 2;
/// The server did not want to.
pub const REFUSED: u8 = 5;

/// Reads a message, the payload of a datagram. What follows the first record that cannot be read is left out.
pub fn message(bytes: &[u8]) -> Option<Message> {
    let mut reader = Reader(bytes);
    let (id, flags) = (reader.u16()?, reader.u16()?);
    let [question_count, answer_count, _, _] = [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?];
    if flags & OPCODE != 0 || question_count > MAX_QUESTIONS {
        return None;
    }
    let mut questions = Vec::new();
    for _ in 0..question_count {
        let name = name(bytes, &mut reader)?;
        let qtype = Qtype(reader.u16()?);
        let _class = reader.u16()?;
        questions.push(Question { name, qtype });
    }
    let answers = answers(bytes, &mut reader, answer_count);
    let [_, low] = flags.to_be_bytes();
    Some(Message { id, is_response: flags & RESPONSE != 0, rcode: low & 0xf, questions, answers })
}

/// Reads the messages of a TCP stream, each of which has its length in front, up to one that is not all there.
pub fn messages_of_stream(bytes: &[u8]) -> impl Iterator<Item = Message> {
    let mut reader = Reader(bytes);
    std::iter::from_fn(move || reader.vector()).filter_map(|framed| message(framed.0))
}

/// How many bytes these messages take.
pub fn whole_len(stream: &[u8]) -> usize {
    let mut reader = Reader(stream);
    let mut left = stream.len();
    while reader.vector().is_some() {
        left = reader.0.len();
    }
    stream.len() - left
}

fn answers<'a>(message: &'a [u8], reader: &mut Reader<'a>, count: u16) -> Vec<Answer> {
    let mut answers = Vec::new();
    for _ in 0..count.min(MAX_ANSWERS) {
        let Some(record) = record(message, reader) else { break };
        let data = match record.rtype {
            A => <[u8; 4]>::try_from(record.data.0).ok().map(|bytes| Data::Address(bytes.into())),
            AAAA => <[u8; 16]>::try_from(record.data.0).ok().map(|bytes| Data::Address(bytes.into())),
            CNAME => name(message, &mut at(message, record.data)).map(Data::Alias),
            PTR => name(message, &mut at(message, record.data)).map(Data::Pointer),
            _ => None,
        };
        answers.extend(data.map(|data| Answer { name: record.name, data }));
    }
    answers
}

/// A record that is still to be understood.
struct Record<'a> {
    name: String,
    rtype: u16,
    data: Reader<'a>,
}

fn record<'a>(message: &'a [u8], reader: &mut Reader<'a>) -> Option<Record<'a>> {
    let name = name(message, reader)?;
    let (rtype, _class, _ttl) = (reader.u16()?, reader.u16()?, reader.u32()?);
    Some(Record { name, rtype, data: reader.vector()? })
}

/// A reader from the beginning of `data`, which is a part of `message`, to the message's end: a name may not end with its record.
fn at<'a>(message: &'a [u8], data: Reader<'a>) -> Reader<'a> {
    let offset = data.0.as_ptr().addr() - message.as_ptr().addr();
    Reader(message.get(offset..).unwrap_or_default())
}

/// Reads a name, which may lead to one that stands before it. Each lead must go further back, so the way ends.
fn name<'a>(message: &'a [u8], reader: &mut Reader<'a>) -> Option<String> {
    let mut name = String::new();
    let mut leads_before = message.len() - reader.0.len().min(message.len());
    let mut elsewhere = None;
    loop {
        let here = match &mut elsewhere {
            Some(there) => there,
            None => &mut *reader,
        };
        let len = here.u8()?;
        match len & LEAD {
            0 if len == 0 => return Some(name),
            0 => push_label(&mut name, here.take(len.into())?)?,
            LEAD => {
                let to = usize::from(len & !LEAD) << 8 | usize::from(here.u8()?);
                if to >= leads_before {
                    return None;
                }
                leads_before = to;
                elsewhere = Some(Reader(message.get(to..)?));
            }
            _ => return None,
        }
    }
}

/// Names on the wire are bytes; whatever is not printable is written as RFC 4343 has it.
fn push_label(name: &mut String, label: &[u8]) -> Option<()> {
    if !name.is_empty() {
        name.push('.');
    }
    for &byte in label {
        match byte {
            b'.' | b'\\' => name.extend(['\\', byte.into()]),
            b'!'..=b'~' => name.push(byte.into()),
            // Writing to a String cannot fail.
            _ => drop(write!(name, "\\{byte:03}")),
        }
    }
    (name.len() <= MAX_NAME_LEN).then_some(())
}

const RESPONSE: u16 = 0x8000;
/// A standard query has 0.
const OPCODE: u16 = 0x7800;
/// Two bits that say: the name goes on elsewhere.
const LEAD: u8 = 0xc0;
/// Nobody asks for more than one name at once.
const MAX_QUESTIONS: u16 = 4;
const MAX_ANSWERS: u16 = 256;
/// A name has 255 bytes, each of which may need four characters.
const MAX_NAME_LEN: usize = 4 * 255;
const A: u16 = 1;
const CNAME: u16 = 5;
const PTR: u16 = 12;
const AAAA: u16 = 28;
/// IANA's, those that programs ask for.
const QTYPES: [(u16, &str); 14] = [
    (A, "A"),
    (2, "NS"),
    (CNAME, "CNAME"),
    (6, "SOA"),
    (PTR, "PTR"),
    (15, "MX"),
    (16, "TXT"),
    (AAAA, "AAAA"),
    (33, "SRV"),
    (35, "NAPTR"),
    (43, "DS"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (255, "ANY"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer to `www.example.com A`: an alias and its address, names led back.
    const ANSWER: &[u8] = b"\x12\x34\x81\x80\0\x01\0\x02\0\0\0\0\
        \x03www\x07example\x03com\0\0\x01\0\x01\
        \xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x06\x03cdn\xc0\x10\
        \xc0\x2d\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x07";

    #[test]
    fn an_answer_has_names_and_addresses() {
        let message = message(ANSWER).unwrap();
        assert_eq!((message.id, message.is_response, message.rcode), (0x1234, true, 0));
        assert_eq!(message.questions, [Question { name: "www.example.com".into(), qtype: Qtype(1) }]);
        let alias = Answer { name: "www.example.com".into(), data: Data::Alias("cdn.example.com".into()) };
        let address =
            Answer { name: "cdn.example.com".into(), data: Data::Address(IpAddr::from([192, 0, 2, 7])) };
        assert_eq!(message.answers, [alias, address]);
        let [high, low] = u16::try_from(ANSWER.len()).unwrap().to_be_bytes();
        let framed = [&[high, low], ANSWER].concat();
        assert_eq!(messages_of_stream(&framed).next(), Some(message));
        for (cut, whole) in [(0, 0), (1, 0), (framed.len() - 1, 0), (framed.len(), framed.len())] {
            assert_eq!(whole_len(&framed[..cut]), whole);
            assert_eq!(whole_len(&[&framed[..], &framed[..cut]].concat()), framed.len() + whole);
        }
    }

    #[test]
    fn a_message_cut_anywhere_gives_what_was_whole() {
        for len in 0..ANSWER.len() {
            if let Some(message) = message(&ANSWER[..len]) {
                assert!(message.questions.len() == 1 && message.answers.len() < 2, "{len}");
            }
        }
    }

    #[test]
    fn names_that_lead_in_circles_end() {
        let head = b"\0\0\0\0\0\x01\0\0\0\0\0\0";
        for name in
            [&b"\xc0\x0c"[..], b"\x01a\xc0\x0c", b"\xc0\x0e\xc0\x0c", b"\xc0\xff", b"\x80\0", b"\x05ab"]
        {
            assert_eq!(message(&[head, name, b"\0\x01\0\x01"].concat()), None, "{name:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_letters_are_written_out() {
        let bytes = b"\0\0\0\0\0\x01\0\0\0\0\0\0\x04a.\x1b\\\0\0\x1c\0\x01";
        let question = &message(bytes).unwrap().questions[0];
        assert_eq!(question.name, r"a\.\027\\");
        assert_eq!(question.qtype.to_string(), "AAAA");
        assert_eq!(Qtype(999).to_string(), "TYPE999");
    }
}
