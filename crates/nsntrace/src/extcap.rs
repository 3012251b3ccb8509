//! nsntrace as Wireshark calls it: an extcap, which is a program that Wireshark asks what it can capture from, and has capture.
//!
//! # Theory of operation
//! Each call is a process. Some ask: what is answered goes to standard output, in sentences ([`sentences`]). One captures: it is a trace whose file is the
//! FIFO that Wireshark has made. Nobody reads what the program of such a trace writes, so it goes to a file or nowhere; what nsntrace says on standard error, Wireshark
//! shows in a box at the end, so it says nothing but why something failed. When the user stops the capture, Wireshark sends SIGTERM, and all that was started
//! ends.
//!
//! # References
//! extcap(4); `extcap_request_stop()` in extcap.c of Wireshark.

mod call;
mod install;
mod sentences;
mod words;

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

pub(crate) use self::call::is_call;
use self::call::{Call, Capture};
pub(crate) use self::install::install;
use crate::failure::Failure;
use crate::filter;
use crate::flags::Options;

/// What comes of a call.
pub(crate) enum Answer {
    /// To be printed.
    Text(String),
    /// To be traced.
    Trace(Box<Options>),
}

/// Answers a call of Wireshark's.
pub(crate) fn answer(arguments: impl Iterator<Item = OsString>) -> Result<Answer, Failure> {
    match Call::read(arguments)? {
        Call::Interfaces => Ok(Answer::Text(sentences::interfaces())),
        Call::Dlts => Ok(Answer::Text(sentences::DLTS.into())),
        Call::Config => Ok(Answer::Text(sentences::config())),
        Call::Check(filter) => Ok(Answer::Text(objection(filter))),
        Call::Capture(capture) => prepare(*capture).map(|options| Answer::Trace(Box::new(options))),
    }
}

/// What is wrong with a filter, for the line below the field: nothing where it is right.
fn objection(filter: String) -> String {
    let options = Options { filter: Some(filter), ..Options::default() };
    filter::for_trace(&options).err().map(|failure| format!("{failure}\n")).unwrap_or_default()
}

/// Makes this process one that can start the program.
fn prepare(capture: Capture) -> Result<Options, Failure> {
    let Capture { fifo, output, options } = capture;
    let is_fifo = fs::metadata(&fifo).is_ok_and(|metadata| metadata.file_type().is_fifo());
    if !is_fifo {
        return Err(Failure::new(format!("'{}' is no FIFO of Wireshark's", fifo.display())));
    }
    let failed = |error: &io::Error| Failure::of("cannot open /dev/null", error);
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").map_err(|error| failed(&error))?;
    let output = match output {
        Some(path) => File::create(&path).map_err(|error| cannot_write(&path, &error))?,
        None => null.try_clone().map_err(|error| failed(&error))?,
    };
    let replaced =
        rustix::stdio::dup2_stdin(null.as_fd()).and_then(|()| rustix::stdio::dup2_stdout(output.as_fd()));
    replaced.map_err(|errno| Failure::of("cannot replace standard output", &errno))?;
    Ok(Options { outfile: Some(fifo), ..options })
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::of(&format!("cannot write to '{}'", path.display()), error)
}
