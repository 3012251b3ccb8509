//! Frames of Ethernet: every protocol that the language knows a word for, whole and cut, plain and
//! encapsulated.

use super::Random;

/// About `count` frames, the same for the same seed.
pub(crate) fn frames(seed: u64, count: usize) -> Vec<Vec<u8>> {
    let mut random = Random::new(seed);
    let mut frames: Vec<Vec<u8>> = (0..count).map(|_| frame(&mut random)).collect();
    frames.extend(llc_frames());
    frames
}

/// The packet behind the Ethernet header, with the header of another link type. None where it has none for
/// it.
pub(crate) fn relink(frame: &[u8], link_type: nsntrace_filter::LinkType) -> Option<Vec<u8>> {
    use nsntrace_filter::LinkType;
    let ethertype = u16::from_be_bytes([*frame.get(12)?, *frame.get(13)?]);
    let packet = frame.get(14..)?;
    let kind = frame[0] & 1;
    let header = match (link_type, ethertype) {
        (LinkType::Ethernet, _) => return Some(frame.to_vec()),
        (LinkType::Raw, 0x0800 | 0x86dd) => vec![],
        (LinkType::Null, 0x0800) => vec![2, 0, 0, 0],
        (LinkType::Null, 0x86dd) => vec![10, 0, 0, 0],
        (LinkType::LinuxSll, _) => {
            let protocol = if ethertype <= 1500 { 4 } else { ethertype };
            let mut header = vec![0, kind, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0];
            header.extend(protocol.to_be_bytes());
            header
        }
        (LinkType::LinuxSll2, _) => {
            let protocol = if ethertype <= 1500 { 4 } else { ethertype };
            let mut header = protocol.to_be_bytes().to_vec();
            header.extend([0, 0, 0, 0, 0, 2, 0, 1, kind, 6, 0, 0, 0, 0, 0, 0, 0, 0]);
            header
        }
        _ => return None,
    };
    Some([header.as_slice(), packet].concat())
}

fn frame(random: &mut Random) -> Vec<u8> {
    let mut frame = ethernet(random);
    if random.chance(15) {
        let (tpid, id) = (*random.pick(&TAGS), *random.pick(&[0, 1, 5, 100, 200, 4095_u16]));
        let tag = [tpid.to_be_bytes(), id.to_be_bytes()].concat();
        frame.splice(12..12, tag);
    }
    if random.chance(8) {
        frame.truncate(random.below(70));
    }
    if random.chance(4) {
        let at = random.below(frame.len().clamp(1, 60));
        if let Some(byte) = frame.get_mut(at) {
            *byte ^= 1 << random.below(8);
        }
    }
    frame
}

/// A frame without a tag.
fn ethernet(random: &mut Random) -> Vec<u8> {
    let mut frame = mac(random).to_vec();
    frame.extend(mac(random));
    let (ethertype, payload) = match random.below(20) {
        0..8 => (0x0800, ip(random, 0)),
        8..13 => (0x86dd, ip6(random, 0)),
        13 => (*random.pick(&[0x0806, 0x8035]), arp(random)),
        14 => (0x8847, mpls(random)),
        15 => (0x8864, pppoe(random)),
        16 => (*random.pick(&ETHERTYPES), bytes(random, 60)),
        17 => (0x6003, decnet(random)),
        18 => (*random.pick(&[0, 40, 1500, 1501]), bytes(random, 60)),
        _ => (0x0800, ip(random, 1)),
    };
    frame.extend(u16::to_be_bytes(ethertype));
    frame.extend(payload);
    frame
}

/// 802.2 frames, of every kind that is asked for by name.
fn llc_frames() -> Vec<Vec<u8>> {
    let saps: [[u8; 2]; 8] =
        [[0x42, 0x42], [0xfe, 0xfe], [0xf0, 0xf0], [0xe0, 0xe0], [0xff, 0xff], [6, 6], [0xaa, 0xaa], [4, 5]];
    let controls = [0x03, 0x00, 0x01, 0x05, 0x09, 0x63, 0x43, 0x0f, 0x6f, 0xe3, 0xaf, 0x87];
    let tails: [&[u8]; 6] = [
        &[8, 0, 7, 0x80, 0x9b],
        &[0, 0, 0, 0x81, 0x37],
        &[0, 0, 0, 0x80, 0xf3],
        &[0x81, 0, 0, 0, 15],
        &[0x83, 27, 1, 0, 15, 1],
        &[0x83, 27, 1, 0, 20, 1],
    ];
    let mut frames = Vec::new();
    for (index, sap) in saps.iter().enumerate() {
        for (other, control) in controls.iter().enumerate() {
            let tail = tails[(index + other) % tails.len()];
            let mut frame = [[1, 0x80, 0xc2, 0, 0, 0], MACS[0]].concat();
            frame.extend([0, 60]);
            frame.extend(sap);
            frame.push(*control);
            frame.extend(tail);
            frame.extend([0; 40]);
            frames.push(frame);
        }
    }
    frames
}

fn mac(random: &mut Random) -> [u8; 6] {
    *random.pick(&MACS)
}

fn bytes(random: &mut Random, len: usize) -> Vec<u8> {
    (0..len).map(|_| *random.pick(&[0, 1, 2, 5, 6, 17, 80, 0x45, 0xff])).collect()
}

