//! `bench growth`: many traces at once, and one with very many packets. What a trace costs may not depend on how many
//! others there are, nor its memory on how much it has seen.
//!
//! # Theory of operation
//! The traced program says at which time it was born, sends a few numbered datagrams, and lives until it is told to end,
//! so that all traces run at the same time and can be looked at. The datagrams of each trace have a length that no
//! other trace uses: a packet in a file that is not its own is seen.

mod crowd;
mod long;
mod memory;
mod trace;

use std::fs;
use std::path::Path;

use super::numbers::{self, Number};
use super::{lab, machine};
use crate::process::Result;
use crate::workspace::Workspace;

/// `bench growth [--runs N]` and `bench growth --packets P`; `inside` is the same again in the namespaces made for it.
///
/// # Errors
/// It cannot be built, the namespaces cannot be made, or a file or what is left afterwards is wrong.
pub(super) fn run(words: &[&str]) -> Result {
    if let ["inside", binary, folder, runs, packets] = words {
        return run_inside(Path::new(binary), Path::new(folder), runs.parse()?, packets.parse()?);
    }
    let [runs, packets] = numbers::parse(words, &NUMBERS)?.map(|number| number.to_string());
    let workspace = Workspace::load()?;
    let binary = super::build()?;
    println!("{}", machine::commit(&workspace.root));
    // On the disk that builds are on: a long run needs room.
    let folder = workspace.target.join("bench-growth");
    fs::create_dir_all(&folder)?;
    let paths = [&binary, &folder].map(|path| path.to_string_lossy());
    lab::run_inside(&["growth", "inside", &paths[0], &paths[1], &runs, &packets])
}

fn run_inside(nsntrace: &Path, folder: &Path, runs: usize, packets: u64) -> Result {
    lab::prepare()?;
    println!("bench growth\n{}", machine::describe(folder));
    if packets > 0 { long::run(nsntrace, folder, packets) } else { crowd::run(nsntrace, folder, runs) }
}

const NUMBERS: [Number; 2] = [
    Number { flag: "--runs", max: 1000, default: 3 },
    Number { flag: "--packets", max: 1 << 32, default: 0 },
];
