//! Run a program in a network namespace of its own and record its packets.
//!
//! docs/ARCHITECTURE.md tells one run step by step. This file reads the command line and leaves the rest to `front`.
#![forbid(unsafe_code)]

mod doctor;
mod events;
mod extcap;
mod failure;
mod filter;
mod flags;
mod front;
mod help;
mod keylog;
mod lines;
mod messages;
mod nameservice;
mod outfile;
mod plan;
mod program;
mod progress;
mod protocol;
mod queue;
mod status;
mod text_file;
mod transport;
mod user;
mod wireshark;
mod worker;

use std::env;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use nsntrace_sys::{Inherited, failing};

use crate::events::Watch;
use crate::failure::Failure;
use crate::flags::{Options, Request};
use crate::plan::Plan;

fn main() -> ExitCode {
    failing::prepare();
    let inherited = Inherited::at_start();
    match answer(inherited) {
        Ok(status) => status,
        Err(failure) => {
            messages::failure(&failure);
            ExitCode::from(failure.status)
        }
    }
}

fn answer(inherited: Inherited) -> Result<ExitCode, Failure> {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    if extcap::is_call(arguments.iter().map(OsString::as_os_str)) {
        return match extcap::answer(arguments.into_iter())? {
            extcap::Answer::Text(text) => print(&text),
            extcap::Answer::Trace(options) => trace(*options, inherited),
        };
    }
    match flags::parse(arguments)? {
        Request::Help => print(&help::text()),
        Request::Version => print(help::VERSION),
        Request::Doctor(form) => diagnose(form),
        Request::DumpFilter(options, form) => print(&filter::dump(&options, &form)?),
        Request::InstallExtcap(folder) => print(&extcap::install(&folder)?),
        Request::Trace(options) => trace(options, inherited),
    }
}

fn trace(options: Options, inherited: Inherited) -> Result<ExitCode, Failure> {
    // Before signals are blocked: opening a FIFO waits for its reader, and ^C must end that.
    let plan = Plan::make(options)?;
    let watch = Watch::begin().inspect_err(|_failure| plan.discard_outputs())?;
    front::trace(&plan, watch, inherited)
}

/// Says what works on this host, and by the status whether anything does.
fn diagnose(form: doctor::Form) -> Result<ExitCode, Failure> {
    let report = doctor::report(form)?;
    let printed = print(&report.text)?;
    Ok(if report.is_good { printed } else { ExitCode::from(status::FAILED) })
}

/// Prints what was asked for to standard output, the one thing besides packets that goes there.
fn print(text: &str) -> Result<ExitCode, Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        // A reader that has seen enough, as in `nsntrace --help | head -1`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(Failure::of("cannot write to standard output", &error)),
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}