/// IPv4, with at most one tunnel level more.
fn ip(random: &mut Random, tunnels: u32) -> Vec<u8> {
    let options = if random.chance(15) { 4 } else { 0 };
    let fragment: u16 = if random.chance(12) { *random.pick(&[0x2000, 1, 0x1fff, 0x00b9]) } else { 0 };
    let (protocol, payload) = transport(random, tunnels);
    let total = u16::try_from(20 + options + payload.len()).unwrap();
    let mut packet = vec![0x45 + u8::try_from(options / 4).unwrap(), *random.pick(&[0, 0xb8])];
    packet.extend(total.to_be_bytes());
    packet.extend([0, 1]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([*random.pick(&[1, 64, 65]), protocol, 0, 0]);
    packet.extend(random.pick(&IPV4));
    packet.extend(random.pick(&IPV4));
    packet.extend(vec![1; options]);
    packet.extend(payload);
    packet
}

/// IPv6, maybe with extension headers.
fn ip6(random: &mut Random, tunnels: u32) -> Vec<u8> {
    let (mut next, mut payload) = transport(random, tunnels);
    while random.chance(30) {
        let header = *random.pick(&[0_u8, 43, 44, 60]);
        let mut extended = vec![next, 0, 0, 0, 0, 0, 0, 0];
        extended.extend(payload);
        (next, payload) = (header, extended);
    }
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    packet.extend([next, 64]);
    packet.extend(random.pick(&IPV6));
    packet.extend(random.pick(&IPV6));
    packet.extend(payload);
    packet
}

fn transport(random: &mut Random, tunnels: u32) -> (u8, Vec<u8>) {
    if tunnels > 0 {
        return (17, tunnel(random));
    }
    let protocol = *random.pick(&PROTOCOLS);
    let mut payload = Vec::new();
    payload.extend(random.pick(&PORTS).to_be_bytes());
    payload.extend(random.pick(&PORTS).to_be_bytes());
    payload.extend(bytes(random, 8));
    payload.extend([0x50, *random.pick(&[1, 2, 4, 16, 18, 24])]);
    payload.extend(bytes(random, 30));
    (protocol, payload)
}

/// Geneve or VXLAN behind UDP.
fn tunnel(random: &mut Random) -> Vec<u8> {
    let is_geneve = random.chance(70);
    let port: u16 = if is_geneve { 6081 } else { 4789 };
    let mut payload = vec![0x12, 0x34];
    payload.extend(port.to_be_bytes());
    payload.extend([0, 0, 0, 0]);
    let options = if is_geneve { *random.pick(&[0_u8, 1, 3]) } else { 0 };
    let inner = if is_geneve { *random.pick(&[0x6558_u16, 0x0800, 0x86dd]) } else { 0x6558 };
    payload.extend([if is_geneve { options } else { 8 }, 0]);
    payload.extend(if is_geneve { inner } else { 0 }.to_be_bytes());
    payload.extend([0, 0, *random.pick(&[5, 10]), 0]);
    payload.extend(vec![0; usize::from(options) * 4]);
    payload.extend(match inner {
        0x0800 => ip(random, 0),
        0x86dd => ip6(random, 0),
        _ => ethernet(random),
    });
    payload
}

fn arp(random: &mut Random) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, *random.pick(&[1, 2])];
    packet.extend(mac(random));
    packet.extend(random.pick(&IPV4));
    packet.extend(mac(random));
    packet.extend(random.pick(&IPV4));
    packet
}

fn mpls(random: &mut Random) -> Vec<u8> {
    let mut packet = Vec::new();
    loop {
        let label = *random.pick(&[100_u32, 1024, 5]);
        let is_last = random.chance(60);
        packet.extend((label << 12 | u32::from(is_last) << 8 | 64).to_be_bytes());
        if is_last {
            break;
        }
    }
    packet.extend(if random.chance(50) { ip(random, 0) } else { ip6(random, 0) });
    packet
}

fn pppoe(random: &mut Random) -> Vec<u8> {
    let mut packet = vec![0x11, 0, 0, *random.pick(&[7, 0x27]), 0, 100];
    let (protocol, payload) = match random.below(3) {
        0 => (0x0021_u16, ip(random, 0)),
        1 => (0x0057, ip6(random, 0)),
        _ => (0x0281, mpls(random)),
    };
    packet.extend(protocol.to_be_bytes());
    packet.extend(payload);
    packet
}

fn decnet(random: &mut Random) -> Vec<u8> {
    let mut packet = vec![0, 30];
    if random.chance(50) {
        packet.push(0x81);
    }
    packet.push(*random.pick(&[0x26, 0x02, 0x06]));
    packet.extend((0..30).map(|_| *random.pick(&[1, 4, 8])));
    packet
}

const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
const ETHERTYPES: [u16; 11] =
    [0x809b, 0x80f3, 0x8137, 0x6001, 0x6002, 0x6004, 0x6007, 0x8863, 0x88cc, 0x9000, 0x888e];
const PROTOCOLS: [u8; 14] = [6, 6, 6, 17, 17, 132, 1, 58, 2, 103, 112, 51, 50, 47];
const PORTS: [u16; 12] = [80, 443, 22, 53, 67, 68, 20, 21, 123, 1024, 6000, 8080];
const MACS: [[u8; 6]; 5] = [
    [0x00, 0x11, 0x22, 0x33, 0x44, 0x55],
    [0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb],
    [0xff; 6],
    [0x01, 0x80, 0xc2, 0, 0, 0],
    [0x02, 0, 0, 0, 0, 1],
];
const IPV4: [[u8; 4]; 9] = [
    [10, 0, 0, 1],
    [10, 0, 0, 2],
    [192, 168, 1, 1],
    [172, 16, 5, 4],
    [1, 2, 3, 4],
    [8, 8, 8, 8],
    [224, 0, 0, 1],
    [255, 255, 255, 255],
    [0, 0, 0, 0],
];
const IPV6: [[u8; 16]; 5] = [
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
    [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
];
