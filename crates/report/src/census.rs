//! The count of packets by flow.
//!
//! # Theory of operation
//! A flow is what two endpoints say to each other by one protocol, in both directions. Most packets are data of a flow that others came of lately: these are
//! [counted at a glance](Census::glance). Others are found in a hash table by both endpoints. Memory is bounded: what comes when the table is full is counted together. A connection that
//! uses the ports of an ended one is a flow of its own.

mod key;
mod recent;
mod tcp;
mod turns;

use std::collections::HashMap;
use std::net::IpAddr;

use nsntrace_dissect::{Glance, Icmp, IcmpError, Packet, TcpFlags, Transport};

use self::key::{Key, Seeded, way};
use self::recent::Recent;
pub use self::tcp::TcpEnd;
use self::tcp::TcpState;
use self::turns::{Turn, Turns};

/// A flow's place in the order in which flows were first seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowNumber(pub u32);

/// What is known of a packet besides its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    /// When it passed, in nanoseconds since the epoch.
    pub timestamp_ns: u64,
    /// It was sent by the namespace. All of loopback is.
    pub is_outbound: bool,
    /// It passed loopback: both ends are inside.
    pub is_loopback: bool,
    /// Bytes of the frame on the link.
    pub len: u32,
}

/// What a packet was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The flow; none where the table is full.
    pub flow: Option<FlowNumber>,
    /// It is the first of its flow.
    pub is_new: bool,
    /// It comes from the flow's local end.
    pub is_sent: bool,
    /// It is worth reading, for what is in it.
    wants_head: bool,
}

impl Seen {
    const NOTHING: Self = Self { flow: None, is_new: false, is_sent: true, wants_head: false };
}

/// The first bytes of a packet's payload, for [`Analysis`](crate::Analysis).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Whose packet it is.
    pub flow: FlowNumber,
    /// When it passed, in nanoseconds since the epoch.
    pub timestamp_ns: u64,
    /// It comes from the flow's local end.
    pub is_sent: bool,
    /// What carries it.
    pub protocol: Protocol,
    /// The port at the end that answers.
    pub server_port: u16,
    /// TCP: the sequence number of the first byte, or of SYN.
    pub seq: u32,
    /// TCP: this is SYN, and has no bytes.
    pub is_syn: bool,
    /// At most 4 KiB.
    pub bytes: Vec<u8>,
}

/// What carries a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// Pings; other messages of ICMP and `ICMPv6` belong to what they are about, or to nobody.
    Icmp,
    /// IANA's protocol number.
    Other(u8),
}

/// An address and a port; a ping's port is its id, at the local end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// The port; 0 where there are none.
    pub port: u16,
}

/// How much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Frames.
    pub packets: u64,
    /// Their lengths on the link.
    pub bytes: u64,
}

impl Volume {
    fn add(&mut self, len: u32) {
        self.packets += 1;
        self.bytes += u64::from(len);
    }
}

/// What two endpoints said to each other.
#[derive(Clone, Debug)]
pub struct Flow {
    /// What carried it.
    pub protocol: Protocol,
    /// The end inside the namespace; of loopback, the one that began.
    pub local: Endpoint,
    /// The other end.
    pub remote: Endpoint,
    /// The local end began.
    pub is_outgoing: bool,
    /// Both ends are inside.
    pub is_loopback: bool,
    /// When the first packet passed, in nanoseconds since the epoch.
    pub first_ns: u64,
    /// When the last one did.
    pub last_ns: u64,
    /// From the local end.
    pub sent: Volume,
    /// To it.
    pub received: Volume,
    /// Somebody on the way said why packets of it do not arrive.
    pub icmp_error: Option<IcmpError>,
    tcp: TcpState,
    /// What the local end sends from then on is another flow's.
    over_ns: u64,
    /// The latest flow of the same port, of UDP; counted from 1.
    before: u32,
    /// How many more packets with a payload are worth reading, of the local end and of the other.
    heads_left: [u8; 2],
}

impl Flow {
    /// How the connection went, of TCP.
    pub fn tcp_end(&self) -> TcpEnd {
        self.tcp.end()
    }

    /// Segments of TCP that had been there before.
    pub fn retransmissions(&self) -> u64 {
        self.tcp.retransmissions
    }

    /// The port that says which service it is: of the end that did not begin.
    pub fn server_port(&self) -> u16 {
        if self.is_outgoing { self.remote.port } else { self.local.port }
    }
}

