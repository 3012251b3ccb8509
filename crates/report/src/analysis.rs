//! What the first bytes of flows say.
//!
//! # Theory of operation
//! For each flow the analysis is in one of few states: nothing known, hellos half read, known. Streams are put together only until they are
//! understood or found to be something else, so that memory is bounded by flows that have just begun.

use std::collections::HashMap;
use std::net::IpAddr;

use nsntrace_dissect::dns::{self, Message, Qtype};
use nsntrace_dissect::http;
use nsntrace_dissect::tls::{ClientHello, Hello, Progress, ServerHello, Stream};

use crate::census::{FlowNumber, Head, Protocol};
use crate::names::Names;

/// What is known of what flows carry.
#[derive(Debug, Default)]
pub struct Analysis {
    names: Names,
    flows: HashMap<FlowNumber, Facts>,
    streams: HashMap<FlowNumber, [Side; 2]>,
    /// Of all streams together.
    held_bytes: usize,
}

/// What one flow carries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) client_hello: Option<ClientHello>,
    pub(crate) server_hello: Option<ServerHello>,
    pub(crate) lookups: Vec<Lookup>,
    pub(crate) http_host: Option<String>,
    pub(crate) is_http: bool,
}

/// A question and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lookup {
    pub(crate) id: u16,
    pub(crate) name: String,
    pub(crate) qtype: Qtype,
    /// None: nobody answered.
    pub(crate) rcode: Option<u8>,
}

/// One direction of a stream that is still to be understood.
#[derive(Debug, Default)]
enum Side {
    #[default]
    Fresh,
    Reading(Stream),
    Done,
}

/// What a head has told.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Names of addresses.
    pub names: Vec<(IpAddr, String)>,
    /// A handshake of TLS has begun or gone on.
    pub handshake: Option<Handshake>,
}

/// How far a handshake is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Whose.
    pub flow: FlowNumber,
    /// What its keys are logged under, once the client hello was seen.
    pub random: [u8; 32],
    /// The server has answered, so that keys are there or about to be.
    pub is_answered: bool,
}

impl Analysis {
    /// Reads the text of /etc/hosts.
    pub fn read_hosts(&mut self, text: &str) {
        self.names.read_hosts(text);
    }

    /// Names of addresses.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The client hello of a flow, if it had one.
    pub fn client_hello(&self, flow: FlowNumber) -> Option<&ClientHello> {
        self.facts(flow)?.client_hello.as_ref()
    }

    pub(crate) fn facts(&self, flow: FlowNumber) -> Option<&Facts> {
        self.flows.get(&flow)
    }

    /// Reads the first bytes of a packet.
    pub fn take(&mut self, head: &Head) -> Found {
        match head.protocol {
            Protocol::Udp if head.server_port == DOMAIN => self.take_dns(head, dns::message(&head.bytes)),
            Protocol::Tcp => self.take_segment(head),
            _ => Found::default(),
        }
    }

    fn take_dns(&mut self, head: &Head, message: Option<Message>) -> Found {
        let Some(message) = message else { return Found::default() };
        let lookups = &mut self.flows.entry(head.flow).or_default().lookups;
        if message.is_response {
            let asked = lookups.iter_mut().filter(|lookup| lookup.id == message.id);
            for lookup in asked {
                lookup.rcode = Some(message.rcode);
            }
        } else {
            let room = MAX_LOOKUPS.saturating_sub(lookups.len());
            // A question that is asked again is the same question.
            let news = message.questions.iter().take(room).map(|question| Lookup {
                id: message.id,
                name: question.name.clone(),
                qtype: question.qtype,
                rcode: None,
            });
            let news: Vec<_> = news.filter(|lookup| !lookups.contains(lookup)).collect();
            lookups.extend(news);
        }
        Found { names: self.names.learn(&message, head.timestamp_ns), handshake: None }
    }

    fn take_segment(&mut self, head: &Head) -> Found {
        let Some(mut stream) = self.open_stream(head) else { return Found::default() };
        // With TCP Fast Open SYN has bytes, and they come behind its own number.
        let progress = stream.push(head.seq.wrapping_add(head.is_syn.into()), &head.bytes);
        let (found, is_done) = match progress {
            Progress::Incomplete => (Found::default(), false),
            Progress::Hello(hello) => {
                let is_done = !hello.is_retry();
                (self.take_hello(head.flow, hello), is_done)
            }
            Progress::Foreign if head.server_port == DOMAIN => {
                let found = self.take_dns_stream(head, stream.bytes());
                stream.forget(dns::whole_len(stream.bytes()));
                (found, false)
            }
            Progress::Foreign => {
                (self.take_http(head.flow, stream.bytes()), !http::is_unfinished(stream.bytes()))
            }
        };
        if !is_done && !stream.is_full() {
            self.keep_stream(head, stream);
        }
        found
    }

