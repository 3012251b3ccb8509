//! `bench program`: what tracing costs the program that is traced. Bulk data in both directions, and many short
//! connections; by itself, in a trace, and beside tools that record what it does.
//!
//! # Theory of operation
//! Every run has a way out of its own, a veth pair and a masquerade, be it made by nsntrace or by hand, and nothing of
//! the run before is left when it starts. The kernel's own counters of the inner device, read by the program before and
//! after, say how many frames there were; whatever a tool has neither recorded nor told to be lost is missing.

mod by_hand;
mod loads;
mod records;
mod table;
mod told;
mod tracers;

use std::fs;
use std::path::Path;
use std::time::Duration;

pub(super) use loads::gbits;
use loads::{LOADS, Load};
use table::{Row, Run};
pub(super) use tracers::remove;
use tracers::{Keeps, Tracer};

use super::internet::Server;
use super::numbers::{self, Number};
use super::residue::Residue;
use super::{lab, machine, rounds};
use crate::process::Result;
use crate::workspace::Workspace;

/// `bench program [--runs N] [--seconds S]`; `inside` is the same again in the namespaces made for it.
///
/// # Errors
/// It cannot be built, or the namespaces cannot be made. A run that fails is told in the table.
pub(super) fn run(words: &[&str]) -> Result {
    if let ["inside", binary, folder, runs, seconds] = words {
        let plan = Plan { runs: runs.parse()?, seconds: seconds.parse()? };
        return run_inside(Path::new(binary), Path::new(folder), plan);
    }
    let [runs, seconds] = numbers::parse(words, &NUMBERS)?.map(|number| number.to_string());
    let workspace = Workspace::load()?;
    let binary = super::build()?;
    // On the disk that builds are on: what is written in memory costs others than what users have.
    let folder = workspace.target.join("bench-program");
    fs::create_dir_all(&folder)?;
    let paths = [&binary, &folder].map(|path| path.to_string_lossy());
    lab::run_inside(&["program", "inside", &paths[0], &paths[1], &runs, &seconds])
}

/// How often, and for how long.
#[derive(Clone, Copy, Debug)]
struct Plan {
    runs: usize,
    seconds: u32,
}

fn run_inside(nsntrace: &Path, folder: &Path, plan: Plan) -> Result {
    lab::prepare()?;
    println!("bench program: {} runs of each\n{}", plan.runs, machine::describe(folder));
    let (tracers, missing) = tracers::all(nsntrace)?;
    for line in missing {
        println!("{line}");
    }
    let server_address = format!("{}:{PORT}", lab::SERVER);
    let _server = Server::start_own(&["serve", &server_address])?;
    let mut bars = Vec::new();
    for load in LOADS {
        let rows = measure(load, &tracers, folder, plan)?;
        print!("\n{}", table::table(&load.title(plan.seconds), &rows));
        bars.push(table::bars(load, &rows));
    }
    print!("\n{}", bars.concat());
    Ok(())
}

/// What becomes of one load by every tracer that is meant for it.
fn measure<'a>(load: Load, tracers: &'a [Tracer], folder: &Path, plan: Plan) -> Result<Vec<Row<'a>>> {
    let chosen = tracers.iter().filter(|tracer| load.is_for(tracer));
    let mut rows: Vec<Row<'a>> = chosen.map(Row::new).collect();
    let before = Residue::now()?;
    let mut left = Ok(());
    rounds::each(rows.len(), plan.runs, |index| {
        if left.is_ok() {
            let run = run_once(load, rows[index].tracer, folder, plan.seconds);
            rows[index].push(run);
            left = before.wait(PATIENCE).map(drop);
        }
    });
    left?;
    Ok(rows)
}

/// One run of one load by one tracer.
fn run_once(load: Load, tracer: &Tracer, folder: &Path, seconds: u32) -> Result<Run> {
    let file = folder.join("packets.pcap");
    tracers::remove(&file)?;
    let task = load.task(folder, seconds)?;
    let told = tracer.run(&task.words, &file)?;
    let in_file = tracer.has_file().then(|| records::count(&file)).transpose();
    tracers::remove(&file)?;
    Ok(Run { figure: task.figure()?, passed: task.passed()?, told, in_file: in_file? })
}

const NUMBERS: [Number; 2] =
    [Number { flag: "--runs", max: 1000, default: 5 }, Number { flag: "--seconds", max: 600, default: 3 }];
/// Of the HTTP server.
const PORT: u16 = 8080;
/// By when the last run is off the host.
const PATIENCE: Duration = Duration::from_secs(10);
