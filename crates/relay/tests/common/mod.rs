//! A relay in a thread of its own, between clients and servers on the loopback device.
#![expect(dead_code, reason = "each test binary uses a part")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{self, PipeWriter};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::thread::JoinHandle;
use std::time::Duration;

use nsntrace_relay::{Limits, Listener, Relay, RelayError, Unbound};

/// Long enough for a loaded machine. A test that waits for it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// A port that the kernel chooses.
pub(crate) const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A relay that runs until it is dropped.
pub(crate) struct Running {
    /// Where clients ask.
    pub(crate) address: SocketAddr,
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<Result<(), RelayError>>>,
}

impl Running {
    /// Relays to `server`.
    pub(crate) fn start(server: SocketAddr, limits: Limits) -> Self {
        let listener = listener(server);
        let address = listener.local();
        let mut relay = Relay::with_limits(vec![listener], limits).unwrap();
        let (stopped, stop) = io::pipe().unwrap();
        let thread = std::thread::spawn(move || relay.run(stopped.as_fd()));
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    /// A client that hears nobody but the relay.
    pub(crate) fn client(&self) -> UdpSocket {
        let socket = UdpSocket::bind(ANY).unwrap();
        socket.connect(self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    /// A connection to the relay.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        let result = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            result.unwrap().unwrap();
        }
    }
}

/// A server for datagrams and one for connections, on the same port.
pub(crate) fn servers() -> (UdpSocket, TcpListener) {
    // The port that the kernel gives to one may be taken by somebody else for the other.
    loop {
        let udp = UdpSocket::bind(ANY).unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            udp.set_read_timeout(Some(PATIENCE)).unwrap();
            return (udp, tcp);
        }
    }
}

/// A listener on a port for which both protocols are free.
pub(crate) fn listener(server: SocketAddr) -> Listener {
    loop {
        if let Ok(listener) = Unbound::between(ANY, server).unwrap().listen() {
            return listener;
        }
    }
}

/// An address that nobody answers at.
pub(crate) fn nobody() -> SocketAddr {
    servers().0.local_addr().unwrap()
}

/// A query for the name `x.` with this id.
pub(crate) fn query(id: u16) -> Vec<u8> {
    [&id.to_be_bytes(), &b"\x01\0\0\x01\0\0\0\0\0\0\x01x\0\0\x01\0\x01"[..]].concat()
}

/// What says SERVFAIL to [`query`].
pub(crate) fn servfail(id: u16) -> Vec<u8> {
    [&id.to_be_bytes(), &b"\x81\x82\0\x01\0\0\0\0\0\0\x01x\0\0\x01\0\x01"[..]].concat()
}

/// Receives one datagram.
#[track_caller]
pub(crate) fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65535];
    let len = socket.recv(&mut buffer).expect("a datagram comes");
    buffer.truncate(len);
    buffer
}