/// All flows of a trace.
#[derive(Debug, Default)]
pub struct Census {
    flows: Vec<Flow>,
    numbers: HashMap<Key, FlowNumber, Seeded>,
    recent: Recent,
    turns: Turns,
    /// Of packets that found no room.
    overflow: Volume,
}

/// The ends of a packet, sender's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ends {
    protocol: Protocol,
    src: Endpoint,
    dst: Endpoint,
}

impl Census {
    /// Begins with none.
    pub fn new() -> Self {
        Self::default()
    }

    /// All flows, by number.
    pub fn flows(&self) -> impl Iterator<Item = (FlowNumber, &Flow)> {
        (0..).map(FlowNumber).zip(&self.flows)
    }

    /// One of them.
    pub fn flow(&self, number: FlowNumber) -> Option<&Flow> {
        self.flows.get(number.0 as usize)
    }

    /// Packets that are in no flow, since there were too many.
    pub fn overflow(&self) -> Volume {
        self.overflow
    }

    /// Counts a packet at a glance: one of a flow that is known, that changes nothing about it, and that nobody wants to read. `None` is no such packet,
    /// and not counted.
    #[inline]
    pub fn glance(&mut self, glance: &Glance, sight: &Sight) -> Option<Seen> {
        let place = self.recent.get(&glance.way)?;
        let flow = self.flows.get_mut(place.flow.0 as usize)?;
        if glance.payload_len > 0 && flow.is_read(place.is_sent) || flow.is_over(place.is_sent, sight) {
            return None;
        }
        if let Some(tcp) = &glance.tcp {
            if tcp.flags.0 & TURNS.0 != 0 {
                return None;
            }
            flow.tcp.see(tcp, glance.payload_len, place.is_sent);
        }
        flow.volume(place.is_sent).add(sight.len);
        flow.last_ns = sight.timestamp_ns;
        Some(Seen { flow: Some(place.flow), is_sent: place.is_sent, ..Seen::NOTHING })
    }

    /// Counts a packet.
    pub fn see(&mut self, packet: &Packet<'_>, sight: &Sight) -> Seen {
        if let Transport::Icmp(Icmp::Error { error, quoted: Some(quoted) }) = packet.transport {
            return self.see_error(error, &quoted, sight);
        }
        let ends = Ends::of(packet);
        let way = way(&ends);
        let known = self.numbers.get(&Key::of(&way)).copied();
        let known = known.filter(|number| !self.is_successor(*number, packet, &ends, sight));
        let Some(number) = known.or_else(|| self.add(&ends, packet, sight)) else {
            self.overflow.add(sight.len);
            return Seen::NOTHING;
        };
        let flow = &mut self.flows[number.0 as usize];
        let is_sent = flow.local == ends.src;
        self.recent.set(way, number, is_sent);
        // What was known of the way back is the predecessor's.
        if known.is_none() && way != way.back() {
            self.recent.set(way.back(), number, !is_sent);
        }
        let wants_head = flow.count(packet, is_sent, sight);
        Seen { flow: Some(number), is_new: known.is_none(), is_sent, wants_head }
    }

    /// Copies what is worth reading of a packet that was [seen](Self::see), if anything is.
    pub fn head(&self, packet: &Packet<'_>, seen: &Seen) -> Option<Head> {
        let number = seen.flow.filter(|_| seen.wants_head)?;
        let flow = self.flow(number)?;
        let (seq, is_syn) = match packet.transport {
            Transport::Tcp(tcp) => (tcp.seq, tcp.flags.contains(nsntrace_dissect::TcpFlags::SYN)),
            _ => (0, false),
        };
        let len = packet.payload.len().min(HEAD_LEN);
        Some(Head {
            flow: number,
            timestamp_ns: flow.last_ns,
            is_sent: seen.is_sent,
            protocol: flow.protocol,
            server_port: flow.server_port(),
            seq,
            is_syn,
            bytes: packet.payload[..len].to_vec(),
        })
    }

    /// A socket of UDP is gone that was bound to `local`: what is sent from there may be another's before it began to be there, and after it was heard of as gone,
    /// in nanoseconds since the epoch.
    pub fn turn(&mut self, local: Endpoint, times_ns: [u64; 2]) {
        self.turns.turn(Turn { local, times_ns }, &mut self.flows);
    }

