//! Many connections, slow ones, and too few descriptors.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;

use common::{PEER4, World};
use nsntrace_proxy::Limits;
use nsntrace_testkit::{eventually, isolated};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A server that sends back what it hears, to any number of clients at once.
const ECHO: &str = "
import resource, selectors
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
def echo(address, port):
    s = selectors.DefaultSelector()
    l = listen(address, port)
    s.register(l, selectors.EVENT_READ)
    while True:
        for key, _ in s.select():
            if key.fileobj is l:
                s.register(l.accept()[0], selectors.EVENT_READ)
            else:
                try:
                    data = key.fileobj.recv(1 << 16)
                    key.fileobj.sendall(data)
                except ConnectionError:
                    data = b''
                if not data:
                    s.unregister(key.fileobj)
                    key.fileobj.close()
";

#[test]
fn a_thousand_connect_at_once() {
    isolated(|| {
        raise_descriptors(8192);
        let world = World::new();
        let _echo = world.serve(&format!("{ECHO}\necho('{PEER4}', 80)"));
        world.listens(80);
        let said = world.program(&format!(
            "{ECHO}
cs = []
for _ in range(1000):
    c = socket.socket()
    c.setblocking(False)
    c.connect_ex(('{PEER4}', 80))
    cs.append(c)
for i, c in enumerate(cs):
    c.settimeout(20)
    select.select([], [c], [], 20)
    assert c.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    c.sendall(b'%d.' % i)
print(all(c.recv(100) == b'%d.' % i for i, c in enumerate(cs)))"
        ));
        assert_eq!(said, "True");
        // Nothing of them is left.
        eventually(|| descriptors() < 100);
    });
}

#[test]
fn ten_thousand_in_a_row_leave_nothing_behind() {
    isolated(|| {
        let world = World::new();
        let _echo = world.serve(&format!("{ECHO}\necho('{PEER4}', 80)"));
        world.listens(80);
        let some = |count: u32| {
            world.program(&format!(
                "for _ in range({count}):
    c = socket.create_connection(('{PEER4}', 80))
    c.sendall(b'x')
    assert c.recv(1) == b'x'
    c.close()"
            ))
        };
        some(1000);
        let before = (resident_kb(), descriptors());
        some(10_000);
        let after = resident_kb();
        assert!(after < before.0 + 1024, "{} kB before, {after} kB after", before.0);
        eventually(|| descriptors() <= before.1);
    });
}

#[test]
fn a_slow_reader_slows_the_writer_down() {
    isolated(|| {
        let world = World::new();
        let server = world.serve(&format!(
            "l = listen('{PEER4}', 80)
c, _ = l.accept()
goes = socket.create_server(('{PEER4}', 81)).accept()
print(hashlib.sha256(read_all(c)).hexdigest())
c.sendall(b'.')"
        ));
        world.listens(80);
        let before = resident_kb();
        let said = world.program(&format!(
            "c = socket.create_connection(('{PEER4}', 80))
c.setblocking(False)
sent = 0
part = bytes(range(256)) * 256
quiet = 0
while quiet < 5 and sent < 500_000_000:
    try:
        sent += c.send(part)
        quiet = 0
    except BlockingIOError:
        quiet += 1
        time.sleep(0.1)
c.setblocking(True)
assert sent < 100_000_000, 'nobody reads it, and yet it is taken'
socket.create_connection(('{PEER4}', 81))
c.shutdown(socket.SHUT_WR)
assert c.recv(1) == b'.'"
        ));
        assert_eq!(said, "");
        let after = resident_kb();
        assert!(after < before + 1024, "{before} kB before, {after} kB after");
        server.finish();
    });
}

#[test]
fn more_than_the_limit_are_refused_and_the_old_live_on() {
    isolated(|| {
        let limits = Limits { connections: 5, ..Limits::default() };
        let world = World::with_limits(limits);
        let _echo = world.serve(&format!("{ECHO}\necho('{PEER4}', 80)"));
        world.listens(80);
        world.program(&format!(
            "cs = [socket.create_connection(('{PEER4}', 80)) for _ in range(5)]
assert reason('{PEER4}', 80) == 'ECONNREFUSED'
for c in cs:
    c.sendall(b'x')
    assert c.recv(1) == b'x'
cs.pop().close()
while reason('{PEER4}', 80) != 'OK':
    time.sleep(0.01)"
        ));
    });
}

#[test]
fn without_descriptors_the_new_are_refused_and_nothing_spins() {
    isolated(|| {
        let world = World::new();
        let _echo = world.serve(&format!("{ECHO}\necho('{PEER4}', 80)"));
        world.listens(80);
        let go = world.start(&format!(
            "cs = [socket.create_connection(('{PEER4}', 80)) for _ in range(4)]
l = socket.create_server(('127.0.0.1', 1))
l.accept()
held = []
def another():
    try:
        held.append(socket.create_connection(('{PEER4}', 80), 1))
        held[-1].sendall(b'x')
        return held[-1].recv(1)
    except OSError as e:
        return errno.errorcode[e.errno]
said = [another() for _ in range(12)]
assert said[-1] in ('ECONNREFUSED', 'ECONNRESET'), said
for c in cs:
    c.sendall(b'x')
    assert c.recv(1) == b'x'
l.accept()
assert reason('{PEER4}', 80) == 'OK'"
        ));
        let connect = || std::net::TcpStream::connect(("127.0.0.1", 1)).is_ok();
        let signal = || eventually(|| world.t.inside(connect));
        signal();
        let before = getrlimit(Resource::Nofile);
        // What is open stays open; three more, so that one connection is made and the next only asked for.
        let began = cpu_ticks();
        raise_to(descriptors() + 3, before.maximum);
        std::thread::sleep(std::time::Duration::from_secs(2));
        setrlimit(Resource::Nofile, before).unwrap();
        let spent = cpu_ticks() - began;
        assert!(spent < 100, "{spent} of 200 ticks");
        signal();
        go.finish();
    });
}

/// The host's may be one that does: a new namespace has what the host has.
#[test]
fn nothing_holds_back_what_is_sent_to_the_program() {
    isolated(|| {
        let world = World::new();
        let _server = world.serve(&format!("l = listen('{PEER4}', 80); c, _ = l.accept(); read_all(c)"));
        world.listens(80);
        let _program = world.start(&format!("c = socket.create_connection(('{PEER4}', 80)); c.recv(1)"));
        let halves = || world.r.sh("ss -Htino state established");
        eventually(|| halves().contains("cwnd:"));
        assert!(halves().contains(" reno "), "{}", halves());
    });
}

fn raise_descriptors(wanted: u64) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    raise_to(wanted, maximum);
}

fn raise_to(wanted: u64, maximum: Option<u64>) {
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).unwrap();
}

/// How many descriptors this process has, the proxy's among them.
fn descriptors() -> u64 {
    fs::read_dir("/proc/self/fd").unwrap().count() as u64
}

/// What this process has in memory.
fn resident_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// What this process has had of processors, in hundredths of a second.
fn cpu_ticks() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
