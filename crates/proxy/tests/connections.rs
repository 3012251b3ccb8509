//! TCP through the proxy, between programs that know nothing of it.
#![forbid(unsafe_code)]

mod common;

use std::process::{Command, Stdio};

use common::{PEER4, PEER6, Running, World};
use nsntrace_testkit::{WorkDir, eventually, isolated, sh};

#[test]
fn bytes_and_ends_come_through_both_ways() {
    isolated(|| {
        let world = World::new();
        for peer in [PEER4, PEER6] {
            let server = world.serve(&format!(
                "l = listen('{peer}', 80)
c, who = l.accept()
assert c.getsockname()[:2] == ('{peer}', 80)
data = read_all(c)
c.sendall(hashlib.sha256(data).digest() + data[::-1])
c.close()"
            ));
            world.listens(80);
            // The program says that it has written all, and reads on.
            let answer = world.program(&format!(
                "c = socket.create_connection(('{peer}', 80))
assert c.getpeername()[:2] == ('{peer}', 80)
data = os.urandom(20_000_003)
c.sendall(data)
c.shutdown(socket.SHUT_WR)
answer = read_all(c)
assert answer[:32] == hashlib.sha256(data).digest()
print(answer[32:] == data[::-1])"
            ));
            assert_eq!(answer, "True");
            server.finish();
        }
    });
}

#[test]
fn the_peer_may_end_first() {
    isolated(|| {
        let world = World::new();
        let server = world.serve(&format!(
            "l = listen('{PEER4}', 80)
c, _ = l.accept()
c.sendall(b'question')
c.shutdown(socket.SHUT_WR)
assert read_all(c) == b'answer', 'the other direction is still open'"
        ));
        world.listens(80);
        world.program(&format!(
            "c = socket.create_connection(('{PEER4}', 80))
assert read_all(c) == b'question'
c.sendall(b'answer')"
        ));
        server.finish();
    });
}

