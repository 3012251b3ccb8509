//! The line itself: its columns, its colours, and that nothing in it commands a terminal.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use nsntrace_dissect::{self as dissect, Transport};

use crate::gist::{self, Gist, Tone};
use crate::hellos::Hellos;

/// A packet, as it was recorded.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// When it passed, in nanoseconds since the epoch.
    pub timestamp_ns: u64,
    /// The frame from its destination address on, as far as there is a copy.
    pub bytes: &'a [u8],
    /// Bytes of the frame on the link.
    pub len: u32,
    /// A number that packets of a flow have in common.
    pub flow: Option<u32>,
    /// Whose it is: name and pid.
    pub process: Option<(&'a str, u32)>,
}

/// Writes lines of one trace, in the order of its packets.
#[derive(Debug)]
pub struct Lines {
    started_ns: u64,
    is_coloured: bool,
    /// Columns are as wide as the widest so far.
    process_width: usize,
    ends_width: usize,
    hellos: Hellos,
}

impl Lines {
    /// For a trace that began at `started_ns`, in nanoseconds since the epoch. With colours, if the reader is a terminal that has them.
    pub fn new(started_ns: u64, is_coloured: bool) -> Self {
        Self { started_ns, is_coloured, process_width: 0, ends_width: 0, hellos: Hellos::default() }
    }

    /// Writes the line of a packet behind `text`.
    pub fn write(&mut self, packet: &Packet<'_>, text: &mut String) {
        let (ends, gist) = match dissect::dissect(packet.bytes) {
            Some(inner) => (ends(&inner), gist::of_packet(&inner, packet.flow, &mut self.hellos)),
            None => (NOBODY.to_owned(), gist::of_link(dissect::link(packet.bytes), packet.len)),
        };
        let process =
            packet.process.map_or(NOBODY.to_owned(), |(name, pid)| plain(&format!("{name}[{pid}]")));
        self.process_width = self.process_width.max(process.len().min(MAX_PROCESS_WIDTH));
        self.ends_width = self.ends_width.max(ends.len().min(MAX_ENDS_WIDTH));
        let time = self.seconds(packet.timestamp_ns);
        let Gist { protocol, says, tone } = gist;
        let says = plain(&says);
        let (process_width, ends_width) = (self.process_width, self.ends_width);
        self.paint(text, DIM, &time);
        let _infallible = write!(text, " {process:process_width$} {ends:ends_width$} ");
        self.paint(text, colour(tone), &format!("{protocol:PROTOCOL_WIDTH$} {says}"));
        text.push('\n');
    }

    /// Says that lines of so many packets are missing here.
    pub fn write_left_out(&self, count: u64, text: &mut String) {
        self.paint(text, RED, &format!("           {count} {LEFT_OUT}"));
        text.push('\n');
    }

    /// Since the trace began.
    fn seconds(&self, timestamp_ns: u64) -> String {
        let micros = timestamp_ns.saturating_sub(self.started_ns) / 1000;
        format!("{:3}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }

    fn paint(&self, text: &mut String, colour: &str, words: &str) {
        let words = words.trim_end();
        if self.is_coloured && !colour.is_empty() {
            let _infallible = write!(text, "\x1b[{colour}m{words}\x1b[0m");
        } else {
            text.push_str(words);
        }
    }
}

/// Sender and receiver, as they are typed.
fn ends(packet: &dissect::Packet<'_>) -> String {
    let (src_port, dst_port) = match packet.transport {
        Transport::Tcp(tcp) => (tcp.src_port, tcp.dst_port),
        Transport::Udp { src_port, dst_port } => (src_port, dst_port),
        _ => return format!("{} > {}", packet.src, packet.dst),
    };
    let end = |address: IpAddr, port| SocketAddr::new(address, port);
    format!("{} > {}", end(packet.src, src_port), end(packet.dst, dst_port))
}

/// Packets and programs choose what they say and what they are called. Here it is text and nothing else: no command of a terminal, no letter that looks
/// like another or turns the direction of others.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        if plain.len() >= MAX_LEN {
            plain.push_str("...");
            break;
        }
        match letter {
            ' '..='~' => plain.push(letter),
            _ => plain.extend(letter.escape_unicode()),
        }
    }
    plain
}

fn colour(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "",
        Tone::Name => "35",
        Tone::Web => "32",
        Tone::Secret => "36",
        Tone::Control => "33",
        Tone::Trouble => RED,
    }
}

const NOBODY: &str = "-";
const LEFT_OUT: &str = "packets left out: they came faster than their lines could go";
/// SGR of ECMA-48, section 8.3.117.
const DIM: &str = "2";
const RED: &str = "31";
/// Fifteen bytes of a name and a pid.
const MAX_PROCESS_WIDTH: usize = 20;
/// Two addresses of IPv4 with ports. Those of IPv6 may be longer, and one does not push all others aside.
const MAX_ENDS_WIDTH: usize = 45;
const PROTOCOL_WIDTH: usize = 4;
/// Of what a packet says.
const MAX_LEN: usize = 200;
