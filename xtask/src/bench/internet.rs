//! Servers in the internet of the `lab`.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use super::lab;
use crate::process::Result;

/// A server that runs until it is dropped.
pub(super) struct Server {
    child: Child,
    /// Open for as long as the server may say something.
    output: BufReader<ChildStdout>,
}

impl Server {
    /// Starts a command in the internet, and waits for the line in which it says that it listens.
    ///
    /// # Errors
    /// It cannot be started, or ends without that line.
    pub(super) fn start(words: &[&str]) -> Result<Self> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", "internet"]).args(words);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().expect("it was just piped");
        // Dropped on the way out, it ends the child.
        let mut server = Self { child, output: BufReader::new(output) };
        let mut line = String::new();
        while !line.contains("listening") {
            line.clear();
            if server.output.read_line(&mut line)? == 0 {
                return Err(format!("{} does not listen", words.join(" ")).into());
            }
        }
        Ok(server)
    }

    /// Starts `bench traced WORDS` of this program there.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub(super) fn start_own(words: &[&str]) -> Result<Self> {
        let own = lab::own_path()?;
        Self::start(&[&[own.as_str(), "bench", "traced"], words].concat())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}
