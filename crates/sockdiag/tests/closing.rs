//! Connections are brought into each state in a network namespace of the test's own, and counted by ss(8) too.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream},
};

use nsntrace_sockdiag::{Closing, Orphans};
use nsntrace_testkit::{Netns, eventually, isolated, sh};

const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Both ends of a connection to `address`, the listener's end last.
fn connection(address: IpAddr) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

/// Nothing more arrives: what is sent from now on is not acknowledged.
fn cut_the_wire() {
    sh("nft -f - <<'END'
        table inet cut {
            chain input { type filter hook input priority 0; policy drop; }
        }
END");
}

fn mend_the_wire() {
    sh("nft delete table inet cut");
}

/// The count, once it is what it has to become.
#[track_caller]
fn wait_for(orphans: &mut Orphans, expected: Closing) {
    eventually(|| orphans.count().unwrap() == expected);
}

/// How many sockets without a process ss sees in some states.
fn ss(states: &str) -> usize {
    sh(&format!("ss -Htane {states} | grep -cv ' ino:[1-9]' || true")).parse().unwrap()
}

#[test]
fn nothing_closes_where_nothing_is_open() {
    isolated(|| {
        sh("ip link set lo up");
        let mut orphans = Orphans::open().unwrap();
        assert!(orphans.count().unwrap().is_empty());
        let _open = LOOPBACKS.map(connection);
        assert!(orphans.count().unwrap().is_empty());
    });
}

#[test]
fn a_closed_connection_waits_for_the_other_end() {
    isolated(|| {
        sh("ip link set lo up");
        let mut orphans = Orphans::open().unwrap();
        let far = LOOPBACKS.map(|address| connection(address).1);
        // The near ends are closed, and the far ends' kernel has acknowledged that.
        wait_for(&mut orphans, Closing { talking: 0, listening: 2 });
        assert_eq!(ss("state fin-wait-2"), 2);
        drop(far);
        wait_for(&mut orphans, Closing::default());
        assert_eq!(ss("state fin-wait-2"), 0);
    });
}

#[test]
fn unsent_data_keeps_a_connection_talking() {
    isolated(|| {
        sh("ip link set lo up");
        let mut orphans = Orphans::open().unwrap();
        let pairs = LOOPBACKS.map(connection);
        cut_the_wire();
        let far = pairs.map(|(mut near, far)| {
            near.write_all(b"last words").unwrap();
            far
        });
        wait_for(&mut orphans, Closing { talking: 2, listening: 0 });
        assert_eq!(ss("state fin-wait-1"), 2);
        // Now both ends have closed, and neither knows of the other.
        drop(far);
        wait_for(&mut orphans, Closing { talking: 4, listening: 0 });
        mend_the_wire();
        // What is left waits for nothing that we would hear: data came for a socket that nobody has, so it was reset.
        wait_for(&mut orphans, Closing::default());
    });
}

#[test]
fn the_last_to_close_waits_for_its_acknowledgement() {
    isolated(|| {
        sh("ip link set lo up");
        let mut orphans = Orphans::open().unwrap();
        let far = LOOPBACKS.map(|address| connection(address).1);
        wait_for(&mut orphans, Closing { talking: 0, listening: 2 });
        cut_the_wire();
        drop(far);
        wait_for(&mut orphans, Closing { talking: 2, listening: 2 });
        assert_eq!((ss("state last-ack"), ss("state fin-wait-2")), (2, 2));
        mend_the_wire();
        wait_for(&mut orphans, Closing::default());
    });
}

#[test]
fn a_socket_with_a_process_is_not_counted() {
    isolated(|| {
        sh("ip link set lo up");
        let mut orphans = Orphans::open().unwrap();
        let (near, _far) = connection(LOOPBACKS[0]);
        near.shutdown(std::net::Shutdown::Write).unwrap();
        eventually(|| sh("ss -Htan state fin-wait-2 | wc -l") == "1");
        assert!(orphans.count().unwrap().is_empty());
        drop(near);
        assert_eq!(orphans.count().unwrap(), Closing { talking: 0, listening: 1 });
    });
}

#[test]
fn what_was_begun_before_is_not_counted_until_something_is() {
    isolated(|| {
        sh("ip link set lo up");
        let mut orphans = Orphans::open().unwrap();
        let _far = connection(LOOPBACKS[0]).1;
        wait_for(&mut orphans, Closing { talking: 0, listening: 1 });
        orphans.begin();
        assert!(orphans.count().unwrap().is_empty());
        let _other = connection(LOOPBACKS[1]).1;
        wait_for(&mut orphans, Closing { talking: 0, listening: 2 });
    });
}

#[test]
fn the_namespace_is_that_of_the_opening() {
    isolated(|| {
        sh("ip link set lo up");
        let other = Netns::new();
        let mut orphans = other.inside(|| Orphans::open().unwrap());
        let _far = connection(LOOPBACKS[0]).1;
        wait_for(&mut Orphans::open().unwrap(), Closing { talking: 0, listening: 1 });
        assert!(orphans.count().unwrap().is_empty());
    });
}
