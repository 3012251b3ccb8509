//! TCP through the relay.
#![forbid(unsafe_code)]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use nsntrace_relay::Limits;

use crate::common::{PATIENCE, Running, nobody, query, receive, servers};

mod common;

/// Connects, and returns both ends.
fn connected(relay: &Running, server: &TcpListener) -> (TcpStream, TcpStream) {
    let client = relay.connect();
    let (accepted, _) = server.accept().expect("the relay connects");
    accepted.set_read_timeout(Some(PATIENCE)).expect("PATIENCE is not zero");
    (client, accepted)
}

/// Exchanges a few bytes.
#[track_caller]
fn check_alive(client: &mut TcpStream, server: &mut TcpStream) {
    let mut buffer = [0; 4];
    client.write_all(b"ping").expect("the relay reads");
    server.read_exact(&mut buffer).expect("the relay writes");
    assert_eq!(&buffer, b"ping");
    server.write_all(b"pong").expect("the relay reads");
    client.read_exact(&mut buffer).expect("the relay writes");
    assert_eq!(&buffer, b"pong");
}

#[track_caller]
fn check_reset(stream: &mut TcpStream) {
    match stream.read(&mut [0; 16]) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("a reset was to come, not {other:?}"),
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..251).cycle().take(len).collect()
}

#[test]
fn a_truncated_answer_is_asked_for_again_over_tcp() {
    let (udp, tcp) = servers();
    let relay = Running::start(udp.local_addr().unwrap(), Limits::default());
    let client = relay.client();
    client.send(&query(5)).unwrap();
    let (_, from) = udp.recv_from(&mut [0; 512]).unwrap();
    udp.send_to(b"\0\x05\x83\x80", from).unwrap();
    assert_eq!(receive(&client), b"\0\x05\x83\x80", "QR, TC and RD");

    let (mut client, mut server) = connected(&relay, &tcp);
    let question = query(5);
    assert_eq!(question.len(), 19);
    client.write_all(&[&[0, 19][..], &question].concat()).unwrap();
    let mut asked = vec![0; question.len() + 2];
    server.read_exact(&mut asked).unwrap();
    assert_eq!(asked[2..], question);
    let answer = pattern(3000);
    server.write_all(&answer).unwrap();
    let mut received = vec![0; 3000];
    client.read_exact(&mut received).unwrap();
    assert_eq!(received, answer);
}

#[test]
fn a_server_that_is_not_there_resets() {
    let relay = Running::start(nobody(), Limits::default());
    check_reset(&mut relay.connect());
    // One that cannot even be asked: connect(2) to broadcast fails at once.
    let relay = Running::start("255.255.255.255:53".parse().unwrap(), Limits::default());
    check_reset(&mut relay.connect());
}

#[test]
fn half_closed_connections_go_on_the_other_way() {
    let (udp, tcp) = servers();
    let relay = Running::start(udp.local_addr().unwrap(), Limits::default());
    let (mut client, mut server) = connected(&relay, &tcp);
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut asked = Vec::new();
    server.read_to_end(&mut asked).unwrap();
    assert_eq!(asked, b"question");
    server.write_all(b"answer").unwrap();
    let mut answer = [0; 6];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"answer");
    drop(server);
    assert_eq!(client.read(&mut answer).unwrap(), 0, "the end, and no reset");
}

#[test]
fn the_server_may_close_first() {
    let (udp, tcp) = servers();
    let relay = Running::start(udp.local_addr().unwrap(), Limits::default());
    let (mut client, mut server) = connected(&relay, &tcp);
    server.write_all(b"unasked").unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, b"unasked");
    client.write_all(b"last words").unwrap();
    drop(client);
    let mut words = Vec::new();
    server.read_to_end(&mut words).unwrap();
    assert_eq!(words, b"last words");
}

