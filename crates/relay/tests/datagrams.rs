//! UDP through the relay.
#![forbid(unsafe_code)]

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use nsntrace_relay::Limits;

use crate::common::{ANY, PATIENCE, Running, nobody, query, receive, servers, servfail};

mod common;

/// Receives one query, answers it with `answer`, and tells where it came from.
#[track_caller]
fn answer_one(server: &UdpSocket, answer: &[u8]) -> SocketAddr {
    let (_, from) = server.recv_from(&mut [0; 512]).expect("a query comes");
    server.send_to(answer, from).expect("it can be answered");
    from
}

/// Asks once, and tells from which port the server was asked.
#[track_caller]
fn ask(client: &UdpSocket, server: &UdpSocket) -> SocketAddr {
    client.send(&query(1)).expect("the relay listens");
    let from = answer_one(server, b"\0\x01answer");
    assert_eq!(receive(client), b"\0\x01answer");
    from
}

#[test]
fn a_query_is_answered_from_the_address_that_was_asked() {
    let (server, _tcp) = servers();
    let relay = Running::start(server.local_addr().unwrap(), Limits::default());
    // This client is not connected, so it would hear anybody.
    let client = UdpSocket::bind(ANY).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send_to(&query(7), relay.address).unwrap();
    let (len, from) = server.recv_from(&mut [0; 512]).unwrap();
    assert_eq!(len, query(7).len());
    assert_ne!(from, client.local_addr().unwrap(), "the server sees the relay");
    server.send_to(b"\0\x07answer", from).unwrap();
    assert_eq!(client.recv_from(&mut [0; 512]).unwrap(), (8, relay.address));
}

#[test]
fn datagrams_pass_unchanged_whatever_their_size() {
    let (server, _tcp) = servers();
    let relay = Running::start(server.local_addr().unwrap(), Limits::default());
    let client = relay.client();
    for len in [0, 1, 11, 12, 513, 4096, 65507] {
        let bytes: Vec<u8> = (0..251).cycle().take(len).collect();
        client.send(&bytes).unwrap();
        let mut buffer = vec![0; 65535];
        let (received, from) = server.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..received], bytes);
        server.send_to(&bytes, from).unwrap();
        assert_eq!(receive(&client), bytes);
    }
}

#[test]
fn a_thousand_queries_of_fifty_clients() {
    let (server, _tcp) = servers();
    let relay = Running::start(server.local_addr().unwrap(), Limits::default());
    let server = thread::spawn(move || {
        for _ in 0..1000 {
            let mut buffer = [0; 512];
            let (len, from) = server.recv_from(&mut buffer).unwrap();
            buffer[2] |= 0x80;
            server.send_to(&buffer[..len], from).unwrap();
        }
    });
    thread::scope(|scope| {
        for client in 0..50_u16 {
            let socket = relay.client();
            scope.spawn(move || {
                for turn in 0..20 {
                    let mut expected = query(client * 20 + turn);
                    socket.send(&expected).unwrap();
                    expected[2] |= 0x80;
                    assert_eq!(receive(&socket), expected);
                }
            });
        }
    });
    server.join().unwrap();
}

#[test]
fn answers_find_their_way_in_any_order() {
    let (server, _tcp) = servers();
    let relay = Running::start(server.local_addr().unwrap(), Limits::default());
    let clients: Vec<_> = (0..10).map(|_| relay.client()).collect();
    let mut asked = Vec::new();
    for (client, id) in clients.iter().zip(0..) {
        client.send(&query(id)).unwrap();
        let mut buffer = [0; 512];
        let (len, from) = server.recv_from(&mut buffer).unwrap();
        asked.push((buffer[..len].to_vec(), from));
    }
    for (bytes, from) in asked.iter().rev() {
        server.send_to(bytes, from).unwrap();
    }
    for (client, id) in clients.iter().zip(0..) {
        assert_eq!(receive(client), query(id));
    }
}

