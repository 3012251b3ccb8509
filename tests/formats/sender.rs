//! What is sent, so that it can be looked for.

use std::path::Path;

use nsntrace_testkit::{Finished, Lab};

/// Sends numbered datagrams in turn over IPv4, IPv6 and loopback, so many milliseconds apart.
const SCRIPT: &str = "
import socket, sys, time
r = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); r.bind(('127.0.0.1', 9))
ways = [(socket.AF_INET, '198.51.100.2'), (socket.AF_INET6, '2001:db8:1::2'), (socket.AF_INET, '127.0.0.1')]
socks = []
for family, host in ways: socks.append(socket.socket(family, socket.SOCK_DGRAM)); socks[-1].connect((host, 9))
for n in range(int(sys.argv[1])):
    socks[n % 3].send(b'number-%06d' % n + bytes(400)); time.sleep(float(sys.argv[2]) / 1000)
";
/// Every third goes over loopback.
const LOOPBACK: u64 = 2;

/// A program that sends so many, so many milliseconds apart.
pub(crate) fn send<'a>(count: &'a str, ms: &'a str) -> [&'a str; 7] {
    ["/usr/bin/python3", "-I", "-S", "-c", SCRIPT, count, ms]
}

/// Whether datagram `number` goes over loopback.
pub(crate) fn is_on_loopback(number: u64) -> bool {
    number % 3 == LOOPBACK
}

/// The number in a packet, if it is one of the sender's.
pub(crate) fn number_in(bytes: &[u8]) -> Option<u64> {
    let at = bytes.windows(MARK.len()).position(|window| window == MARK)?;
    let digits = bytes.get(at + MARK.len()..)?.get(..6)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Runs `nsntrace arguments...` to a good end, and gives the number of packets that it says it has recorded.
#[track_caller]
pub(crate) fn trace(lab: &Lab, arguments: &[&str]) -> (u64, Finished) {
    let finished = lab.start(arguments).wait().succeeded();
    let count = finished.stderr.split("\nFinished capturing ").nth(1).and_then(|rest| rest.split(' ').next());
    let count = count.and_then(|count| count.parse().ok());
    (count.unwrap_or_else(|| panic!("no count in {}", finished.stderr)), finished)
}

/// Runs a bash script on the host in the test's directory, `$NT` being nsntrace.
#[track_caller]
pub(crate) fn bash(lab: &Lab, script: &str, arguments: &[&str]) -> Finished {
    let mut command = std::process::Command::new("bash");
    command.args(["-euc", script, "bash"]).args(arguments).current_dir(lab.dir.path());
    command.env("NT", nsntrace_testkit::nsntrace()).stdin(std::process::Stdio::null());
    lab.host.spawn(command).wait()
}

/// Files of a series, in the order of their names.
pub(crate) fn series(folder: &Path, prefix: &str) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("our directory");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)));
    paths.sort();
    paths
}

const MARK: &[u8] = b"number-";
