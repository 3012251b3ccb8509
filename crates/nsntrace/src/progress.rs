//! `--progress`: a line on the terminal that says how much has been recorded, for as long as the terminal is nobody else's.
//!
//! # Theory of operation
//! The terminal is the program's, and what it prints must stay as it is. Where its words end is not known to us, so none of ours can go beside
//! them. But that somebody prints, or takes what was typed, is known: inotify tells it of a terminal as of any file. So the line has a row of its own, under
//! our own first words, with the cursor in the next one, and is drawn anew there while nobody else has said anything. From then on it is not
//! touched any more: what the program prints begins in a row of its own.
//!
//! We draw by /dev/tty, which is another inode, so that inotify tells of others only.
//!
//! # Kernel interface
//! inotify(7) `IN_MODIFY`, `IN_ACCESS`; termios(3); tcgetpgrp(3). Sequences of ECMA-48 and of the VT100: DECSC, DECRC, CUU, EL, ED.

mod tally;

use std::env;
use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nsntrace_report::amount;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{Dev, Mode, OFlags, fstat, makedev, open};
use rustix::io::Errno;
use rustix::process::getpgrp;
use rustix::termios::{LocalModes, tcgetattr, tcgetpgrp, tcgetwinsize};

use crate::failure::Failure;
use crate::flags::Options;

pub(crate) use tally::{Counts, Tally};

/// The line.
pub(crate) struct Progress {
    tally: Arc<Tally>,
    terminal: OwnedFd,
    /// Readable when somebody else has used it.
    others: OwnedFd,
    /// What stands in the row above the cursor.
    shown: Option<String>,
}

/// Whether there is to be one: asked for, where words are wanted, on a terminal that has a cursor.
pub(crate) fn is_wanted(options: &Options) -> bool {
    let has_cursor = env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
    options.progress && !options.quiet && has_cursor && io::stderr().is_terminal()
}

impl Progress {
    /// Gets ready to draw below what we have said last. `None` where the terminal is not the one that we were started from.
    ///
    /// # Errors
    /// Nobody can tell us what others do there.
    pub(crate) fn begin(tally: Arc<Tally>) -> Result<Option<Self>, Failure> {
        // One that is stopped must not stop us.
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let Ok(terminal) = open("/dev/tty", flags, Mode::empty()) else { return Ok(None) };
        // Our own foreground is told by the terminal that we have, and by no other.
        if tcgetpgrp(io::stderr()).is_err() {
            return Ok(None);
        }
        let Some(others) = watch().map_err(|errno| Failure::of("cannot watch the terminal", &errno))? else {
            return Ok(None);
        };
        Ok(Some(Self { tally, terminal, others, shown: None }))
    }

    /// Draws what is new. Gives itself back, unless somebody else has begun to use the terminal.
    pub(crate) fn draw(self) -> Option<Self> {
        if !self.is_ours() {
            return None;
        }
        let width = tcgetwinsize(&self.terminal).map_or(0, |size| size.ws_col);
        let line = line(&self.tally.get(), width.into());
        if self.shown.as_ref() == Some(&line) {
            return Some(self);
        }
        let drawn = match self.shown {
            None => format!("{line}\r\n"),
            Some(_) => format!("{SAVE_CURSOR}{UP}\r{line}{ERASE_LINE}{RESTORE_CURSOR}"),
        };
        match self.write(&drawn) {
            Ok(true) => Some(Self { shown: Some(line), ..self }),
            // It is stopped.
            Err(Errno::AGAIN) => Some(self),
            _ => None,
        }
    }

    /// Takes the line away, and what was typed below it and stays in the terminal, for something that we say. Gives itself back, unless
    /// somebody else has begun to use the terminal.
    pub(crate) fn erase(mut self) -> Option<Self> {
        if !self.is_ours() {
            return None;
        }
        if self.shown.take().is_some() && self.write(&format!("{UP}\r{ERASE_BELOW}")) != Ok(true) {
            return None;
        }
        Some(self)
    }

