//! Frames that differ in everything that may differ in a header.

/// Bytes of a link.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Vec<u8>,
    pub(crate) original_len: usize,
    pub(crate) is_cut: bool,
    pub(crate) is_later_fragment: bool,
}

impl Frame {
    fn whole(bytes: Vec<u8>) -> Self {
        Self { original_len: bytes.len(), bytes, is_cut: false, is_later_fragment: false }
    }
}

/// TCP, UDP, pings and errors, in all sorts of headers, one in five cut.
pub(crate) fn random(count: usize, seed: u64) -> Vec<Frame> {
    let mut random = Random(seed);
    (0..count).map(|_| random.frame()).collect()
}

/// Answers of DNS with chains of aliases, and client hellos.
pub(crate) fn names(count: usize, seed: u64) -> Vec<Frame> {
    let mut random = Random(seed);
    (0..count).map(|n| Frame::whole(if n % 4 == 0 { random.hello() } else { random.answer() })).collect()
}

/// xorshift64*, by Vigna: the same frames in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: u64) -> usize {
        usize::try_from((self.next() >> 33) % limit).unwrap()
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| u8::try_from(self.below(256)).unwrap()).collect()
    }

    /// Ports that no tunnel is known by.
    fn ports(&mut self) -> Vec<u8> {
        let mut port = || u16::try_from(50_000 + self.below(5000)).unwrap().to_be_bytes();
        [port(), port()].concat()
    }

    fn frame(&mut self) -> Frame {
        let is_v6 = self.below(2) == 0;
        let (protocol, body) = self.transport(is_v6);
        let is_fragment = self.below(10) == 0;
        let is_later_fragment = is_fragment && self.below(2) == 0;
        let packet = if is_v6 {
            self.v6(protocol, &body, is_later_fragment)
        } else {
            self.v4(protocol, &body, is_later_fragment)
        };
        let mut bytes = self.ethernet(is_v6, &packet);
        bytes.resize(bytes.len().max(60), 0);
        let original_len = bytes.len();
        let is_cut = self.below(5) == 0;
        if is_cut {
            bytes.truncate(14 + self.below(100));
        }
        Frame { bytes, original_len, is_cut, is_later_fragment }
    }

    fn ethernet(&mut self, is_v6: bool, packet: &[u8]) -> Vec<u8> {
        let tags = match self.below(4) {
            0 => &b"\x81\0\0\x07"[..],
            1 => b"\x88\xa8\0\x07\x81\0\0\x08",
            _ => b"",
        };
        let ethertype = if is_v6 { b"\x86\xdd" } else { b"\x08\0" };
        [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], tags, ethertype, packet].concat()
    }

    fn transport(&mut self, is_v6: bool) -> (u8, Vec<u8>) {
        let payload_len = self.below(100);
        let payload = self.bytes(payload_len);
        match self.below(4) {
            0 => (6, self.tcp(&payload)),
            1 => (17, self.udp(&payload)),
            2 => (if is_v6 { 58 } else { 1 }, self.ping(is_v6)),
            _ => (if is_v6 { 58 } else { 1 }, self.error(is_v6, &payload)),
        }
    }

    fn tcp(&mut self, payload: &[u8]) -> Vec<u8> {
        let words = self.below(11);
        let length = u8::try_from((5 + words) << 4).unwrap();
        let (ports, numbers, flags) = (self.ports(), self.bytes(8), self.bytes(1));
        // Options: do nothing, as often as there is room.
        [&ports[..], &numbers, &[length], &flags, &[1, 0, 0, 0, 0, 0], &[1].repeat(words * 4), payload]
            .concat()
    }

    fn udp(&mut self, payload: &[u8]) -> Vec<u8> {
        let ports = self.ports();
        [&ports[..], &length(8 + payload.len()), &[0, 0], payload].concat()
    }

    fn ping(&mut self, is_v6: bool) -> Vec<u8> {
        let answer = self.below(2) == 0;
        let kind = match (is_v6, answer) {
            (false, false) => 8,
            (false, true) => 0,
            (true, false) => 128,
            (true, true) => 129,
        };
        [vec![kind, 0, 0, 0], self.bytes(20)].concat()
    }

    /// With the packet that it is about.
    fn error(&mut self, is_v6: bool, payload: &[u8]) -> Vec<u8> {
        let kinds: &[[u8; 2]] =
            if is_v6 { &[[1, 0], [1, 1], [1, 4], [3, 0]] } else { &[[3, 1], [3, 3], [3, 13], [11, 0]] };
        let kind = kinds[self.below(4)];
        let (protocol, body) =
            if self.below(2) == 0 { (6, self.tcp(payload)) } else { (17, self.udp(payload)) };
        let quoted = if is_v6 { self.v6(protocol, &body, false) } else { self.v4(protocol, &body, false) };
        [&kind[..], &[0; 6], &quoted].concat()
    }

    fn v4(&mut self, protocol: u8, body: &[u8], is_later_fragment: bool) -> Vec<u8> {
        let words = self.below(11);
        let head = 0x40 | u8::try_from(5 + words).unwrap();
        let fragment = if is_later_fragment { [0x20, 5] } else { [0, 0] };
        let (id, addresses) = (self.bytes(2), self.bytes(4));
        let fixed =
            [&[head, 0][..], &length(20 + words * 4 + body.len()), &id, &fragment, &[64, protocol, 0, 0]];
        let addresses = [&[10, 1][..], &addresses[..2], &[10, 2], &addresses[2..]];
        [fixed.concat(), addresses.concat(), [1].repeat(words * 4), body.to_vec()].concat()
    }

    fn v6(&mut self, protocol: u8, body: &[u8], is_later_fragment: bool) -> Vec<u8> {
        let (mut next, mut chain) = (protocol, Vec::new());
        if is_later_fragment {
            (next, chain) = (44, vec![protocol, 0, 0, 41, 0, 0, 0, 7]);
        }
        for kind in [60, 0] {
            if self.below(3) == 0 {
                // One option that pads 8 or 16 bytes.
                let more = self.below(2) * 8;
                let option =
                    [&[next, u8::try_from(more / 8).unwrap(), 1][..], &[u8::try_from(4 + more).unwrap()]];
                chain = [option.concat(), vec![0; 4 + more], chain].concat();
                next = kind;
            }
        }
        let mut address = || [&[0x20, 1, 0xd, 0xb8][..], &self.bytes(12)].concat();
        let addresses = [address(), address()].concat();
        let fixed =
            [&[0x60, 0, 0, 0][..], &length(chain.len() + body.len()), &[next, 64], &addresses].concat();
        [&fixed[..], &chain, body].concat()
    }

    /// A name of one to four labels.
    fn labels(&mut self) -> Vec<u8> {
        let count = 1 + self.below(4);
        let mut name = Vec::new();
        for _ in 0..count {
            let len = 1 + self.below(20);
            name.push(u8::try_from(len).unwrap());
            name.extend((0..len).map(|_| b"abcdefghijklmnopqrstuvwxyz0123456789-_"[self.below(38)]));
        }
        name
    }

    /// Names lead to each other: the first record's to the question, each alias's to what the one before says.
    fn answer(&mut self) -> Vec<u8> {
        let aliases = self.below(4);
        let (id, name) = (self.bytes(2), self.labels());
        let count = u8::try_from(aliases + 1).unwrap();
        let mut message =
            [&id[..], &[0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0], &name, &[0, 0, 1, 0, 1]].concat();
        let mut owner = 12;
        for _ in 0..aliases {
            // Its last part is the whole of the name before.
            let alias = [vec![3, b'c', b'd', b'n'], lead(owner).to_vec()].concat();
            let head = [&lead(owner)[..], &[0, 5, 0, 1, 0, 0, 0, 60], &length(alias.len())].concat();
            owner = message.len() + head.len();
            message.extend([head, alias].concat());
        }
        message.extend([&lead(owner)[..], &[0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]].concat());
        let datagram = [&[0, 53, 0xc3, 0x50][..], &length(8 + message.len()), &[0, 0], &message].concat();
        let packet = self.v4(17, &datagram, false);
        self.ethernet(false, &packet)
    }

    fn hello(&mut self) -> Vec<u8> {
        let name = self.labels();
        let name: Vec<u8> = name[1..].iter().map(|&byte| if byte < b'-' { b'.' } else { byte }).collect();
        let list = [&[0][..], &length(name.len()), &name].concat();
        let sni = [&[0, 0][..], &length(list.len() + 2), &length(list.len()), &list].concat();
        let unknown = [&[0x12, 0x34][..], &[0, 4, 1, 2, 3, 4]].concat();
        let extensions = [unknown, sni].concat();
        let (random, session) = (self.bytes(32), self.bytes(32));
        let head = [&[3, 3][..], &random, &[32], &session, &[0, 2, 0x13, 1, 1, 0]].concat();
        let body = [&head[..], &length(extensions.len()), &extensions].concat();
        let record = [&[22, 3, 1][..], &length(body.len() + 4), &[1, 0], &length(body.len()), &body].concat();
        let segment =
            [&[0xc3, 0x50, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 1, 0, 0, 0, 0, 0][..], &record];
        let packet = self.v4(6, &segment.concat(), false);
        self.ethernet(false, &packet)
    }
}

fn length(len: usize) -> [u8; 2] {
    u16::try_from(len).unwrap().to_be_bytes()
}

/// Where a name goes on.
fn lead(to: usize) -> [u8; 2] {
    (0xc000 | u16::try_from(to).unwrap()).to_be_bytes()
}
