//! The servers of the internet, and a client of ours that asks them what they saw.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use crate::machine::Machine;

/// Servers that end with this value, or with the machine.
#[derive(Debug)]
pub(crate) struct Servers {
    child: Child,
}

impl Servers {
    /// Starts the servers of `mode` on `addresses` of `machine` and waits until they listen.
    #[track_caller]
    pub(crate) fn start(machine: &Machine, mode: &str, has_ipv6: bool, addresses: &[&str]) -> Self {
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-I", "-S", "-c", SCRIPT, mode, if has_ipv6 { "1" } else { "0" }]).args(addresses);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = machine.start(command);
        let stdout = child.stdout.take().expect("a pipe was asked for");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("a pipe");
        assert_eq!(line, "ready\n", "the servers of {mode} on {addresses:?} did not start");
        Self { child }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // Fails only for one that is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks the HTTP server of `machine` for `path`, from inside that machine.
pub(crate) fn ask(machine: &Machine, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    machine.run(move || {
        let mut stream = TcpStream::connect("127.0.0.1:80").expect("the server listens");
        stream.write_all(request.as_bytes()).expect("the server reads");
        stream.shutdown(std::net::Shutdown::Write).expect("it is connected");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the server answers in text");
        answer.split("\r\n\r\n").nth(1).expect("a body").trim().to_owned()
    })
}

const SCRIPT: &str = include_str!("servers.py");
