//! `bench capture`: packets of all sizes into a file, by nsntrace and its peers. What one packet costs, what is lost, and
//! how much memory it takes.
//!
//! # Theory of operation
//! A sender on one processor puts numbered frames into a veth pair, a tool on another records them at the other end, and
//! the file is searched for every number. Copying a frame into the ring is done by the kernel on the sender's processor
//! and the same for all; what is compared is what the tool's processes use, user and system, from the first frame to their
//! end, less what they use when nothing is sent. Every tool meets every load once in a round, in an order of the round's own.

mod load;
mod report;
mod stage;
mod tools;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use load::{LOADS, Load};
use report::Cell;
use stage::Stage;
use tools::Tool;

use super::numbered::Census;
use super::sample::Shuffle;
use super::{lab, machine};
use crate::process::{self, Result};
use crate::workspace::Workspace;

/// `bench capture [--runs N] [--quick]`. `inside` is the same again in the namespaces made for it, `load` the sender.
pub(super) fn run(words: &[&str]) -> Result {
    match words {
        [] => enter(DEFAULT_RUNS, FULL),
        ["--quick"] => enter(1, QUICK),
        ["--runs", count] => enter(super::runs(count)?, FULL),
        ["--runs", count, "--quick"] | ["--quick", "--runs", count] => enter(super::runs(count)?, QUICK),
        ["inside", binary, folder, count, size] => {
            run_inside(Path::new(binary), Path::new(folder), super::runs(count)?, size)
        }
        ["load", interface, frame_len, count, pps] => load::send_load(interface, frame_len, count, pps),
        _ => Err("usage: cargo xtask bench capture [--runs N] [--quick]".into()),
    }
}

/// Builds what is measured, and measures it in namespaces made for it. Files go where builds go: to a disk.
fn enter(runs: usize, size: &str) -> Result {
    let workspace = Workspace::load()?;
    let binary = super::build()?;
    let folder = workspace.target.join("bench-capture");
    fs::create_dir_all(&folder)?;
    println!("{}", machine::commit(&workspace.root));
    let [binary, folder] = [&binary, &folder].map(|path| path.to_string_lossy());
    lab::run_inside(&["capture", "inside", &binary, &folder, &runs.to_string(), size])
}

/// Measures, inside.
fn run_inside(binary: &Path, folder: &Path, runs: usize, size: &str) -> Result {
    lab::prepare()?;
    let stage = Stage::new(folder)?;
    let (tools, missing) = tools::all(binary);
    let loads = LOADS.map(|load| if size == QUICK { load.quick() } else { load });
    println!("nsntrace bench capture: {runs} runs of each, {size} loads\n{}", machine::describe(folder));
    for tool in &tools {
        println!("{}", tool.describe());
    }
    for name in missing {
        println!("{name} is not installed");
    }
    let cells = measure(&stage, &tools, &loads, runs);
    println!("\n{}{}", report::tables(&tools, &loads, &cells), machine::load());
    match cells.iter().flat_map(|one| &one.failures).count() {
        0 => Ok(()),
        count => Err(format!("bench capture: {count} runs are wrong").into()),
    }
}

/// What all tools make of all loads and of no load, which comes last.
fn measure(stage: &Stage, tools: &[Tool], loads: &[Load], runs: usize) -> Vec<Cell> {
    let idle = Load { name: "idle", count: 0, ..LOADS[0] };
    let loads: Vec<_> = loads.iter().copied().chain([idle]).collect();
    let pairs = (0..tools.len()).flat_map(|tool| (0..loads.len()).map(move |load| Cell::new(tool, load)));
    let mut cells: Vec<_> = pairs.collect();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut shuffle = Shuffle::new(u64::from(now.subsec_nanos()));
    for round in 0..runs {
        eprintln!("round {} of {runs}", round + 1);
        for index in shuffle.order(cells.len()) {
            let Cell { tool, load, .. } = cells[index];
            // Once per tool and load, foreign eyes count as well.
            let look =
                |file: &Path, census| if round == 0 { check_by_capinfos(file, census) } else { Ok(()) };
            match stage.run(&tools[tool], loads[load], look) {
                Ok(run) => cells[index].runs.push(run),
                Err(error) => cells[index].failures.push(error.to_string()),
            }
        }
    }
    cells
}

/// Whether capinfos, if it is here, finds as many packets as we do.
fn check_by_capinfos(file: &Path, census: Census) -> Result {
    let Some(capinfos) = crate::tools::find("capinfos") else { return Ok(()) };
    let line = process::output(Command::new(capinfos).args(["-T", "-r", "-c"]).arg(file))?;
    let count: u64 = line.trim().rsplit('\t').next().unwrap_or_default().parse()?;
    if count == census.total() {
        return Ok(());
    }
    Err(format!("capinfos finds {count} packets, we find {census:?}").into())
}

const DEFAULT_RUNS: usize = 4;
const FULL: &str = "full";
const QUICK: &str = "quick";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_checked_before_anything_is_built() {
        for words in [["--runs", "0"].as_slice(), &["--runs"], &["--slow"], &["load", "eth0"]] {
            assert!(run(words).is_err(), "{words:?}");
        }
    }
}
