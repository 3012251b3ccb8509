//! A process that a test started: its output kept in memory, its end awaited with a deadline.
//!
//! # Kernel interface
//! `memfd_create` (a file takes whatever comes; a pipe would fill up, or stay open in a survivor's hands), `pidfd_open` and `poll`
//! (waiting with a deadline), `kill`.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// A running process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdout: File,
    stderr: File,
    line: String,
}

/// A process that has ended, and all that it wrote.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output, whole.
    pub stdout: Vec<u8>,
    /// Its standard error, whole.
    pub stderr: String,
    line: String,
}

/// The two files that a command is about to write to.
#[derive(Debug)]
pub(crate) struct Outputs {
    stdout: File,
    stderr: File,
}

impl Outputs {
    /// Points `command`'s standard output and error to two new files in memory.
    pub(crate) fn redirect(command: &mut Command) -> Self {
        let file = || File::from(memfd_create("output", MemfdFlags::CLOEXEC).expect("memory for a file"));
        let outputs = Self { stdout: file(), stderr: file() };
        let copy = |file: &File| Stdio::from(file.try_clone().expect("a descriptor is free"));
        command.stdout(copy(&outputs.stdout)).stderr(copy(&outputs.stderr));
        outputs
    }
}

impl Process {
    pub(crate) fn new(child: Child, outputs: Outputs, line: String) -> Self {
        Self { child, stdout: outputs.stdout, stderr: outputs.stderr, line }
    }

    /// Starts `command` in the namespaces of the caller.
    pub fn spawn(mut command: Command) -> Self {
        let outputs = Outputs::redirect(&mut command);
        let line = describe(&command);
        let child = command.spawn().unwrap_or_else(|e| panic!("cannot start {line}: {e}"));
        Self::new(child, outputs, line)
    }

    /// Its pid as this process sees it, whatever namespace it lives in.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The write end of its standard input; a command that was given no pipe has none.
    pub fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("the command was given a pipe, and nobody took it yet")
    }

    /// Writes all of `input` to its standard input and closes it.
    pub fn feed(&mut self, input: &[u8]) {
        self.stdin().write_all(input).expect("it reads its input");
    }

    /// Sends a signal to it alone. A process that has ended already gets nothing, and that is fine.
    pub fn signal(&self, number: i32) {
        send(self.pid(), number);
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        text(read_all(&self.stderr))
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> Vec<u8> {
        read_all(&self.stdout)
    }

    /// Waits until standard error has `words`.
    #[track_caller]
    pub fn await_stderr(&mut self, words: &str) {
        let found = crate::within(PATIENCE, || self.stderr().contains(words).then_some(()));
        assert!(found.is_some(), "{} never wrote {words:?}, but:\n{}", self.line, self.stderr());
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_some()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it still runs after minutes, with what it wrote until then.
    #[track_caller]
    pub fn wait(self) -> Finished {
        self.wait_for(PATIENCE)
    }

    /// Waits for its end, at most `limit`.
    #[track_caller]
    pub fn wait_for(mut self, limit: Duration) -> Finished {
        let ended = ends_within(self.pid(), limit) || self.has_ended();
        assert!(ended, "{} still runs after {limit:?}; stderr so far:\n{}", self.line, self.stderr());
        let status = self.child.wait().expect("it is our child");
        let line = std::mem::take(&mut self.line);
        Finished { status, stdout: self.stdout(), stderr: self.stderr(), line }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail for one that has been waited for, and then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    /// The end of a process that never was.
    pub(crate) fn nothing() -> Self {
        Self { status: ExitStatus::default(), stdout: Vec::new(), stderr: String::new(), line: String::new() }
    }

    /// Standard output as text.
    pub fn text(&self) -> String {
        text(self.stdout.clone())
    }

    /// The number that a shell has in `$?`: the status, or 128 + n after signal n.
    pub fn shell_status(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Insists on status 0.
    #[track_caller]
    #[expect(clippy::return_self_not_must_use, reason = "insisting is use enough")]
    pub fn succeeded(self) -> Self {
        self.ended_with(0)
    }

    /// Insists on `$?` being `status`.
    #[track_caller]
    #[expect(clippy::return_self_not_must_use, reason = "insisting is use enough")]
    pub fn ended_with(self, status: i32) -> Self {
        assert_eq!(
            self.shell_status(),
            status,
            "status of {}\nstdout: {}\nstderr: {}",
            self.line,
            String::from_utf8_lossy(&self.stdout[..self.stdout.len().min(2000)]),
            self.stderr
        );
        self
    }
}

/// A command as it would be typed, or the start of it.
pub(crate) fn describe(command: &Command) -> String {
    format!("{command:?}").chars().take(400).collect()
}

/// Sends signal `number` to the process `pid`, if it is still there.
pub(crate) fn send(pid: u32, number: i32) {
    let signal = Signal::from_named_raw(number).expect("a signal of signal(7)");
    let _ = kill_process(to_pid(pid), signal);
}

fn to_pid(pid: u32) -> Pid {
    i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid of the kernel")
}

/// Polls a pidfd; false when the time is up first.
fn ends_within(pid: u32, limit: Duration) -> bool {
    let Ok(pidfd) = pidfd_open(to_pid(pid), PidfdFlags::empty()) else { return true };
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).expect("a time-out of minutes");
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => return ready > 0,
            Err(errno) if errno == rustix::io::Errno::INTR => {}
            Err(errno) => panic!("poll of a pidfd: {errno}"),
        }
    }
}

/// Reads from the start without moving the offset, which the writer shares.
fn read_all(file: &File) -> Vec<u8> {
    let size = file.metadata().expect("a file in memory").len();
    let mut bytes = vec![0; usize::try_from(size).expect("it fits in memory, for it is there")];
    let mut filled = 0;
    while filled < bytes.len() {
        let count = file.read_at(&mut bytes[filled..], filled as u64).expect("a file in memory");
        assert_ne!(count, 0, "nobody truncates it");
        filled += count;
    }
    bytes
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|e| panic!("not text: {e}"))
}

/// Long enough for a reader of much on a machine that has much else to do, short enough to be told what hung.
const PATIENCE: Duration = Duration::from_mins(3);
