//! Prints the program that a filter is compiled to: `dump --dump-filter[=asm|c|dec] [--linktype TYPE]
//! [--live] [-O] -f EXPR`.
//!
//! `-O` leaves the optimiser out, as in tcpdump.
#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::process::ExitCode;
use std::{env, fs};

use nsntrace_filter::{Options, Source, Tables, compile};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Nothing is left to be said if stderr is closed.
            let _ = writeln!(io::stderr(), "dump: {message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let mut form = "asm".to_owned();
    let mut options = Options::default();
    let mut filter = String::new();
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--dump-filter" => {}
            "--linktype" => options.link_type = value()?.parse().map_err(|error| format!("{error}"))?,
            "--live" => options.source = Source::Live,
            "-O" => options.optimise = false,
            "-f" => filter = value()?,
            _ => match arg.strip_prefix("--dump-filter=") {
                Some(wanted) => wanted.clone_into(&mut form),
                None => return Err(format!("unknown argument '{arg}'")),
            },
        }
    }
    let program = compile(&filter, &options, &names())
        .map_err(|error| format!("bad filter: {error}\n{}", error.excerpt(&filter)))?;
    let mut out = io::stdout().lock();
    let written = match form.as_str() {
        "asm" => write!(out, "{}", program.asm()),
        "c" => write!(out, "{}", program.c()),
        "dec" => write!(out, "{}", program.dec()),
        _ => return Err(format!("unknown form '{form}': asm, c and dec are known")),
    };
    written.map_err(|error| error.to_string())
}

/// The names of this machine. A file that cannot be read has none.
fn names() -> Tables {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    Tables::new()
        .services(&text("/etc/services"))
        .protocols(&text("/etc/protocols"))
        .networks(&text("/etc/networks"))
        .hosts(&text("/etc/hosts"))
        .ethers(&text("/etc/ethers"))
}
