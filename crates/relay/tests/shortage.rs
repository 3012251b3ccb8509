//! A relay without descriptors. A test binary of its own, for the limit is the process's.
#![forbid(unsafe_code)]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use nsntrace_relay::Relay;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::common::{PATIENCE, listener, servers};

mod common;

/// Whether the relay wants attention now, or within `seconds`.
fn is_ready(relay: &Relay, seconds: i64) -> bool {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let mut fds = [PollFd::new(relay, PollFlags::IN)];
    poll(&mut fds, Some(&time)).expect("poll works") == 1
}

#[test]
fn without_descriptors_a_listener_rests_and_wakes_again() {
    let (udp, tcp) = servers();
    let listener = listener(udp.local_addr().unwrap());
    let address = listener.local();
    let mut relay = Relay::new(vec![listener]).unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();

    let before = getrlimit(Resource::Nofile);
    // What is open stays open; there is no number left for anything new. With none at all poll(2) would refuse to work.
    setrlimit(Resource::Nofile, Rlimit { current: Some(1), ..before }).unwrap();
    assert!(is_ready(&relay, 0), "a client waits");
    relay.service().unwrap();
    assert!(!is_ready(&relay, 0), "it would be asked in vain, over and over");

    setrlimit(Resource::Nofile, before).unwrap();
    while !tcp_is_pending(&tcp) {
        assert!(is_ready(&relay, 20), "the listener does not wake");
        relay.service().unwrap();
    }
    let (mut server, _) = tcp.accept().unwrap();
    client.write_all(b"ping").unwrap();
    assert!(is_ready(&relay, 20));
    relay.service().unwrap();
    server.read_exact(&mut [0; 4]).unwrap();
}

fn tcp_is_pending(tcp: &std::net::TcpListener) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(tcp, PollFlags::IN)], Some(&now)).expect("poll works") == 1
}
