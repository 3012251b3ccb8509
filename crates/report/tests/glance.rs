//! A glance changes no count: random packets, each looked at as the recorder does, and each read in full.
#![forbid(unsafe_code)]

use std::net::IpAddr;

use nsntrace_dissect::{Transport, Way, dissect, glance};
use nsntrace_report::{Census, Seen, Sight};

/// Marsaglia's xorshift64: the same packets on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u8::try_from(self.0 % bound).expect("it is asked for little")
    }

    /// Few ends, few flags: so that flows meet again.
    fn frame(&mut self) -> Vec<u8> {
        let (is_v6, is_tcp) = (self.below(2) == 1, self.below(3) > 0);
        let ports = [0, 20 + self.below(2), 0, [53, 80, 81][usize::from(self.below(3))]];
        let ports = if self.below(2) == 0 { ports } else { [ports[2], ports[3], ports[0], ports[1]] };
        let flags = [0x10, 0x10, 0x18, 0x02, 0x12, 0x11, 0x04][usize::from(self.below(7))];
        let seq = [0, 0, 0, self.below(40)];
        let tcp = [&ports[..], &seq, &[0; 4], &[0x50, flags, 1, 0, 0, 0, 0, 0]].concat();
        let head = if is_tcp { tcp } else { [&ports[..], &[0; 4]].concat() };
        let body = [head, vec![7; usize::from(self.below(3)) * 5]].concat();
        let len = u8::try_from(body.len()).expect("it is short");
        let (from, to) = [(1, 2), (2, 1)][usize::from(self.below(2))];
        let protocol = if is_tcp { 6 } else { 17 };
        if is_v6 {
            let address = |last| [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[last]].concat();
            let fixed = [0x60, 0, 0, 0, 0, len, protocol, 64];
            return [&[0; 12][..], b"\x86\xdd", &fixed, &address(from), &address(to), &body].concat();
        }
        let fixed = [0x45, 0, 0, len + 20, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, from, 10, 0, 0, to];
        [&[0; 12][..], b"\x08\0", &fixed, &body].concat()
    }
}

fn see(census: &mut Census, frame: &[u8], sight: &Sight) -> Seen {
    census.see(&dissect(frame).expect("it is IP"), sight)
}

#[test]
fn what_is_seen_at_a_glance_is_what_is_read() {
    let mut random = Random(7);
    let (mut quick, mut thorough) = (Census::new(), Census::new());
    let mut glances = 0;
    for number in 0..50_000 {
        let frame = random.frame();
        let is_outbound = frame[29] == 1 || frame[37] == 1;
        let sight = Sight { timestamp_ns: number, is_outbound, is_loopback: false, len: 100 };
        let expected = see(&mut thorough, &frame, &sight);
        let glanced = glance(&frame).and_then(|glance| quick.glance(&glance, &sight));
        glances += u32::from(glanced.is_some());
        let seen = glanced.unwrap_or_else(|| see(&mut quick, &frame, &sight));
        assert_eq!(seen, expected, "{number}: {frame:02x?}");
    }
    let flows = |census: &Census| census.flows().map(|flow| format!("{flow:?}")).collect::<Vec<_>>();
    assert_eq!(flows(&quick), flows(&thorough));
    assert!(glances > 5000, "{glances}");
}

/// Also where a frame is cut.
#[test]
fn a_glance_says_what_the_headers_say() {
    let mut random = Random(9);
    for _ in 0..2000 {
        let frame = random.frame();
        for len in 0..=frame.len() {
            let Some(glanced) = glance(&frame[..len]) else { continue };
            let packet = dissect(&frame[..len]).expect("what a glance sees is there");
            assert_eq!(glanced.payload_len, packet.payload_len);
            let (ports, protocol) = match packet.transport {
                Transport::Tcp(tcp) => ((tcp.src_port, tcp.dst_port), 6),
                Transport::Udp { src_port, dst_port } => ((src_port, dst_port), 17),
                other => panic!("{other:?}"),
            };
            let tcp = if let Transport::Tcp(tcp) = packet.transport { Some(tcp) } else { None };
            let number = |address| match address {
                IpAddr::V4(v4) => u128::from(v4.to_bits()),
                IpAddr::V6(v6) => v6.to_bits(),
            };
            let kind = Way::kind(protocol, packet.src.is_ipv6());
            let way = Way::new((number(packet.src), ports.0), (number(packet.dst), ports.1), kind);
            assert_eq!((glanced.way, glanced.tcp), (way, tcp));
            assert_eq!(way.back().back(), way);
        }
        assert!(glance(&frame).is_some(), "{frame:02x?}");
    }
}
