//! What the guest traces: sends packets as fast as it can, and is gone.
//!
//! `burst ADDRESS RUN` sends [`PACKETS`] datagrams that say which they are. The first is sent as soon as the program runs, and it ends
//! right after the last: who misses the start or the end of a trace misses one of them.
#![forbid(unsafe_code)]

use std::net::{Ipv4Addr, UdpSocket};

fn main() -> std::io::Result<()> {
    let mut words = std::env::args().skip(1);
    let (Some(address), Some(run)) = (words.next(), words.next()) else {
        return Err(std::io::Error::other("usage: burst ADDRESS RUN"));
    };
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    for packet in 0..PACKETS {
        // Nobody listens there. That is told by ICMP, of which a socket without a peer hears nothing.
        socket.send_to(format!("run {run} packet {packet}").as_bytes(), (address.as_str(), PORT))?;
    }
    Ok(())
}

/// As vm/verdict.rs expects them.
const PACKETS: u32 = 20;
const PORT: u16 = 40_000;