    /// Whether a packet begins a connection with the ports of an older one.
    fn is_successor(&self, number: FlowNumber, packet: &Packet<'_>, ends: &Ends, sight: &Sight) -> bool {
        let flow = &self.flows[number.0 as usize];
        match &packet.transport {
            Transport::Tcp(tcp) => flow.tcp.is_succeeded_by(tcp),
            // It may be. Without room for another flow the packet counts as one of this, to the same peer, and not as one of nobody and of unknown peer.
            _ => !self.is_full() && flow.is_over(flow.local == ends.src, sight),
        }
    }

    fn is_full(&self) -> bool {
        self.flows.len() >= MAX_FLOWS as usize
    }

    fn add(&mut self, ends: &Ends, packet: &Packet<'_>, sight: &Sight) -> Option<FlowNumber> {
        let number = u32::try_from(self.flows.len()).ok().filter(|number| *number < MAX_FLOWS)?;
        // What answers tells who began.
        let is_answer = match &packet.transport {
            Transport::Tcp(tcp) => tcp::is_answer(tcp),
            Transport::Icmp(Icmp::EchoReply { .. }) => true,
            _ => false,
        };
        let is_sent = if sight.is_loopback { !is_answer } else { sight.is_outbound };
        let (local, remote) = if is_sent { (ends.src, ends.dst) } else { (ends.dst, ends.src) };
        let mut flow = Flow {
            protocol: ends.protocol,
            local,
            remote,
            is_outgoing: is_sent != is_answer || sight.is_loopback,
            is_loopback: sight.is_loopback,
            first_ns: sight.timestamp_ns,
            last_ns: sight.timestamp_ns,
            sent: Volume::default(),
            received: Volume::default(),
            icmp_error: None,
            tcp: TcpState::default(),
            over_ns: u64::MAX,
            before: 0,
            heads_left: [HEADS; 2],
        };
        if flow.protocol == Protocol::Udp {
            self.turns.add(number, &mut flow);
        }
        self.flows.push(flow);
        self.numbers.insert(Key::of(&way(ends)), FlowNumber(number));
        Some(FlowNumber(number))
    }

    /// A message about a packet belongs to the packet's flow.
    fn see_error(&mut self, error: IcmpError, quoted: &nsntrace_dissect::Quoted<'_>, sight: &Sight) -> Seen {
        let found = Ends::quoted(quoted)
            .and_then(|ends| Some((ends, self.numbers.get(&Key::of(&way(&ends))).copied()?)));
        let Some((ends, number)) = found else { return Seen::NOTHING };
        let flow = &mut self.flows[number.0 as usize];
        let is_sent = flow.local != ends.src;
        // Whoever got his answer and left has the second one refused; that is no failure.
        if is_sent != flow.is_outgoing {
            flow.icmp_error = Some(error);
        }
        flow.volume(is_sent).add(sight.len);
        flow.last_ns = sight.timestamp_ns;
        Seen { flow: Some(number), is_sent, ..Seen::NOTHING }
    }
}

impl Flow {
    /// Counts a packet, and says whether it is worth reading.
    fn count(&mut self, packet: &Packet<'_>, is_sent: bool, sight: &Sight) -> bool {
        self.volume(is_sent).add(sight.len);
        self.last_ns = sight.timestamp_ns;
        let mut is_beginning = false;
        if let Transport::Tcp(tcp) = &packet.transport {
            self.tcp.see(tcp, packet.payload_len, is_sent);
            is_beginning = tcp.flags.contains(nsntrace_dissect::TcpFlags::SYN);
        }
        let is_read = self.is_read(is_sent);
        let wants_head = is_beginning || (!packet.payload.is_empty() && is_read);
        if !packet.payload.is_empty() {
            let left = &mut self.heads_left[usize::from(!is_sent)];
            *left = left.saturating_sub(1);
        }
        wants_head
    }

    /// Whether what an end sends is another flow's by now.
    #[inline]
    fn is_over(&self, is_sent: bool, sight: &Sight) -> bool {
        is_sent && sight.timestamp_ns >= self.over_ns
    }

    /// Whether what an end sends is still read.
    fn is_read(&self, is_sent: bool) -> bool {
        let is_dns = matches!(self.protocol, Protocol::Udp | Protocol::Tcp)
            && self.local.port.min(self.remote.port) == DOMAIN;
        self.heads_left[usize::from(!is_sent)] > 0 || is_dns
    }

    fn volume(&mut self, is_sent: bool) -> &mut Volume {
        if is_sent { &mut self.sent } else { &mut self.received }
    }
}

