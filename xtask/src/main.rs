//! The project's tasks: `cargo xtask TASK`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the words of a task are its output")]

mod apt;
mod bench;
mod completions;
mod deb;
mod dist;
mod fuzz;
mod manual;
mod options;
mod process;
mod test;
mod tidy;
mod tools;
mod vm;
mod workspace;

use std::process::ExitCode;

use process::Result;
use workspace::Workspace;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<ExitCode> {
    match words {
        // Its closing line says whether it failed, and nothing may follow it.
        ["test"] => return test::run(),
        ["tidy"] => tidy::run()?,
        ["dist"] => drop(dist::run()?),
        ["dist", "--twice"] => dist::run_twice()?,
        ["deb"] => deb::run()?,
        ["man"] => man()?,
        ["fuzz", rest @ ..] => fuzz::run_words(rest)?,
        ["bench", rest @ ..] => bench::run(rest)?,
        ["vm-test", rest @ ..] => vm::run(rest)?,
        _ => return Err(USAGE.into()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes what is made from the table of flags into `target/dist`.
fn man() -> Result {
    let workspace = Workspace::load()?;
    let flags = options::load(&workspace)?;
    let folder = workspace.target.join("dist");
    std::fs::create_dir_all(&folder)?;
    let page = (manual::NAME, manual::page(&flags));
    let scripts = completions::scripts(&flags).map(|script| (script.name, script.text));
    for (name, text) in [page].into_iter().chain(scripts) {
        let path = folder.join(name);
        std::fs::write(&path, text)?;
        println!("{}", path.display());
    }
    Ok(())
}

const USAGE: &str = "usage: cargo xtask TASK
  test                    everything that must hold, from formatting to the static binary; needs root
  tidy                    the rules of the house that clippy does not know
  dist [--twice]          static binaries, weighed, with manual, completions, licences and list of parts, in target/dist;
                          or the one for this machine alone, built in two folders and compared
  deb                     what dist makes, and Debian packages of it, in target/dist, checked by lintian, installed and removed
  man                     nsntrace(1) and completions for bash, zsh, fish and elvish, in target/dist
  fuzz [SECONDS]          random input for what reads text and packets; 30 seconds
  vm-test [ARCH] [--all] [--runs N]
                          the static binary under emulated kernels, the oldest and the newest that Debian has, or all: x86_64, aarch64
  bench start [--runs N]  how long `nsntrace true` takes, and its peers; needs root
  bench filter [--runs N] how long filters take to compile, and how long they get, beside tcpdump
  bench capture [--runs N] [--quick]
                          what recording a packet costs and what is lost, beside tcpdump and others; needs root
  bench exit [--runs N]   that no packet of a program that ends at once is lost, and how soon we end; needs root
  bench program [--runs N] [--seconds S]
                          what tracing costs the traced program, beside tcpdump and others; needs root
  bench growth [--runs N] | --packets P
                          many traces at once, or one with many packets; needs root";
