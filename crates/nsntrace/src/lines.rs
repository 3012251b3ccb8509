//! Lines of packets on their way to the user: where they go, and the thread that brings them there from worker.
//!
//! # Theory of operation
//! Worker has nothing of the user's, so lines come from it by a pipe. A thread of front's takes them further, since whoever reads them may stop to: then
//! that thread waits, and neither signals nor the program's end do.

use std::cell::RefCell;
use std::env;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::failure::Failure;
use crate::text_file::TextFile;

/// Where lines come from and where they are to go. Front's alone: whoever else has it lets go of it.
#[derive(Debug)]
pub(crate) struct LinesFile {
    file: RefCell<Option<TextFile>>,
    /// The end of worker's pipe that is read. Who has it counts as a reader.
    pipe: RefCell<Option<OwnedFd>>,
    pub(crate) is_coloured: bool,
}

impl LinesFile {
    /// Opens `path`, or standard output for `-`.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let file = TextFile::open(path)?;
        let is_coloured = file.is_terminal() && wants_colour(|name| env::var_os(name));
        Ok(Self { file: RefCell::new(Some(file)), pipe: RefCell::new(None), is_coloured })
    }

    /// Makes the pipe and gives the end that lines are to be written to.
    pub(crate) fn make_pipe(&self) -> Result<OwnedFd, Failure> {
        let (from, to) = pipe()?;
        self.pipe.replace(Some(from));
        Ok(to)
    }

    /// Refuses lines in the midst of something else.
    pub(crate) fn check(&self, check: impl FnOnce(&TextFile) -> Result<(), Failure>) -> Result<(), Failure> {
        self.file.borrow().as_ref().map_or(Ok(()), check)
    }

    /// Closes all of it, in a process that is not to be waited for, or taken for somebody who reads.
    pub(crate) fn let_go(&self) {
        drop((self.file.take(), self.pipe.take()));
    }

    /// Removes the file if it was made for a trace that is not to be.
    pub(crate) fn discard(&self, path: &Path) {
        if let Some(file) = &*self.file.borrow() {
            file.discard(path);
        }
    }
}

/// <https://no-color.org>, and terminals that have none.
fn wants_colour(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> bool {
    let is_refused = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    !is_refused && variable("TERM").is_none_or(|term| term != "dumb")
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Failure> {
    pipe_with(PipeFlags::CLOEXEC).map_err(|errno| Failure::of("cannot make a pipe", &errno))
}

/// The running thread.
pub(crate) struct Carrier {
    /// At its end when all lines are where they belong, or nobody takes them.
    pub(crate) done: OwnedFd,
    thread: JoinHandle<io::Result<()>>,
}

impl Carrier {
    /// Starts to carry what comes out of the pipe.
    pub(crate) fn start(lines: &LinesFile) -> Result<Self, Failure> {
        let (Some(file), Some(from)) = (lines.file.take(), lines.pipe.take()) else {
            return Err(Failure::new("lines go nowhere"));
        };
        let file = file.emptied().map_err(|error| Failure::of("cannot write lines of packets", &error))?;
        let (done, finished) = pipe()?;
        let run = move || {
            let carried = carry(&mut File::from(from), &file).or_else(|error| unless_gone(error, &file));
            drop(finished);
            carried
        };
        let started = thread::Builder::new().name("nsntrace-lines".into()).spawn(run);
        let thread = started.map_err(|error| Failure::of("cannot start a thread", &error))?;
        Ok(Self { done, thread })
    }

    /// Why not all lines are where they belong, of one that is done.
    pub(crate) fn failure(self) -> Option<Failure> {
        let carried =
            self.thread.join().unwrap_or_else(|_panic| Err(io::Error::other("the thread has failed")));
        carried.err().map(|error| Failure::of("cannot write lines of packets", &error))
    }
}

/// A reader that has seen enough is no failure, and neither is a terminal that has been closed.
fn unless_gone(error: io::Error, file: &File) -> io::Result<()> {
    let is_device = || file.metadata().is_ok_and(|metadata| metadata.file_type().is_char_device());
    let is_gone = error.kind() == ErrorKind::BrokenPipe
        || error.raw_os_error() == Some(Errno::IO.raw_os_error()) && is_device();
    if is_gone { Ok(()) } else { Err(error) }
}

/// Copies whole lines, in pieces between which nothing of others' comes in a pipe.
fn carry(from: &mut File, to: &File) -> io::Result<()> {
    let mut buffer = [0; PIPE_BUF];
    let mut len = 0;
    loop {
        let count = from.read(&mut buffer[len..])?;
        len += count;
        let whole = buffer[..len].iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        // No line is as long as that; the last may have lost its end.
        let whole = if len == buffer.len() && whole == 0 || count == 0 { len } else { whole };
        write(to, &buffer[..whole])?;
        if count == 0 {
            return Ok(());
        }
        buffer.copy_within(whole..len, 0);
        len -= whole;
    }
}

/// Also where somebody else has made it one that does not wait.
fn write(mut to: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let _interrupted = poll(&mut [PollFd::new(to, PollFlags::OUT)], None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What a pipe takes whole, pipe(7).
const PIPE_BUF: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_who_does_not_refuse_it() {
        let wants = |name: &'static str, value: &'static str| {
            wants_colour(|asked| (asked == name).then(|| value.into()))
        };
        assert!(wants("TERM", "xterm") && wants("NO_COLOR", ""));
        assert!(!wants("NO_COLOR", "1") && !wants("TERM", "dumb"));
    }

    #[test]
    fn whole_lines_are_carried_whatever_pieces_they_come_in() {
        let ((from, to), (out, file)) = (pipe().unwrap(), pipe().unwrap());
        let lines: Vec<_> = (0..400).map(|number| "x".repeat(number) + "\n").collect();
        let text = lines.concat();
        let all = text.clone() + "no end";
        let writer = thread::spawn(move || {
            let mut to = File::from(to);
            all.as_bytes().chunks(777).for_each(|piece| to.write_all(piece).unwrap());
        });
        let file = File::from(file);
        let carrier = thread::spawn(move || carry(&mut File::from(from), &file).unwrap());
        let carried = io::read_to_string(File::from(out)).unwrap();
        assert!(carried == text + "no end");
        writer.join().unwrap();
        carrier.join().unwrap();
    }
}