    /// The stream that a segment belongs to, if it is still to be understood. It is done unless it is [kept](Self::keep_stream).
    fn open_stream(&mut self, head: &Head) -> Option<Stream> {
        let side = &mut self.streams.entry(head.flow).or_default()[usize::from(!head.is_sent)];
        match std::mem::replace(side, Side::Done) {
            Side::Fresh => {
                let mut stream = Stream::default();
                if head.is_syn {
                    stream.begin(head.seq);
                }
                Some(stream)
            }
            Side::Reading(stream) => {
                self.held_bytes -= stream.held_bytes();
                Some(stream)
            }
            Side::Done => None,
        }
    }

    fn keep_stream(&mut self, head: &Head, stream: Stream) {
        let held_bytes = self.held_bytes + stream.held_bytes();
        if held_bytes > MAX_HELD_BYTES {
            return;
        }
        self.held_bytes = held_bytes;
        self.streams.entry(head.flow).or_default()[usize::from(!head.is_sent)] = Side::Reading(stream);
    }

    fn take_dns_stream(&mut self, head: &Head, bytes: &[u8]) -> Found {
        let mut all = Found::default();
        for message in dns::messages_of_stream(bytes) {
            all.names.extend(self.take_dns(head, Some(message)).names);
        }
        all
    }

    fn take_http(&mut self, flow: FlowNumber, bytes: &[u8]) -> Found {
        let Some(head) = http::head(bytes) else { return Found::default() };
        let facts = self.flows.entry(flow).or_default();
        facts.is_http = true;
        if let http::Head::Request { host: Some(host), .. } = head {
            facts.http_host = Some(host.to_owned());
        }
        Found::default()
    }

    fn take_hello(&mut self, flow: FlowNumber, hello: Hello) -> Found {
        let facts = self.flows.entry(flow).or_default();
        match hello {
            Hello::Client(client) => facts.client_hello = Some(client),
            Hello::Server(server) => facts.server_hello = Some(server),
        }
        let is_answered = facts.server_hello.as_ref().is_some_and(|hello| !hello.is_retry);
        // What a server says before it is content is no news.
        let is_retry = facts.server_hello.as_ref().is_some_and(|hello| hello.is_retry);
        let random = facts.client_hello.as_ref().filter(|_| !is_retry).map(|hello| hello.random);
        let handshake = random.map(|random| Handshake { flow, random, is_answered });
        Found { names: Vec::new(), handshake }
    }

    /// Forgets the bytes of a stream that has ended, or is past its beginning.
    pub fn forget_stream(&mut self, flow: FlowNumber) {
        for side in self.streams.remove(&flow).into_iter().flatten() {
            if let Side::Reading(stream) = side {
                self.held_bytes -= stream.held_bytes();
            }
        }
    }
}

