//! One trace of many: a program that beats, and nsntrace around it.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use super::memory::Memory;
use crate::bench::numbered::{self, Census, MARK_LEN, Sent};
use crate::bench::{children, clock, lab};
use crate::process::Result;

/// A trace that runs, or a program that nobody traces.
pub(super) struct Trace {
    front: Child,
    said: BufReader<ChildStdout>,
    words: PathBuf,
    /// Before fork, on the clock of all processes.
    pub(super) began_ns: u64,
}

/// What a trace is to record.
#[derive(Clone, Debug)]
pub(super) struct Plan<'a> {
    /// `None` to run the program by itself.
    pub(super) nsntrace: Option<&'a Path>,
    pub(super) folder: &'a Path,
    /// Tells it from all others.
    pub(super) number: usize,
    /// Datagrams that the program sends.
    pub(super) beats: u64,
}

impl Plan<'_> {
    /// Starts it, and does not wait.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn start(&self) -> Result<Trace> {
        let own = lab::own_path()?;
        let words = self.folder.join(format!("{}.words", self.number));
        let mut command = match self.nsntrace {
            Some(nsntrace) => {
                let mut command = Command::new(nsntrace);
                command.arg("-o").arg(self.file()).arg(own);
                command
            }
            None => Command::new(own),
        };
        let (beats, padding) = (self.beats.to_string(), self.number.to_string());
        command.args(["bench", "traced", "beat", SINK, &beats, &padding]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(&words)?);
        let began_ns = clock::now_ns()?;
        let mut front = command.spawn()?;
        let said = BufReader::new(front.stdout.take().expect("it was just piped"));
        Ok(Trace { front, said, words, began_ns })
    }

    pub(super) fn file(&self) -> PathBuf {
        self.folder.join(format!("{}.pcap", self.number))
    }

    /// Looks for the datagrams in the file: each once, and none of another trace.
    ///
    /// # Errors
    /// One is missing, or there is another one.
    pub(super) fn check(&self) -> Result<Census> {
        let frame_len = HEADERS_LEN + MARK_LEN + self.number;
        let census =
            numbered::count(&self.file(), Sent { count: self.beats, frame_len, mark_at: HEADERS_LEN })?;
        if census.missing > 0 {
            return Err(
                format!("trace {}: {} of its packets are missing", self.number, census.missing).into()
            );
        }
        Ok(census)
    }
}

impl Trace {
    /// Waits until the program has sent its datagrams. Gives the time of its birth.
    ///
    /// # Errors
    /// It ends instead; its words are in the message.
    pub(super) fn wait_until_it_beats(&mut self) -> Result<u64> {
        let mut line = String::new();
        if self.said.read_line(&mut line)? == 0 {
            return Err(format!("a trace did not start: {}", self.words()?.trim()).into());
        }
        Ok(line.trim_end().parse()?)
    }

    /// The memory of front and of worker.
    ///
    /// # Errors
    /// One of them is gone.
    pub(super) fn memory(&self) -> Result<[Memory; 2]> {
        let front = self.front.id();
        let mut children = children::children(front)?.into_iter();
        let worker = children.find(|&pid| children::name(pid) == "nsntrace-worker");
        Ok([Memory::of(front)?, Memory::of(worker.ok_or("a trace has no worker")?)?])
    }

    /// Lets the program end.
    pub(super) fn release(&mut self) {
        drop(self.front.stdin.take());
    }

    /// Waits until front has ended. Gives what it said.
    ///
    /// # Errors
    /// It fails, or does not end and is killed.
    pub(super) fn wait(mut self) -> Result<String> {
        let status = children::wait_or_kill(&mut self.front)?;
        let words = self.words()?;
        if status.success() { Ok(words) } else { Err(format!("{status}\n{}", words.trim()).into()) }
    }

    fn words(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.words)?)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        self.release();
        // Ended long ago, where all went well.
        let _ended = children::wait_or_kill(&mut self.front);
        // Whoever needed them has read them.
        let _left = fs::remove_file(&self.words);
    }
}

/// Where datagrams go: a server takes them, so that nothing comes back.
pub(super) const SINK: &str = "198.51.100.1:9";
/// Ethernet, IPv4 without options, UDP.
const HEADERS_LEN: usize = 14 + 20 + 8;
