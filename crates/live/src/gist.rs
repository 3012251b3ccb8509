//! What a packet says, in a few words.

use std::fmt::Display;
use std::net::IpAddr;

use nsntrace_dissect::dns::{self, Answer, Data, Message, Question};
use nsntrace_dissect::tls::{ClientHello, Hello, Progress};
use nsntrace_dissect::{Icmp, IcmpError, Link, Packet, Quoted, Tcp, TcpFlags, Transport, http};

use crate::hellos::Hellos;
use crate::names;

/// Few words, untrusted.
#[derive(Debug)]
pub(crate) struct Gist {
    /// What is spoken.
    pub(crate) protocol: String,
    pub(crate) says: String,
    pub(crate) tone: Tone,
}

/// What kind of news it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    /// Names and addresses.
    Name,
    Web,
    Secret,
    /// What networks say to each other.
    Control,
    /// Something went wrong.
    Trouble,
}

impl Gist {
    fn new(protocol: &str, tone: Tone, says: String) -> Self {
        Self { protocol: protocol.to_owned(), says, tone }
    }
}

/// Of a packet of IP.
pub(crate) fn of_packet(packet: &Packet<'_>, flow: Option<u32>, hellos: &mut Hellos) -> Gist {
    match packet.transport {
        Transport::Tcp(tcp) => of_tcp(&tcp, packet, flow, hellos),
        Transport::Udp { src_port, dst_port } => {
            let message = if is_domain(src_port, dst_port) { dns::message(packet.payload) } else { None };
            message.map_or_else(
                || Gist::new("UDP", Tone::Plain, len(packet.payload_len)),
                |message| of_dns(&message),
            )
        }
        Transport::Icmp(icmp) => of_icmp(&icmp, packet.src.is_ipv6()),
        Transport::Fragment { protocol } => {
            let says = format!("fragment of {}, {}", names::protocol(protocol), len(packet.payload_len));
            Gist::new("IP", Tone::Plain, says)
        }
        Transport::Other { protocol } => {
            Gist::new(&names::protocol(protocol), Tone::Plain, len(packet.payload_len))
        }
    }
}

/// Of any other frame, `frame_len` bytes long.
pub(crate) fn of_link(link: Option<Link>, frame_len: u32) -> Gist {
    match link {
        Some(Link::ArpRequest { sender, target }) => {
            Gist::new("ARP", Tone::Control, format!("who has {target}? asks {sender}"))
        }
        Some(Link::ArpReply { sender, address }) => {
            let address = address.map(|byte| format!("{byte:02x}")).join(":");
            Gist::new("ARP", Tone::Control, format!("{sender} is at {address}"))
        }
        Some(Link::Other { ethertype }) => {
            Gist::new(&format!("{ethertype:#06x}"), Tone::Plain, format!("frame of {frame_len} bytes"))
        }
        None => Gist::new(UNKNOWN, Tone::Plain, format!("frame of {frame_len} bytes")),
    }
}

fn of_tcp(tcp: &Tcp, packet: &Packet<'_>, flow: Option<u32>, hellos: &mut Hellos) -> Gist {
    let read = if packet.payload.is_empty() { None } else { read(tcp, packet, flow, hellos) };
    read.unwrap_or_else(|| {
        let tone = if tcp.flags.contains(TcpFlags::RST) { Tone::Trouble } else { Tone::Plain };
        let mut says = names::flags(tcp.flags);
        if packet.payload_len > 0 {
            says = format!("{says} {}", len(packet.payload_len));
        }
        Gist::new("TCP", tone, says)
    })
}

/// What is in a segment, if it is something that is known.
fn read(tcp: &Tcp, packet: &Packet<'_>, flow: Option<u32>, hellos: &mut Hellos) -> Option<Gist> {
    if is_domain(tcp.src_port, tcp.dst_port) {
        return dns::messages_of_stream(packet.payload).next().map(|message| of_dns(&message));
    }
    let side = flow.map(|flow| (flow, (packet.src, tcp.src_port) < (packet.dst, tcp.dst_port)));
    match hellos.push(side, tcp.seq, packet.payload) {
        Progress::Hello(hello) => Some(of_hello(&hello)),
        Progress::Incomplete => {
            Some(Gist::new("TLS", Tone::Secret, format!("part of a hello, {}", len(packet.payload_len))))
        }
        Progress::Foreign => of_http(packet),
    }
}

fn of_hello(hello: &Hello) -> Gist {
    let says = match hello {
        Hello::Client(ClientHello { server_name, protocols, .. }) => {
            let name = server_name.as_ref().map_or_else(String::new, |name| format!(" for {name}"));
            let offers = if protocols.is_empty() {
                String::new()
            } else {
                format!(", offers {}", protocols.join(", "))
            };
            format!("client hello{name}{offers}")
        }
        Hello::Server(hello) if hello.is_retry => format!("hello retry request, {}", hello.version),
        Hello::Server(hello) => format!("server hello, {}", hello.version),
    };
    Gist::new("TLS", Tone::Secret, says)
}