#[test]
fn a_server_that_is_not_there_is_told_at_once() {
    let relay = Running::start(nobody(), Limits::default());
    let client = relay.client();
    let start = Instant::now();
    // Two queries from one port, as glibc sends for A and AAAA.
    client.send(&query(1)).unwrap();
    client.send(&query(2)).unwrap();
    let mut answers = [receive(&client), receive(&client)];
    answers.sort();
    assert_eq!(answers, [servfail(1), servfail(2)]);
    client.send(&query(3)).unwrap();
    assert_eq!(receive(&client), servfail(3));
    assert!(start.elapsed() < Duration::from_secs(5), "a resolver would have given up");
}

#[test]
fn a_server_that_cannot_even_be_asked_is_told_at_once() {
    // Broadcast without SO_BROADCAST: connect(2) fails with EACCES, and no packet is sent.
    let relay = Running::start("255.255.255.255:53".parse().unwrap(), Limits::default());
    let client = relay.client();
    client.send(&query(9)).unwrap();
    assert_eq!(receive(&client), servfail(9));
    // What is no query gets no answer, and does no harm.
    client.send(b"\0").unwrap();
    client.send(&servfail(1)).unwrap();
    client.send(&query(10)).unwrap();
    assert_eq!(receive(&client), servfail(10));
}

#[test]
fn a_server_that_comes_back_is_asked_again() {
    let (server, tcp) = servers();
    let address = server.local_addr().unwrap();
    let relay = Running::start(address, Limits::default());
    let client = relay.client();
    ask(&client, &server);
    drop((server, tcp));
    client.send(&query(2)).unwrap();
    assert_eq!(receive(&client), servfail(2));
    let server = UdpSocket::bind(address).unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    ask(&client, &server);
}

#[test]
fn an_answered_query_is_not_refused_later() {
    let (server, tcp) = servers();
    let relay = Running::start(server.local_addr().unwrap(), Limits::default());
    let client = relay.client();
    ask(&client, &server); // Its id is 1.
    drop((server, tcp));
    client.send(&query(2)).unwrap();
    assert_eq!(receive(&client), servfail(2));
    client.send(&query(3)).unwrap();
    assert_eq!(receive(&client), servfail(3), "and not that of 1");
}

#[test]
fn the_least_recently_used_client_is_forgotten_first() {
    let (server, _tcp) = servers();
    let limits = Limits { udp_clients: 2, ..Limits::default() };
    let relay = Running::start(server.local_addr().unwrap(), limits);
    let [a, b, c] = [relay.client(), relay.client(), relay.client()];
    let [port_of_a, port_of_b] = [ask(&a, &server), ask(&b, &server)];
    assert_eq!(ask(&a, &server), port_of_a);
    ask(&c, &server); // In place of b, which has been silent for longer than a.
    assert_eq!(ask(&a, &server), port_of_a);
    assert_ne!(ask(&b, &server), port_of_b);
}

#[test]
fn a_silent_client_is_forgotten() {
    let (server, _tcp) = servers();
    let limits = Limits { udp_idle: Duration::from_millis(20), ..Limits::default() };
    let relay = Running::start(server.local_addr().unwrap(), limits);
    let client = relay.client();
    let port = ask(&client, &server);
    // The relay's port is nobody else's for as long as its socket is open.
    let deadline = Instant::now() + PATIENCE;
    while UdpSocket::bind(port).is_err() {
        assert!(Instant::now() < deadline, "the socket stays open");
        thread::yield_now();
    }
}

#[test]
fn strangers_cannot_answer() {
    let (server, _tcp) = servers();
    let relay = Running::start(server.local_addr().unwrap(), Limits::default());
    let client = relay.client();
    client.send(&query(1)).unwrap();
    let (_, from) = server.recv_from(&mut [0; 512]).unwrap();
    let stranger = UdpSocket::bind(ANY).unwrap();
    stranger.connect(from).unwrap();
    stranger.send(b"\0\x01forged").unwrap();
    // The kernel found no socket for it, and said so.
    stranger.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(stranger.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    server.send_to(b"\0\x01true", from).unwrap();
    assert_eq!(receive(&client), b"\0\x01true");
}
