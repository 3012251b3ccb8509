//! The programs that other benchmarks trace, and those that answer them: this program once more, as `bench traced WORDS`.

mod http;

use std::fs;
use std::io::{self, Read as _};
use std::net::UdpSocket;

use super::clock;
use super::numbered::{MARK_LEN, mark};
use crate::process::Result;

/// `serve`, `request`, `connect`, `beat` and `sink`.
///
/// # Errors
/// A word is none of these, or the program fails.
pub(super) fn run(words: &[&str]) -> Result {
    // First of all: a beat says when it was born.
    let born_ns = clock::now_ns()?;
    match words {
        ["serve", address] => http::serve(address),
        ["request", address, count, threads, outfile] => {
            let rate = http::request(address.parse()?, count.parse()?, threads.parse()?)?;
            Ok(fs::write(outfile, rate.to_string())?)
        }
        ["connect", address, count, outfile] => {
            Ok(fs::write(outfile, http::connect(address.parse()?, count.parse()?)?.to_string())?)
        }
        ["beat", address, count, padding] => beat(born_ns, address, count.parse()?, padding.parse()?),
        ["sink", address] => sink(address),
        _ => Err("usage: bench traced serve|request|connect|beat|sink ...".into()),
    }
}

/// Sends numbered datagrams, says when it was born, and lives until its standard input ends.
fn beat(born_ns: u64, address: &str, count: u64, padding: usize) -> Result {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    for number in 0..count {
        let mut payload = mark(number).to_vec();
        payload.resize(MARK_LEN + padding, 0);
        socket.send_to(&payload, address)?;
    }
    println!("{born_ns}");
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Takes datagrams, so that nobody answers them with an ICMP error.
fn sink(address: &str) -> Result {
    let socket = UdpSocket::bind(address)?;
    println!("listening");
    loop {
        socket.recv(&mut [0; 2048])?;
    }
}