impl Ends {
    fn of(packet: &Packet<'_>) -> Self {
        let (protocol, src_port, dst_port) = match packet.transport {
            Transport::Tcp(tcp) => (Protocol::Tcp, tcp.src_port, tcp.dst_port),
            Transport::Udp { src_port, dst_port } => (Protocol::Udp, src_port, dst_port),
            Transport::Icmp(Icmp::EchoRequest { id }) => (Protocol::Icmp, id, 0),
            Transport::Icmp(Icmp::EchoReply { id }) => (Protocol::Icmp, 0, id),
            Transport::Icmp(_) => (Protocol::Icmp, 0, 0),
            Transport::Fragment { protocol } | Transport::Other { protocol } => {
                (Protocol::Other(protocol), 0, 0)
            }
        };
        let src = Endpoint { address: packet.src, port: src_port };
        let dst = Endpoint { address: packet.dst, port: dst_port };
        Self { protocol, src, dst }
    }

    fn quoted(quoted: &nsntrace_dissect::Quoted<'_>) -> Option<Self> {
        let (protocol, (src_port, dst_port)) = match quoted.ports() {
            Some(ports) if quoted.protocol == TCP => (Protocol::Tcp, ports),
            Some(ports) => (Protocol::Udp, ports),
            None => (Protocol::Icmp, (quoted.echo_id()?, 0)),
        };
        let src = Endpoint { address: quoted.src, port: src_port };
        let dst = Endpoint { address: quoted.dst, port: dst_port };
        Some(Self { protocol, src, dst })
    }
}

