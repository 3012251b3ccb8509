//! UDP and ping through the proxy, between programs that know nothing of it.
#![forbid(unsafe_code)]

mod common;

use common::{PEER4, PEER6, World};
use nsntrace_proxy::Limits;
use nsntrace_testkit::{isolated, sh};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn datagrams_come_through_both_ways_and_keep_their_bounds() {
    isolated(|| {
        let world = World::new();
        for peer in [PEER4, PEER6] {
            let family = if peer == PEER4 { "AF_INET" } else { "AF_INET6" };
            let _echo = world.serve(&format!(
                "s = socket.socket(socket.{family}, socket.SOCK_DGRAM)
s.settimeout(None)
s.bind(('{peer}', 53))
while True:
    data, who = s.recvfrom(65535)
    s.sendto(data[::-1], who)"
            ));
            nsntrace_testkit::eventually(|| !world.internet.sh("ss -Hlun sport = 53").is_empty());
            let said = world.program(&format!(
                "s = socket.socket(socket.{family}, socket.SOCK_DGRAM)
s.settimeout(10)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
for n in (0, 1, 100, 1472, 1473, 20000, 65507):
    data = os.urandom(n)
    s.sendto(data, ('{peer}', 53))
    answer, who = s.recvfrom(65535)
    assert answer == data[::-1] and who[:2] == ('{peer}', 53), (n, len(answer), who)
print('well')"
            ));
            assert_eq!(said, "well");
        }
    });
}

/// As who asks for many names, or looks who is there. What a busy machine's kernel drops on the way is asked for once more, as such programs do; more than a few are
/// our loss.
#[test]
fn hundreds_of_flows_begin_at_once_and_all_are_served() {
    isolated(|| {
        // With 1024 descriptors, as many have by default, a fourth of them would push the others out.
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
        let world = World::with_limits(Limits { flows: 300, ..Limits::default() });
        let _echo = world.serve(&format!(
            "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(None)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
s.bind(('{PEER4}', 53))
while True:
    s.sendto(*s.recvfrom(100))"
        ));
        nsntrace_testkit::eventually(|| !world.internet.sh("ss -Hlun sport = 53").is_empty());
        let said = world.program(&format!(
            "# The host asks for the peer's MAC once, and what waits for the answer has no room of our making.
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(30)
s.connect(('{PEER4}', 53))
s.send(b'x')
s.recv(100)
flows = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(250)]
for i, s in enumerate(flows):
    s.settimeout(10)
    s.connect(('{PEER4}', 53))
for i, s in enumerate(flows):
    s.send(b'%d' % i)
again = 0
for i, s in enumerate(flows):
    try:
        answer = s.recv(100)
    except TimeoutError:
        again += 1
        assert again <= 5, 'more than a few'
        s.send(b'%d' % i)
        answer = s.recv(100)
    assert answer == b'%d' % i
print('well')"
        ));
        assert_eq!(said, "well");
    });
}

#[test]
fn a_port_where_nobody_listens_is_refused() {
    isolated(|| {
        let world = World::new();
        for peer in [PEER4, PEER6] {
            let family = if peer == PEER4 { "AF_INET" } else { "AF_INET6" };
            let said = world.program(&format!(
                "s = socket.socket(socket.{family}, socket.SOCK_DGRAM)
s.connect(('{peer}', 54))
s.send(b'x')
try:
    s.recv(1)
except ConnectionRefusedError:
    print('refused')"
            ));
            assert_eq!(said, "refused");
        }
    });
}

#[test]
fn pings_are_answered_by_those_who_are_there_alone() {
    isolated(|| {
        let world = World::new();
        sh("echo '0 2147483647' >/proc/sys/net/ipv4/ping_group_range");
        world.t.sh(&format!("ping -4 -c 2 -i 0.2 -W 5 {PEER4} && ping -6 -c 2 -i 0.2 -W 5 {PEER6}"));
        world.t.sh("! ping -c 1 -W 1 203.0.113.77");
    });
}