const DOMAIN: u16 = 53;
/// Of one flow. A resolver that asks for everything from one port would fill memory else.
const MAX_LOOKUPS: usize = 4096;
/// Of beginnings that may become something: four thousand hellos that do not end. What comes then is not read.
const MAX_HELD_BYTES: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01";
    const ANSWER: &[u8] = b"\x12\x34\x81\x80\0\x01\0\x01\0\0\0\0\x07example\x03com\0\0\x01\0\x01\
        \xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x07";

    fn head(is_sent: bool, protocol: Protocol, server_port: u16, seq: u32, bytes: &[u8]) -> Head {
        Head {
            flow: FlowNumber(0),
            timestamp_ns: 1,
            is_sent,
            protocol,
            server_port,
            seq,
            is_syn: false,
            bytes: bytes.to_vec(),
        }
    }

    #[test]
    fn a_lookup_is_a_question_and_its_answer() {
        let mut analysis = Analysis::default();
        for _ in 0..2 {
            assert_eq!(analysis.take(&head(true, Protocol::Udp, 53, 0, QUESTION)), Found::default());
        }
        let found = analysis.take(&head(false, Protocol::Udp, 53, 0, ANSWER));
        assert_eq!(found.names, [(IpAddr::from([192, 0, 2, 7]), "example.com".to_owned())]);
        let lookup = Lookup { id: 0x1234, name: "example.com".into(), qtype: Qtype(1), rcode: Some(0) };
        assert_eq!(analysis.facts(FlowNumber(0)).unwrap().lookups, [lookup]);
    }

    #[test]
    fn dns_over_tcp_is_read_too() {
        let mut analysis = Analysis::default();
        let framed = [&[0, u8::try_from(QUESTION.len()).unwrap()], QUESTION].concat();
        analysis.take(&head(true, Protocol::Tcp, 53, 7, &framed));
        assert_eq!(analysis.facts(FlowNumber(0)).unwrap().lookups.len(), 1);
        // Another question in the same connection, its length in a segment of its own.
        let other = [&b"\x12\x35"[..], &QUESTION[2..]].concat();
        let seq = 7 + u32::try_from(framed.len()).unwrap();
        analysis.take(&head(true, Protocol::Tcp, 53, seq, &framed[..2]));
        analysis.take(&head(true, Protocol::Tcp, 53, seq + 2, &other));
        let ids: Vec<_> = analysis.facts(FlowNumber(0)).unwrap().lookups.iter().map(|one| one.id).collect();
        assert_eq!(ids, [0x1234, 0x1235]);
        // A connection that is kept for very many.
        let mut seq = seq + 2 + u32::try_from(other.len()).unwrap();
        for id in 0..2000_u16 {
            let question = [&framed[..2], &id.to_be_bytes(), &QUESTION[2..]].concat();
            analysis.take(&head(true, Protocol::Tcp, 53, seq, &question));
            seq += u32::try_from(question.len()).unwrap();
        }
        assert_eq!(analysis.facts(FlowNumber(0)).unwrap().lookups.len(), 2002);
        assert_eq!(analysis.held_bytes, 0);
    }

    #[test]
    fn a_request_may_come_in_pieces() {
        let mut analysis = Analysis::default();
        let bytes = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n";
        for (seq, part) in (0..).zip(bytes.chunks(1)) {
            analysis.take(&head(true, Protocol::Tcp, 8080, seq, part));
        }
        assert_eq!(analysis.facts(FlowNumber(0)).unwrap().http_host.as_deref(), Some("example.com"));
        assert_eq!(analysis.held_bytes, 0);
    }

    #[test]
    fn hellos_that_do_not_end_take_memory_that_does() {
        let mut analysis = Analysis::default();
        let endless = [&b"\x16\x03\x01\x3f\xff\x01\0\x3f\xf0"[..], &[7; 16_000]].concat();
        for flow in 0..5000 {
            let flow = FlowNumber(flow);
            analysis.take(&Head { flow, ..head(true, Protocol::Tcp, 443, 7, &endless) });
        }
        assert!((MAX_HELD_BYTES - 17_000..=MAX_HELD_BYTES).contains(&analysis.held_bytes));
        (0..5000).for_each(|flow| analysis.forget_stream(FlowNumber(flow)));
        assert_eq!(analysis.held_bytes, 0);
    }

    #[test]
    fn a_request_has_a_host() {
        let mut analysis = Analysis::default();
        let bytes = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n";
        analysis.take(&head(true, Protocol::Tcp, 8080, 7, bytes));
        let facts = analysis.facts(FlowNumber(0)).unwrap();
        assert_eq!((facts.is_http, facts.http_host.as_deref()), (true, Some("example.com")));
    }

    /// TLS 1.2 without extensions.
    fn hello_record(kind: u8) -> Vec<u8> {
        let rest: &[u8] = if kind == 1 { b"\0\0\x02\x13\x01\x01\0" } else { b"\0\x13\x01\0" };
        let body = [b"\x03\x03", &[kind; 32][..], rest].concat();
        let len = u8::try_from(body.len()).unwrap();
        [&[22, 3, 1, 0, len + 4, kind, 0, 0, len][..], &body].concat()
    }

    #[test]
    fn a_server_that_wants_another_hello_has_not_answered() {
        let mut analysis = Analysis::default();
        analysis.take(&head(true, Protocol::Tcp, 443, 7, &hello_record(1)));
        let mut retry = hello_record(2);
        retry[11..43].copy_from_slice(&[
            0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
            0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
        ]);
        assert_eq!(analysis.take(&head(false, Protocol::Tcp, 443, 0, &retry)), Found::default());
        let behind = u32::try_from(retry.len()).unwrap();
        let found = analysis.take(&head(false, Protocol::Tcp, 443, behind, &hello_record(2))).handshake;
        assert!(found.is_some_and(|handshake| handshake.is_answered));
    }

    #[test]
    fn a_handshake_is_waited_for_when_the_server_has_answered() {
        let mut analysis = Analysis::default();
        let syn = Head { is_syn: true, ..head(true, Protocol::Tcp, 443, 6, b"") };
        analysis.take(&syn);
        let client = hello_record(1);
        assert_eq!(analysis.take(&head(true, Protocol::Tcp, 443, 7, &client[..9])), Found::default());
        let found = analysis.take(&head(true, Protocol::Tcp, 443, 16, &client[9..])).handshake;
        let handshake = Handshake { flow: FlowNumber(0), random: [1; 32], is_answered: false };
        assert_eq!(found, Some(handshake.clone()));
        let found = analysis.take(&head(false, Protocol::Tcp, 443, 70, &hello_record(2))).handshake;
        assert_eq!(found, Some(Handshake { is_answered: true, ..handshake }));
        assert_eq!(analysis.take(&head(true, Protocol::Tcp, 443, 99, &client)), Found::default());
        analysis.forget_stream(FlowNumber(0));
        assert!(analysis.client_hello(FlowNumber(0)).is_some());
    }
}