/// A flow takes 250 bytes or so.
const MAX_FLOWS: u32 = 1 << 16;
/// Packets with a payload, of each end: a hello takes two or three without offload.
const HEADS: u8 = 6;
const HEAD_LEN: usize = 4096;
const DOMAIN: u16 = 53;
/// Connections begin and end with these.
const TURNS: TcpFlags = TcpFlags(TcpFlags::SYN.0 | TcpFlags::FIN.0 | TcpFlags::RST.0);
const TCP: u8 = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::census::tcp::TcpEnd;
    use nsntrace_dissect::{Quoted, Tcp, TcpFlags};

    const US: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    /// A census and its clock.
    #[derive(Default)]
    struct Story {
        census: Census,
        now: u64,
    }

    impl Story {
        fn see(&mut self, packet: Packet<'_>) -> Seen {
            self.now += 1;
            let is_outbound = packet.src == US;
            let sight = Sight { timestamp_ns: self.now, is_outbound, is_loopback: false, len: 100 };
            self.census.see(&packet, &sight)
        }

        fn tcp(&mut self, is_sent: bool, flags: TcpFlags, seq: u32, payload: &[u8]) -> Seen {
            let (src, dst) = if is_sent { (US, PEER) } else { (PEER, US) };
            let (src_port, dst_port) = if is_sent { (40_000, 443) } else { (443, 40_000) };
            let tcp = Tcp { src_port, dst_port, seq, ack: 0, window: 1, flags };
            let payload_len = u32::try_from(payload.len()).unwrap();
            self.see(Packet { src, dst, transport: Transport::Tcp(tcp), payload, payload_len })
        }

        fn udp(&mut self, src: Endpoint, dst: Endpoint, payload: &[u8]) -> Seen {
            let transport = Transport::Udp { src_port: src.port, dst_port: dst.port };
            let payload_len = u32::try_from(payload.len()).unwrap();
            self.see(Packet { src: src.address, dst: dst.address, transport, payload, payload_len })
        }

        fn only(&self) -> &Flow {
            assert_eq!(self.census.flows.len(), 1);
            &self.census.flows[0]
        }
    }

    const ACK: TcpFlags = TcpFlags::ACK;
    const SYN: TcpFlags = TcpFlags::SYN;

    fn handshake(story: &mut Story, isn: u32) {
        story.tcp(true, SYN, isn, b"");
        story.tcp(false, SYN | ACK, 900, b"");
        story.tcp(true, ACK, isn + 1, b"");
    }

    #[test]
    fn both_directions_are_one_flow() {
        let mut story = Story::default();
        handshake(&mut story, 5);
        let sent = story.tcp(true, ACK, 6, b"hello");
        let answer = story.tcp(false, ACK, 901, b"you");
        assert!(!sent.is_new && sent.is_sent && !answer.is_sent && sent.flow == answer.flow);
        let flow = story.only();
        assert!(flow.is_outgoing);
        assert_eq!((flow.sent, flow.received.packets), (Volume { packets: 3, bytes: 300 }, 2));
        assert_eq!((flow.first_ns, flow.last_ns, flow.server_port()), (1, 5, 443));
        assert_eq!((flow.tcp_end(), flow.retransmissions()), (TcpEnd::Open, 0));
    }

    /// Numbers of the flows of some packets of UDP, before each of which a turn of their port may be heard of.
    #[track_caller]
    fn turns(story: &[(bool, Option<u64>)], expected: &[u32]) {
        let mut told = Story::default();
        let (us, peer) = (Endpoint { address: US, port: 5000 }, Endpoint { address: PEER, port: 53 });
        let mut flows = Vec::new();
        for (is_sent, turn) in story {
            if let Some(at_ns) = turn {
                told.census.turn(us, [0, *at_ns]);
                told.census.turn(Endpoint { port: 5001, ..us }, [0, 1]);
                told.census.turn(Endpoint { address: PEER, ..us }, [0, 1]);
                told.census
                    .turn(Endpoint { address: std::net::Ipv4Addr::UNSPECIFIED.into(), ..us }, [0, *at_ns]);
            }
            let (src, dst) = if *is_sent { (us, peer) } else { (peer, us) };
            flows.extend(told.udp(src, dst, b"x").flow.map(|flow| flow.0));
        }
        assert_eq!(flows, expected);
    }

    #[test]
    fn what_a_port_sends_after_its_turn_is_another_flow() {
        // Packets come at 1, 2, 3.
        turns(&[(true, None), (false, None), (true, None)], &[0, 0, 0]);
        turns(&[(true, None), (false, Some(2)), (true, None), (true, None)], &[0, 0, 1, 1]);
        // The turn is heard of before the packets that came before it.
        turns(&[(true, Some(3)), (true, None), (true, None), (true, None)], &[0, 0, 1, 1]);
        turns(&[(true, Some(1)), (true, None)], &[0, 0]);
        turns(&[(true, None), (true, Some(2)), (true, Some(3)), (true, None)], &[0, 1, 2, 2]);
    }

    #[test]
    fn an_end_is_told_from_another() {
        let tell = |after: &dyn Fn(&mut Story)| {
            let mut story = Story::default();
            story.tcp(true, SYN, 5, b"");
            after(&mut story);
            story.only().tcp_end()
        };
        let rst = TcpFlags::RST | ACK;
        assert_eq!(tell(&|_| ()), TcpEnd::Unanswered);
        assert_eq!(
            tell(&|story| {
                story.tcp(false, rst, 0, b"");
            }),
            TcpEnd::Refused
        );
        assert_eq!(
            tell(&|story| {
                story.tcp(false, SYN | ACK, 9, b"");
                story.tcp(false, rst, 10, b"");
            }),
            TcpEnd::Reset
        );
        assert_eq!(
            tell(&|story| {
                story.tcp(false, SYN | ACK, 9, b"");
                story.tcp(true, TcpFlags::FIN | ACK, 6, b"");
                story.tcp(false, TcpFlags::FIN | ACK, 10, b"");
                story.tcp(true, ACK, 7, b"");
            }),
            TcpEnd::Closed
        );
    }

    #[test]
    fn what_comes_twice_is_counted_and_probes_are_not() {
        let mut story = Story::default();
        handshake(&mut story, u32::MAX - 2);
        for _ in 0..3 {
            story.tcp(true, ACK, u32::MAX - 1, b"hello");
        }
        assert_eq!(story.only().retransmissions(), 2);
        // A keep-alive: the byte before the next one.
        story.tcp(true, ACK, 2, b"");
        story.tcp(true, ACK, 2, b"o");
        assert_eq!(story.only().retransmissions(), 2);
        story.tcp(true, SYN, u32::MAX - 2, b"");
        assert_eq!(story.only().retransmissions(), 3);
    }

    #[test]
    fn ports_that_are_used_again_are_another_flow() {
        let mut story = Story::default();
        handshake(&mut story, 5);
        story.tcp(false, TcpFlags::RST, 901, b"");
        assert!(story.tcp(true, SYN, 77_000, b"").is_new);
        let numbers: Vec<_> = story.census.flows().map(|(number, flow)| (number.0, flow.tcp_end())).collect();
        assert_eq!(numbers, [(0, TcpEnd::Reset), (1, TcpEnd::Unanswered)]);
    }

    #[test]
    fn a_message_about_a_packet_belongs_to_its_flow() {
        let mut story = Story::default();
        let (us, peer) = (Endpoint { address: US, port: 1234 }, Endpoint { address: PEER, port: 9 });
        story.udp(us, peer, b"hello");
        let quoted = Quoted { src: US, dst: PEER, protocol: 17, body: b"\x04\xd2\0\x09\0\x0d\0\0" };
        let message = Icmp::Error { error: IcmpError::PortUnreachable, quoted: Some(quoted) };
        let transport = Transport::Icmp(message);
        let seen = story.see(Packet { src: PEER, dst: US, transport, payload: b"", payload_len: 0 });
        assert_eq!((seen.flow, seen.is_sent), (Some(FlowNumber(0)), false));
        assert_eq!(story.only().icmp_error, Some(IcmpError::PortUnreachable));
    }

    #[test]
    fn an_answer_that_nobody_waits_for_is_no_failure() {
        let mut story = Story::default();
        let (us, peer) = (Endpoint { address: US, port: 1234 }, Endpoint { address: PEER, port: 9 });
        story.udp(us, peer, b"hello");
        story.udp(peer, us, b"you");
        let quoted = Quoted { src: PEER, dst: US, protocol: 17, body: b"\0\x09\x04\xd2\0\x0d\0\0" };
        let message = Icmp::Error { error: IcmpError::PortUnreachable, quoted: Some(quoted) };
        let transport = Transport::Icmp(message);
        let seen = story.see(Packet { src: US, dst: PEER, transport, payload: b"", payload_len: 0 });
        assert!(seen.is_sent);
        assert_eq!((story.only().sent.packets, story.only().icmp_error), (2, None));
    }

    #[test]
    fn a_ping_and_its_answer_are_one_flow() {
        let mut story = Story::default();
        let request = Transport::Icmp(Icmp::EchoRequest { id: 7 });
        let reply = Transport::Icmp(Icmp::EchoReply { id: 7 });
        story.see(Packet { src: US, dst: PEER, transport: request, payload: b"", payload_len: 0 });
        story.see(Packet { src: PEER, dst: US, transport: reply, payload: b"", payload_len: 0 });
        let flow = story.only();
        assert_eq!((flow.sent.packets, flow.received.packets, flow.local.port), (1, 1, 7));
    }

    #[test]
    fn the_first_payloads_of_either_side_are_worth_reading() {
        let mut story = Story::default();
        handshake(&mut story, 5);
        let long = vec![7; 9000];
        let mut heads = 0;
        for n in 0..20_u32 {
            let tcp =
                Tcp { src_port: 40_000, dst_port: 443, seq: 6 + n * 9000, ack: 0, window: 1, flags: ACK };
            let packet = Packet {
                src: US,
                dst: PEER,
                transport: Transport::Tcp(tcp),
                payload: &long,
                payload_len: 9000,
            };
            let seen = story.see(packet);
            let Some(head) = story.census.head(&packet, &seen) else { continue };
            assert_eq!((head.bytes.len(), head.seq, head.server_port), (HEAD_LEN, tcp.seq, 443));
            heads += 1;
        }
        assert_eq!(heads, HEADS);
    }

    /// A datagram each to so many peers.
    fn crowd(story: &mut Story, count: u32) -> Endpoint {
        let us = Endpoint { address: US, port: 1 };
        for n in 0..count {
            let [_, a, b, c] = n.to_be_bytes();
            story.udp(us, Endpoint { address: IpAddr::from([198, a, b, c]), port: 9 }, b"");
        }
        us
    }

    #[test]
    fn memory_is_bounded() {
        let mut story = Story::default();
        crowd(&mut story, MAX_FLOWS + 5);
        assert_eq!(story.census.flows.len(), MAX_FLOWS as usize);
        assert_eq!(story.census.overflow(), Volume { packets: 5, bytes: 500 });
    }

    #[test]
    fn without_room_for_another_a_flow_goes_on() {
        let mut story = Story::default();
        handshake(&mut story, 5);
        let us = crowd(&mut story, MAX_FLOWS - 1);
        let first = Endpoint { address: IpAddr::from([198, 0, 0, 0]), port: 9 };
        story.census.turn(us, [0, story.now]);
        let seen = story.udp(us, first, b"");
        assert_eq!((seen.flow, seen.is_new), (Some(FlowNumber(1)), false));
        assert_eq!(story.census.flow(FlowNumber(1)).map(|flow| flow.sent.packets), Some(2));
        // Of TCP it is certain that it is another one.
        story.tcp(false, TcpFlags::RST, 901, b"");
        assert_eq!(story.tcp(true, SYN, 77_000, b"").flow, None);
        assert_eq!(story.census.overflow().packets, 1);
    }
}
