//! A relay with nothing to do wants no attention, whatever state its connections are in. Served by hand, to see it.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};

use nsntrace_relay::Relay;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::common::{ANY, PATIENCE, listener, nobody, query, receive, servers, servfail};

mod common;

struct ByHand {
    relay: Relay,
    address: SocketAddr,
}

impl ByHand {
    fn start(server: SocketAddr) -> Self {
        let listener = listener(server);
        let address = listener.local();
        Self { relay: Relay::new(vec![listener]).unwrap(), address }
    }

    fn is_ready(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.relay, PollFlags::IN)], Some(&now)).unwrap() == 1
    }

    /// Serves until there is nothing to do. On the loopback device everything sent has arrived by the time that send
    /// returns, so a few turns are enough for anything but a loop without an end.
    #[track_caller]
    fn settle(&mut self) {
        for _ in 0..10_000 {
            if !self.is_ready() {
                return;
            }
            self.relay.service().unwrap();
        }
        panic!("the relay wants attention for ever");
    }

    fn connect(&mut self, server: &TcpListener) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(self.address).unwrap();
        self.settle();
        let (accepted, _) = server.accept().unwrap();
        for stream in [&client, &accepted] {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        (client, accepted)
    }
}

#[test]
fn after_queries_that_were_answered_refused_and_lost() {
    let (server, _tcp) = servers();
    for address in [server.local_addr().unwrap(), nobody()] {
        let mut relay = ByHand::start(address);
        let client = UdpSocket::bind(ANY).unwrap();
        client.connect(relay.address).unwrap();
        client.send(&query(1)).unwrap();
        relay.settle();
        if address == server.local_addr().unwrap() {
            let (_, from) = server.recv_from(&mut [0; 512]).unwrap();
            server.send_to(b"\0\x01", from).unwrap();
            relay.settle();
            assert_eq!(receive(&client), b"\0\x01");
            drop(client); // Before an answer that comes too late.
            server.send_to(b"\0\x01", from).unwrap();
        } else {
            assert_eq!(receive(&client), servfail(1));
        }
        relay.settle();
    }
}

#[test]
fn while_half_of_a_connection_is_closed() {
    let (udp, tcp) = servers();
    let mut relay = ByHand::start(udp.local_addr().unwrap());
    let (mut client, mut server) = relay.connect(&tcp);
    client.shutdown(Shutdown::Write).unwrap();
    relay.settle();
    assert_eq!(server.read(&mut [0; 8]).unwrap(), 0);
    server.write_all(b"still").unwrap();
    relay.settle();
    client.read_exact(&mut [0; 5]).unwrap();
    drop(server);
    relay.settle();
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn while_a_reader_does_not_read_and_the_writer_is_gone() {
    let (udp, tcp) = servers();
    let mut relay = ByHand::start(udp.local_addr().unwrap());
    let (mut client, mut server) = relay.connect(&tcp);
    client.set_nonblocking(true).unwrap();
    let mut sent = 0;
    let error = loop {
        relay.settle();
        match client.write(&[7; 8192]) {
            Ok(len) => sent += len,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    drop(client);
    relay.settle();
    // All of it arrives, and the end behind it.
    let mut received = 0;
    server.set_nonblocking(true).unwrap();
    let mut buffer = vec![0; 65536];
    for _ in 0..1_000_000 {
        match server.read(&mut buffer) {
            Ok(0) => {
                assert_eq!(received, sent);
                return;
            }
            Ok(len) => received += len,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        relay.settle();
    }
    panic!("{received} of {sent} bytes arrived, and no end");
}

#[test]
fn after_a_reset_from_either_side() {
    let (udp, tcp) = servers();
    let mut relay = ByHand::start(udp.local_addr().unwrap());
    for is_client in [true, false] {
        let (mut client, mut server) = relay.connect(&tcp);
        let (gone, left) = if is_client { (client, &mut server) } else { (server, &mut client) };
        left.write_all(b"never read").unwrap();
        relay.settle();
        drop(gone);
        relay.settle();
        assert_eq!(left.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}
