//! `bench proxy`: what the proxy transport costs an ordinary user's program, beside pasta, which does the same with a network stack
//! of its own, and beside the program by itself. Bulk data in both directions over both families, many connections that are only made and closed, and as many that carry a request.

mod load;
mod way;

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use load::{LOADS, Load};
use way::{WAYS, Way};

use super::internet::Server;
use super::numbers::{self, Number};
use super::residue::Residue;
use super::series::Series;
use super::{lab, machine, rounds, verdict};
use crate::process::{self, Result};

/// `bench proxy [--runs N] [--seconds S]`; `inside` is the same again in the namespaces made for it.
///
/// # Errors
/// It cannot be built, or the namespaces cannot be made. A run that fails is told in the table.
pub(super) fn run(words: &[&str]) -> Result {
    if let ["inside", binary, runs, seconds] = words {
        return run_inside(Path::new(binary), runs.parse()?, seconds.parse()?);
    }
    let [runs, seconds] = numbers::parse(words, &NUMBERS)?.map(|number| number.to_string());
    let binary = super::build()?;
    lab::run_inside(&["proxy", "inside", &binary.to_string_lossy(), &runs, &seconds])
}

fn run_inside(nsntrace: &Path, runs: usize, seconds: u32) -> Result {
    lab::prepare()?;
    prepare_folder(nsntrace)?;
    println!("bench proxy: {runs} runs of each\n{}", machine::describe(Path::new(FOLDER)));
    let _server = Server::start_own(&["serve", &format!("{}:{PORT}", lab::SERVER)])?;
    let mut bars = String::new();
    for load in LOADS {
        let rows = measure(load, runs, seconds)?;
        print!("\n{}", table(&load.title(seconds), &rows));
        bars += &judge(load, &rows);
    }
    print!("\n{bars}{}", machine::load());
    Ok(())
}

/// What an ordinary user runs must be where an ordinary user can read it.
fn prepare_folder(nsntrace: &Path) -> Result {
    fs::create_dir(FOLDER)?;
    fs::set_permissions(FOLDER, Permissions::from_mode(0o777))?;
    for (from, to) in [(nsntrace, way::NSNTRACE), (Path::new(&lab::own_path()?), load::OWN)] {
        fs::copy(from, to)?;
    }
    Ok(())
}

/// What one way has come to.
#[derive(Debug)]
struct Row {
    way: Way,
    figures: Series,
    failures: Vec<String>,
}

/// One load by every way, shuffled.
fn measure(load: Load, runs: usize, seconds: u32) -> Result<Vec<Row>> {
    let mut rows = WAYS.map(|way| Row { way, figures: Series::default(), failures: Vec::new() });
    let before = Residue::now()?;
    let mut left = Ok(());
    rounds::each(rows.len(), runs, |index| {
        if left.is_ok() {
            match run_once(load, rows[index].way, seconds) {
                Ok(figure) => rows[index].figures.push(figure),
                Err(error) => rows[index].failures.push(error.to_string().replace('\n', "; ")),
            }
            left = before.wait(PATIENCE).map(drop);
        }
    });
    left?;
    Ok(rows.into())
}

fn run_once(load: Load, way: Way, seconds: u32) -> Result<f64> {
    let task = load.task(seconds)?;
    process::output(&mut way.command(&task.words))?;
    task.figure()
}

fn table(title: &str, rows: &[Row]) -> String {
    let mut text =
        format!("{title}\n{:<34}{:>10}{:>10}{:>10}{:>12}\n", "", "median", "min", "max", "of direct");
    let direct = median(rows, Way::Direct);
    for row in rows {
        let name = row.way.name();
        if let (Some(median), Some((min, max)), Some(direct)) =
            (row.figures.median(), row.figures.range(), direct)
        {
            let share = median / direct;
            let _ = writeln!(text, "{name:<34}{median:>10.2}{min:>10.2}{max:>10.2}{share:>12.2}");
        }
        if let Some(first) = row.failures.first() {
            let _ = writeln!(text, "{name}: {} runs failed: {first}", row.failures.len());
        }
    }
    text
}

/// What is promised of one load, if anything is.
fn judge(load: Load, rows: &[Row]) -> String {
    let ours = median(rows, Way::Ours);
    let (peer, least) = match load {
        Load::Up(_) | Load::Down(_) => (Way::Pasta, OF_PASTA),
        Load::Connections => (Way::Direct, OF_DIRECT),
        Load::Requests => return String::new(),
    };
    let ratio = ours.zip(median(rows, peer)).map(|(ours, theirs)| ours / theirs);
    verdict::at_least(&format!("{}: {} / {}", load.name(), Way::Ours.name(), peer.name()), ratio, least)
}

fn median(rows: &[Row], way: Way) -> Option<f64> {
    rows.iter().find(|row| row.way == way)?.figures.median()
}

const NUMBERS: [Number; 2] =
    [Number { flag: "--runs", max: 1000, default: 5 }, Number { flag: "--seconds", max: 600, default: 2 }];
/// Of the HTTP server.
const PORT: u16 = 8080;
/// In the lab's own /run.
const FOLDER: &str = "/run/bench";
/// By when the last run is off the host.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bulk data.
const OF_PASTA: f64 = 1.5;
/// To connect and close: at most three times as long.
const OF_DIRECT: f64 = 1.0 / 3.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_of_medians_and_failures_are_told() {
        let row = |way, figures: &[f64], failures: &[&str]| Row {
            way,
            figures: figures.iter().copied().collect(),
            failures: failures.iter().map(ToString::to_string).collect(),
        };
        let rows = [
            row(Way::Direct, &[20.0], &[]),
            row(Way::Ours, &[9.0, 10.0, 11.0], &[]),
            row(Way::Pasta, &[5.0], &["no tunnel"]),
        ];
        assert!(table("up", &rows).contains("pasta: 1 runs failed: no tunnel"));
        assert!(judge(LOADS[0], &rows).contains("2.00, at least 1.50"));
        assert!(judge(Load::Connections, &rows).contains("0.50, at least 0.33"));
        assert_eq!(judge(Load::Requests, &rows), "");
    }
}