#[test]
fn a_slow_reader_slows_the_writer_down_and_loses_nothing() {
    let (udp, tcp) = servers();
    let relay = Running::start(udp.local_addr().unwrap(), Limits::default());
    let (mut client, mut server) = connected(&relay, &tcp);
    let sent = pattern(32 << 20);
    server.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    // Nobody reads: what the relay and three sockets' buffers hold is far below 32 MiB.
    let mut accepted = 0;
    while let Ok(len) = server.write(&sent[accepted..]) {
        accepted += len;
    }
    assert!(accepted < sent.len(), "the relay took {accepted} bytes");
    server.set_write_timeout(Some(PATIENCE)).unwrap();
    let writer = thread::spawn({
        let rest = sent[accepted..].to_vec();
        move || {
            server.write_all(&rest).unwrap();
            server
        }
    });
    let mut received = vec![0; sent.len()];
    client.read_exact(&mut received).unwrap();
    assert!(received == sent, "bytes were lost or swapped");
    check_alive(&mut client, &mut writer.join().unwrap());
}

#[test]
fn both_directions_are_full_at_once() {
    let (udp, tcp) = servers();
    let relay = Running::start(udp.local_addr().unwrap(), Limits::default());
    let (client, server) = connected(&relay, &tcp);
    let bytes = pattern(8 << 20);
    thread::scope(|scope| {
        for mut writer in [&client, &server] {
            let bytes = &bytes;
            scope.spawn(move || {
                writer.write_all(bytes).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
        }
        for mut reader in [&client, &server] {
            let mut received = Vec::new();
            reader.read_to_end(&mut received).unwrap();
            assert!(received == bytes, "bytes were lost or swapped");
        }
    });
}

#[test]
fn a_client_that_vanishes_takes_its_server_with_it_and_no_other() {
    let (udp, tcp) = servers();
    let relay = Running::start(udp.local_addr().unwrap(), Limits::default());
    let (client, mut server) = connected(&relay, &tcp);
    let (mut other, mut others_server) = connected(&relay, &tcp);
    server.write_all(b"never read").unwrap();
    let mut peeked = [0; 10];
    while client.peek(&mut peeked).unwrap() < 10 {}
    drop(client); // With bytes unread, so the kernel resets.
    check_reset(&mut server);
    check_alive(&mut other, &mut others_server);
}

#[test]
fn a_server_that_resets_does_so_to_its_client() {
    let (udp, tcp) = servers();
    let relay = Running::start(udp.local_addr().unwrap(), Limits::default());
    let (mut client, server) = connected(&relay, &tcp);
    client.write_all(b"never read").unwrap();
    let mut peeked = [0; 10];
    while server.peek(&mut peeked).unwrap() < 10 {}
    drop(server);
    check_reset(&mut client);
}

#[test]
fn the_least_recently_used_connection_makes_room() {
    let (udp, tcp) = servers();
    let limits = Limits { tcp_connections: 2, ..Limits::default() };
    let relay = Running::start(udp.local_addr().unwrap(), limits);
    let mut a = connected(&relay, &tcp);
    let mut b = connected(&relay, &tcp);
    check_alive(&mut b.0, &mut b.1);
    check_alive(&mut a.0, &mut a.1);
    let mut c = connected(&relay, &tcp);
    check_reset(&mut b.0);
    check_reset(&mut b.1);
    check_alive(&mut a.0, &mut a.1);
    check_alive(&mut c.0, &mut c.1);
}

#[test]
fn a_silent_connection_is_reset() {
    let (udp, tcp) = servers();
    let limits = Limits { tcp_idle: Duration::from_millis(20), ..Limits::default() };
    let relay = Running::start(udp.local_addr().unwrap(), limits);
    let (mut client, mut server) = connected(&relay, &tcp);
    check_reset(&mut client);
    check_reset(&mut server);
}

#[test]
fn a_hundred_connections_at_once() {
    let (udp, tcp) = servers();
    let relay = Running::start(udp.local_addr().unwrap(), Limits::default());
    let mut pairs: Vec<_> = (0..100).map(|_| connected(&relay, &tcp)).collect();
    for (client, server) in &mut pairs {
        check_alive(client, server);
    }
}