    /// Goes on below what we have said since.
    pub(crate) fn go_on(self) -> Option<Self> {
        let others = watch().ok()??;
        Some(Self { others, ..self })
    }

    /// Nobody else has printed, nobody has read what was typed, nothing that was typed waits to be read; nobody has turned echo off, as to ask for a password, or
    /// taken lines apart, as to fill the screen; and we are in the foreground.
    fn is_ours(&self) -> bool {
        let (terminal, others) = (&self.terminal, &self.others);
        let mut fds = [PollFd::new(others, PollFlags::IN), PollFd::new(terminal, PollFlags::IN)];
        let plain = LocalModes::ICANON | LocalModes::ECHO;
        poll(&mut fds, Some(&Timespec::default())) == Ok(0)
            && tcgetattr(terminal).is_ok_and(|modes| modes.local_modes.contains(plain))
            && tcgetpgrp(terminal) == Ok(getpgrp())
    }

    /// Whether it could be written whole.
    fn write(&self, text: &str) -> Result<bool, Errno> {
        rustix::io::write(&self.terminal, text.as_bytes()).map(|len| len == text.len())
    }
}

/// What is readable when somebody prints to the terminal that we were given, or reads from it. `None` if we cannot tell it from ourselves.
fn watch() -> rustix::io::Result<Option<OwnedFd>> {
    let others = inotify::init(CreateFlags::CLOEXEC)?;
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let is_terminal = |fd: &BorrowedFd<'_>| fd.is_terminal();
    for (fd, path) in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()].iter().zip(STREAMS) {
        if !is_terminal(fd) {
            continue;
        }
        if fstat(fd)?.st_rdev == dev_tty() {
            return Ok(None);
        }
        inotify::add_watch(&others, path, WatchFlags::MODIFY | WatchFlags::ACCESS)?;
    }
    Ok(Some(others))
}

fn line(counts: &Counts, width: usize) -> String {
    let Counts { packets, bytes, connections, dropped } = counts;
    let bytes = amount(*bytes);
    let mut line =
        format!("nsntrace: {packets} packets, {bytes}, {connections} connections, {dropped} dropped");
    // In the last column, terminals differ in where the cursor is.
    line.truncate(if width == 0 { USUAL_WIDTH } else { width } - 1);
    line
}

/// Documentation/admin-guide/devices.txt.
fn dev_tty() -> Dev {
    makedev(5, 0)
}

/// How long the program has to say something first.
pub(crate) const FIRST: Duration = Duration::from_secs(1);
/// How often the line is drawn.
pub(crate) const PACE: Duration = Duration::from_millis(250);
/// Of a terminal that does not know its own.
const USUAL_WIDTH: usize = 80;
const STREAMS: [&str; 3] = ["/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"];
const SAVE_CURSOR: &str = "\x1b7";
const RESTORE_CURSOR: &str = "\x1b8";
const UP: &str = "\x1b[A";
const ERASE_LINE: &str = "\x1b[K";
const ERASE_BELOW: &str = "\x1b[J";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fits_in_any_terminal() {
        let counts = Counts { packets: 1234, bytes: 5_678_900, connections: 7, dropped: 0 };
        let whole = "nsntrace: 1234 packets, 5.7 MB, 7 connections, 0 dropped";
        assert_eq!(line(&counts, 80), whole);
        assert_eq!(line(&counts, 0), whole);
        assert_eq!(line(&counts, 20), whole[..19]);
        assert_eq!(line(&counts, 1), "");
    }

    #[test]
    fn nobody_gets_a_line_who_has_not_asked_or_wants_quiet() {
        let options = |progress, quiet| Options { progress, quiet, ..Options::default() };
        assert!(!is_wanted(&options(false, false)) && !is_wanted(&options(true, true)));
    }
}