fn of_http(packet: &Packet<'_>) -> Option<Gist> {
    let is_cut = u32::try_from(packet.payload.len()).is_ok_and(|len| len < packet.payload_len);
    let (tone, says) = match http::head(packet.payload) {
        Some(http::Head::Request { method, target, host: Some(host) }) => {
            (Tone::Web, format!("{method} {target}, host {host}"))
        }
        Some(http::Head::Request { method, target, host: None }) => (Tone::Web, format!("{method} {target}")),
        Some(http::Head::Response { status, reason }) => {
            (if status < 400 { Tone::Web } else { Tone::Trouble }, format!("{status} {reason}"))
        }
        None => {
            let (method, target) = http::cut_request(packet.payload).filter(|_| is_cut)?;
            (Tone::Web, format!("{method} {target}..."))
        }
    };
    Some(Gist::new("HTTP", tone, says))
}

fn of_dns(message: &Message) -> Gist {
    let asked = |question: &Question, mark| format!("{}{mark} {}", question.qtype, name(&question.name));
    let mark = if message.is_response { "" } else { "?" };
    let asked = join(message.questions.iter().map(|question| asked(question, mark)));
    let says = match message {
        Message { is_response: false, .. } => asked,
        Message { rcode: 0, answers, .. } => format!("{asked}: {}", answered(answers)),
        Message { rcode, .. } => format!("{asked}: {}", names::rcode(*rcode)),
    };
    let is_trouble = message.is_response && message.rcode != 0;
    Gist::new("DNS", if is_trouble { Tone::Trouble } else { Tone::Name }, says)
}

/// Addresses; without any, the names that lead further.
fn answered(answers: &[Answer]) -> String {
    let is_address = |answer: &&Answer| matches!(answer.data, Data::Address(_));
    let has_addresses = answers.iter().any(|answer| is_address(&answer));
    let shown = answers.iter().filter(|answer| !has_addresses || is_address(answer));
    let words: Vec<_> = shown
        .map(|answer| match &answer.data {
            Data::Address(address) => address.to_string(),
            Data::Alias(other) | Data::Pointer(other) => name(other).to_owned(),
        })
        .collect();
    match words.len() {
        0 => "no address".to_owned(),
        count if count > MAX_ANSWERS => {
            format!("{} and {} more", words[..MAX_ANSWERS].join(", "), count - MAX_ANSWERS)
        }
        _ => words.join(", "),
    }
}

fn of_icmp(icmp: &Icmp<'_>, is_v6: bool) -> Gist {
    let (tone, says) = match icmp {
        Icmp::EchoRequest { id } => (Tone::Control, format!("echo request, id {id}")),
        Icmp::EchoReply { id } => (Tone::Control, format!("echo reply, id {id}")),
        Icmp::Error { error, quoted } => {
            (Tone::Trouble, format!("{}{}", reason(*error), about(quoted.as_ref())))
        }
        Icmp::Other { kind } => (Tone::Control, names::icmp(*kind, is_v6)),
    };
    Gist::new(if is_v6 { "ICMPv6" } else { "ICMP" }, tone, says)
}

fn reason(error: IcmpError) -> &'static str {
    match error {
        IcmpError::PortUnreachable => "port unreachable",
        IcmpError::Unreachable => "unreachable",
        IcmpError::Prohibited => "prohibited",
        IcmpError::TooBig => "too big",
        IcmpError::TimeExceeded => "time exceeded",
    }
}

/// Which packet an error is about.
fn about(quoted: Option<&Quoted<'_>>) -> String {
    let Some(quoted) = quoted else { return String::new() };
    let protocol = names::protocol(quoted.protocol);
    match (quoted.dst, quoted.ports()) {
        (dst, None) => format!(": {protocol} to {dst}"),
        (IpAddr::V4(dst), Some((_, port))) => format!(": {protocol} to {dst}:{port}"),
        (IpAddr::V6(dst), Some((_, port))) => format!(": {protocol} to [{dst}]:{port}"),
    }
}

fn join(words: impl Iterator<Item = impl Display>) -> String {
    words.map(|word| word.to_string()).collect::<Vec<_>>().join(", ")
}

/// The root has none.
fn name(name: &str) -> &str {
    if name.is_empty() { "." } else { name }
}

fn len(bytes: u32) -> String {
    format!("len {bytes}")
}

fn is_domain(src_port: u16, dst_port: u16) -> bool {
    src_port == DOMAIN || dst_port == DOMAIN
}

const DOMAIN: u16 = 53;
/// More would make lines longer than anybody reads.
const MAX_ANSWERS: usize = 4;
/// Ends within its own header.
const UNKNOWN: &str = "?";