#[test]
fn what_cannot_be_reached_fails_as_it_would_without_us() {
    isolated(|| {
        let world = World::new();
        sh("ip route add throw 192.0.2.0/24
            ip -6 route add throw 2001:db8:9::/64
            ip route add unreachable 198.51.100.9
            ip -6 route add unreachable 2001:db8:ffff::9
            ip -6 route add prohibit 2001:db8:ffff::8");
        world.internet.sh("echo 1 >/proc/sys/net/ipv4/ip_forward
            echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
            ip route add unreachable 198.51.100.10
            ip route add prohibit 198.51.100.11
            ip -6 route add unreachable 2001:db8:ffff::10
            ip -6 route add prohibit 2001:db8:ffff::11
            ip addr add 198.51.100.12 dev lo
            nft 'add table ip f; add chain ip f c { type filter hook input priority 0; }
                 add rule ip f c ip daddr 198.51.100.12 meta l4proto tcp reject with icmp prot-unreachable'");
        let cases = [
            (PEER4, "ECONNREFUSED"),
            (PEER6, "ECONNREFUSED"),
            ("192.0.2.1", "ENETUNREACH"),
            ("2001:db8:9::1", "ENETUNREACH"),
            ("198.51.100.9", "EHOSTUNREACH"),
            ("2001:db8:ffff::9", "EHOSTUNREACH"),
            ("2001:db8:ffff::8", "EACCES"),
            ("198.51.100.10", "EHOSTUNREACH"),
            ("198.51.100.11", "EHOSTUNREACH"),
            ("198.51.100.12", "ENOPROTOOPT"),
            ("2001:db8:ffff::10", "ENETUNREACH"),
            ("2001:db8:ffff::11", "EACCES"),
            // Nobody has these addresses, on a link where the host asks for them.
            ("203.0.113.77", "EHOSTUNREACH"),
            ("2001:db8:1::77", "EHOSTUNREACH"),
        ];
        let ask = |address: &str| format!("print(reason('{address}', 81))");
        for (address, expected) in cases {
            let here = sh(&format!("python3 -c \"{}\n{}\"", common::PRELUDE, ask(address)));
            assert_eq!((address, here.as_str()), (address, expected), "without us");
            assert_eq!((address, world.program(&ask(address)).as_str()), (address, expected));
        }
    });
}

#[test]
fn a_silent_peer_is_silent() {
    isolated(|| {
        let world = World::new();
        world
            .internet
            .sh("ip route add blackhole 198.51.100.12; ip -6 route add blackhole 2001:db8:ffff::12");
        for address in ["198.51.100.12", "2001:db8:ffff::12"] {
            assert_eq!(world.program(&format!("print(reason('{address}', 81, 3))")), "nothing");
        }
    });
}

#[test]
fn the_program_retries_while_the_peer_is_asked_and_connects_once() {
    isolated(|| {
        let world = World::new();
        let server = world.serve(&format!(
            "l = listen('{PEER4}', 80)
c, _ = l.accept()
c.sendall(b'welcome')
l.settimeout(1)
try:
    l.accept()
    sys.exit('it came twice')
except TimeoutError:
    pass"
        ));
        world.listens(80);
        // The third SYN of the host gets through, after 3 s; the program has sent as many.
        world.internet.sh("nft 'add table ip late; add chain ip late in { type filter hook input priority 0; }'
            nft 'add rule ip late in tcp flags syn meter seen { ip saddr limit rate over 1/hour burst 2 packets } accept'
            nft 'add rule ip late in tcp flags syn drop'");
        world.program(&format!(
            "began = time.monotonic()
c = socket.create_connection(('{PEER4}', 80), 20)
assert read_all(c) == b'welcome'
assert time.monotonic() - began > 0.9, 'nothing was late'"
        ));
        server.finish();
    });
}

#[test]
fn a_reset_is_passed_on_and_what_came_before_it() {
    isolated(|| {
        let world = World::new();
        for peer in [PEER4, PEER6] {
            let server = world.serve(&format!(
                "l = listen('{peer}', 80)
c, _ = l.accept()
assert c.recv(100) == b'before'
c.sendall(b'x' * 300_000)
c.recv(1)
reset(c)
c, _ = l.accept()
assert c.recv(100) == b'before'
try:
    c.recv(1)
    sys.exit('no reset')
except ConnectionResetError:
    pass"
            ));
            world.listens(80);
            let said = world.program(&format!(
                "c = socket.create_connection(('{peer}', 80))
c.sendall(b'before')
got = len(c.recv(1000, socket.MSG_WAITALL))
c.sendall(b'!')
time.sleep(0.3)
try:
    while part := c.recv(1 << 16):
        got += len(part)
    print(got, 'an orderly end')
except ConnectionResetError:
    print(got, 'a reset')
c = socket.create_connection(('{peer}', 80))
c.sendall(b'before')
time.sleep(0.3)
reset(c)"
            ));
            assert_eq!(said, "300000 a reset");
            server.finish();
        }
    });
}

#[test]
fn what_a_peer_had_sent_before_it_was_reset_waits_for_a_slow_reader() {
    isolated(|| {
        let world = World::new();
        let server = world.serve(&format!(
            "import fcntl, termios
l = listen('{PEER4}', 80)
c, _ = l.accept()
c.sendall(b'x' * 2_000_000)
while struct.unpack('i', fcntl.ioctl(c, termios.TIOCOUTQ, bytes(4)))[0]:
    time.sleep(0.01)
reset(c)"
        ));
        world.listens(80);
        let said = world.program(&format!(
            "c = socket.create_connection(('{PEER4}', 80))
time.sleep(2)
got = 0
try:
    while part := c.recv(1 << 16):
        got += len(part)
    print(got, 'an orderly end')
except ConnectionResetError:
    print(got, 'a reset')"
        ));
        assert_eq!(said, "2000000 a reset");
        server.finish();
    });
}

/// A peer that takes and drops connections is no peer that refuses them.
#[test]
fn a_reset_on_the_heels_of_a_yes_is_no_refusal() {
    isolated(|| {
        let world = World::new();
        for peer in [PEER4, PEER6] {
            let _server = world.serve(&format!(
                "l = listen('{peer}', 80)
while True:
    reset(l.accept()[0])"
            ));
            world.listens(80);
            // Where the reset is there before connect() has come back, it is what connect() says: without us as well.
            let said = world.program(&format!(
                "found = set()
for _ in range(300):
    c = socket.socket(socket.AF_INET6 if ':' in '{peer}' else socket.AF_INET)
    try:
        c.connect(('{peer}', 80))
        found.add(len(c.recv(1)))
    except OSError as e:
        found.add(errno.errorcode[e.errno])
print(found)"
            ));
            assert_eq!(said, "{'ECONNRESET'}");
        }
    });
}

/// Urgent bytes come where they were written, and are told of; what is behind them comes as well, and so does the end.
#[test]
fn urgent_bytes_are_passed_on_as_such() {
    isolated(|| {
        let world = World::new();
        let server = world.serve(&format!(
            "l = listen('{PEER4}', 80)
c, _ = l.accept()
assert select.select([], [], [c], 30)[2], 'nobody said that it is urgent'
c.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
got = b''
while len(got) < 1_000_006:
    got += c.recv(1 << 16)
assert got[:6] == b'abcdef', got[:6]
c.sendall(b'12')
c.send(b'3', socket.MSG_OOB)
c.close()
# Urgent bytes for which there is no room yet.
c, _ = l.accept()
l.accept() # The program says that all is full. A moment, and it waits for room for its urgent byte.
time.sleep(0.5)
c.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
got = read_all(c)
assert got.endswith(b'x!'), got[-9:]
print(len(got))
c.sendall(b'%d' % len(got))"
        ));
        world.listens(80);
        let said = world.program(&format!(
            "c = socket.create_connection(('{PEER4}', 80))
c.sendall(b'ab')
c.send(b'c', socket.MSG_OOB)
c.sendall(b'de')
c.send(b'f', socket.MSG_OOB)
c.sendall(b'x' * 1_000_000)
assert select.select([], [], [c], 30)[2], 'nobody said that it is urgent'
c.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
print(read_all(c).decode())
c = socket.create_connection(('{PEER4}', 80))
c.setblocking(False)
sent = quiet = 0
while quiet < 3:
    try:
        sent += c.send(b'x' * 4096)
        quiet = 0
    except BlockingIOError:
        quiet += 1
        time.sleep(0.05)
c.setblocking(True)
full = socket.create_connection(('{PEER4}', 80))
c.send(b'!', socket.MSG_OOB)
c.shutdown(socket.SHUT_WR)
assert read_all(c) == b'%d' % (sent + 1)"
        ));
        assert_eq!(said, "123");
        server.finish();
    });
}

#[test]
fn the_file_shows_one_handshake() {
    isolated(|| {
        let world = World::new();
        let server = world.serve(&format!("l = listen('{PEER4}', 80); c, _ = l.accept(); read_all(c)"));
        world.listens(80);
        let dir = WorkDir::new();
        let file = dir.path().join("t.pcap");
        let dump = Tcpdump::start(&world, file.to_str().unwrap());
        world.program(&format!("c = socket.create_connection(('{PEER4}', 80)); c.sendall(b'x')"));
        server.finish();
        world.program("time.sleep(0.2)");
        dump.stop();
        let count =
            |filter: &str| sh(&format!("tshark -r {} -Y '{filter}' 2>/dev/null | wc -l", file.display()));
        assert_eq!(count("tcp.flags.syn == 1 && tcp.flags.ack == 0"), "1");
        assert_eq!(count("tcp.flags.syn == 1 && tcp.flags.ack == 1"), "1");
        assert_eq!(count(&format!("ip.addr == {PEER4} && tcp.port == 80 && tcp.len == 1")), "1");
        assert_eq!(count("tcp.flags.reset == 1 || icmp"), "0");
    });
}

#[test]
fn a_program_that_has_gone_leaves_nothing_with_the_peer() {
    isolated(|| {
        let world = World::new();
        world
            .internet
            .sh("nft 'add table ip late; add chain ip late in { type filter hook input priority 0; }'
            nft 'add rule ip late in tcp flags syn drop'");
        let server = world.serve(&format!(
            "l = listen('{PEER4}', 80)
c, _ = l.accept()
c.settimeout(20)
try:
    sys.exit('no reset' if c.recv(1) == b'' else 'bytes')
except ConnectionResetError:
    pass"
        ));
        world.listens(80);
        assert_eq!(world.program(&format!("print(reason('{PEER4}', 80, 0.5))")), "nothing");
        world.internet.sh("nft delete table ip late");
        server.finish();
    });
}

#[test]
fn what_a_program_has_written_is_delivered_after_its_end() {
    isolated(|| {
        let mut world = World::new();
        let server = world.serve(&format!(
            "l = listen('{PEER4}', 80)
c, _ = l.accept()
time.sleep(1)
assert len(read_all(c)) == 3_000_000"
        ));
        world.listens(80);
        world.program(&format!(
            "c = socket.create_connection(('{PEER4}', 80))
c.sendall(b'x' * 3_000_000)"
        ));
        world.stop();
        // Nothing of it is left to the kernel of the host: all has been acknowledged.
        assert_eq!(sh("ss -Htn dst 198.51.100.1 | awk '$3 > 0'"), "");
        server.finish();
    });
}

/// tcpdump on the program's device.
struct Tcpdump(Running);

impl Tcpdump {
    /// Returns once it captures.
    fn start(world: &World, file: &str) -> Self {
        let dump = world.t.inside(|| {
            let mut command = Command::new("tcpdump");
            command
                .args(["-i", "eth0", "--immediate-mode", "-U", "-Z", "root", "-w", file])
                .stderr(Stdio::null());
            Running(command.spawn().expect("tcpdump is installed"))
        });
        // The head of the file is written when the socket is there.
        eventually(|| std::fs::metadata(file).is_ok_and(|file| file.len() >= 24));
        Self(dump)
    }

    fn stop(self) {
        sh(&format!("kill -INT {}", self.0.0.id()));
        self.0.finish();
    }
}
