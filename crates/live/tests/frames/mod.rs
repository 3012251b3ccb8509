//! Frames to be read.

/// A flag.
pub(crate) const TCP_ACK: u8 = 0x10;

pub(crate) fn ethernet(ethertype: u16, packet: &[u8]) -> Vec<u8> {
    [&[0; 12][..], &ethertype.to_be_bytes(), packet].concat()
}

/// From 192.0.2.1 to 198.51.100.2.
fn v4(protocol: u8, body: &[u8]) -> Vec<u8> {
    let [high, low] = len(20 + body.len()).to_be_bytes();
    let head = [0x45, 0, high, low, 0, 0, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2];
    ethernet(0x0800, &[&head[..], body].concat())
}

pub(crate) fn tcp(flags: u8, payload: &[u8]) -> Vec<u8> {
    tcp_to(80, flags, 1, payload)
}

pub(crate) fn tcp_to(port: u16, flags: u8, seq: u32, payload: &[u8]) -> Vec<u8> {
    let ports = [1234_u16.to_be_bytes(), port.to_be_bytes()].concat();
    v4(6, &[&ports[..], &seq.to_be_bytes(), &[0, 0, 0, 9, 0x50, flags, 1, 0, 0, 0, 0, 0], payload].concat())
}

pub(crate) fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    v4(17, &datagram(port, payload))
}

/// From 2001:db8::1 to 2001:db8::2.
pub(crate) fn v6_udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let body = datagram(port, payload);
    let [high, low] = len(body.len()).to_be_bytes();
    let address = |last| [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[last]].concat();
    ethernet(0x86dd, &[&[0x60, 0, 0, 0, high, low, 17, 64][..], &address(1), &address(2), &body].concat())
}

fn datagram(port: u16, payload: &[u8]) -> Vec<u8> {
    [&1234_u16.to_be_bytes(), &port.to_be_bytes(), &len(8 + payload.len()).to_be_bytes(), &[0, 0], payload]
        .concat()
}

pub(crate) fn icmp(message: &[u8]) -> Vec<u8> {
    v4(1, message)
}

/// A client hello of TLS 1.2 for example.com that offers h2.
pub(crate) fn hello() -> Vec<u8> {
    let vector = |bytes: &[u8]| [&len(bytes.len()).to_be_bytes(), bytes].concat();
    let name = vector(&[&[0][..], &vector(b"example.com")].concat());
    let protocols = vector(b"\x02h2");
    let extensions = vector(&[&[0, 0][..], &vector(&name), &[0, 16], &vector(&protocols)].concat());
    let body = [&b"\x03\x03"[..], &[7; 32], b"\0\0\x02\x13\x01\x01\0", &extensions].concat();
    let message = [&[1, 0][..], &vector(&body)].concat();
    [&[22, 3, 1][..], &vector(&message)].concat()
}

fn len(bytes: usize) -> u16 {
    u16::try_from(bytes).expect("it is short")
}
