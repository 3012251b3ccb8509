//! `bench start`: from before fork until after wait, for `true` in ever more of a network; what our share of that is
//! spent on, and whether all of it is gone again.

mod record;
mod steps;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::contenders::{self, BASE, Contender, OURS, PASTA};
use super::lab;
use super::residue::Residue;
use super::rounds::{self, Outcome, ms};
use super::sample::Sample;
use super::verdict;
use crate::process::Result;
use crate::tools;

/// Builds what is measured, and measures it in namespaces made for it.
pub(super) fn run(runs: usize) -> Result {
    let binary = super::build()?;
    lab::run_inside(&["inside", &binary.to_string_lossy(), &runs.to_string()])
}

/// Measures, inside.
pub(super) fn run_inside(binary: &Path, runs: usize) -> Result {
    lab::prepare()?;
    let folder = Path::new("/run/bench");
    fs::create_dir(folder)?;
    let (contenders, missing) = contenders::all(binary);
    let mut outcomes = rehearse(&contenders, |contender| contender.rehearse(folder));
    rounds::measure(&contenders, &mut outcomes, runs, |contender| contender.time(folder));
    print!("{}", table(&contenders, &outcomes, &missing));
    print!("{}", bars(&contenders, &outcomes));
    if let Some(ours) = contenders.iter().find(|contender| contender.name == OURS) {
        print!("{}", cleanliness(ours, folder, runs)?);
    }
    let Some(strace) = tools::find("strace") else {
        println!("strace is not installed: no table of steps");
        return Ok(());
    };
    steps::run(&strace, binary, folder, runs.min(MAX_WATCHED_RUNS))
}

/// What we promise, and whether it holds.
fn bars(contenders: &[Contender], outcomes: &[Outcome]) -> String {
    let median = |name: &str| {
        let (_, outcome) = contenders.iter().zip(outcomes).find(|(contender, _)| contender.name == name)?;
        let sample = outcome.as_ref().ok().filter(|sample| !sample.is_empty())?;
        Some(ms(sample.percentile(50)))
    };
    let ratio = |other: &str| Some(median(OURS)? / median(other)?);
    [
        verdict::at_most(&format!("median / median of `{BASE}`"), ratio(BASE), MAX_OF_BASE),
        verdict::at_most(&format!("median / median of `{PASTA}`"), ratio(PASTA), MAX_OF_PASTA),
        verdict::at_most("median, ms", median(OURS), MAX_MS),
    ]
    .concat()
}

/// Looks, a moment after each of `runs` runs, whether anything is left of it.
fn cleanliness(ours: &Contender, folder: &Path, runs: usize) -> Result<String> {
    let before = Residue::now()?;
    let mut dirty = Vec::new();
    for _ in 0..runs {
        ours.time(folder)?;
        thread::sleep(CLEAN_AFTER);
        let left = before.since()?;
        if !left.is_empty() {
            dirty.push(left.join(", "));
            before.wait(PATIENCE)?;
        }
    }
    let (clean, after_ms) = (runs - dirty.len(), CLEAN_AFTER.as_millis());
    let found = dirty.first().map_or_else(String::new, |left| format!("; first found: {left}"));
    let name = format!("nothing left {after_ms} ms after front's exit: {clean} of {runs} runs{found}");
    Ok(verdict::holds(&name, dirty.is_empty()))
}

/// In `true`s in a namespace of their own.
const MAX_OF_BASE: f64 = 5.0;
/// In parts of what pasta takes.
const MAX_OF_PASTA: f64 = 0.35;
/// From before fork until after wait.
const MAX_MS: f64 = 25.0;
/// By when all is gone from the host.
const CLEAN_AFTER: Duration = Duration::from_millis(200);
/// By when it is gone on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(5);
/// The shares are clear after a few.
const MAX_WATCHED_RUNS: usize = 10;

fn rehearse(contenders: &[Contender], mut run: impl FnMut(&Contender) -> Result) -> Vec<Outcome> {
    let outcome =
        |contender: &Contender| run(contender).map(|()| Sample::default()).map_err(|error| error.to_string());
    contenders.iter().map(outcome).collect()
}

fn table(contenders: &[Contender], outcomes: &[Outcome], missing: &[&str]) -> String {
    let pairs = || contenders.iter().zip(outcomes);
    let base = pairs().find(|(contender, _)| contender.name == BASE);
    let base = base.and_then(|(_, outcome)| outcome.as_ref().ok()).filter(|sample| !sample.is_empty());
    let base_ms = base.map(|sample| ms(sample.percentile(50)));
    let head = format!(
        "{:<26}{:>10}{:>10}{:>10}   median / median of `{BASE}`\n",
        "ms, start to exit", "min", "median", "p90"
    );
    let rows = pairs().map(|(contender, outcome)| match outcome {
        Ok(sample) => row(contender.name, sample, base_ms),
        Err(reason) => format!("{:<26} cannot run here: {}\n", contender.name, reason.replace('\n', "; ")),
    });
    let absent = missing.iter().map(|name| format!("{name:<26} is not installed\n"));
    std::iter::once(head).chain(rows).chain(absent).collect()
}

fn row(name: &str, sample: &Sample, base_ms: Option<f64>) -> String {
    let failures = match sample.failures() {
        [] => String::new(),
        [first, ..] => format!("   {} runs failed: {first}", sample.failures().len()),
    };
    if sample.is_empty() {
        return format!("{name:<26}{failures}\n");
    }
    let [min, median, p90] = [0, 50, 90].map(|percent| ms(sample.percentile(percent)));
    let ratio = base_ms.map_or_else(|| "?".to_owned(), |base| format!("{:.2}", median / base));
    format!("{name:<26}{min:>10.2}{median:>10.2}{p90:>10.2}{ratio:>9}{failures}\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    #[test]
    fn rounds_are_complete_and_failures_are_told() {
        let (contenders, _) = contenders::all(Path::new("/bin/true"));
        let absent = "ip and nft script";
        let mut outcomes =
            rehearse(
                &contenders,
                |contender| {
                    if contender.name == absent { Err("no\nroot".into()) } else { Ok(()) }
                },
            );
        let mut calls = BTreeMap::<_, u64>::new();
        rounds::measure(&contenders, &mut outcomes, 5, |contender| {
            let count = calls.entry(contender.name).or_default();
            *count += 1;
            match contender.name {
                "true" if *count == 2 => Err("broke".into()),
                BASE => Ok(Duration::from_millis(10 * *count)),
                _ => Ok(Duration::from_millis(60)),
            }
        });
        assert!(!calls.contains_key(absent));
        assert_eq!((calls["true"], calls[BASE], calls["nsntrace true"]), (5, 5, 5));
        let table = table(&contenders, &outcomes, &["other"]);
        let lines: Vec<_> =
            table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for line in [
            "nsntrace true 60.00 60.00 60.00 2.00",
            "unshare -n true 10.00 30.00 50.00 1.00",
            "true 60.00 60.00 60.00 2.00 1 runs failed: broke",
            "ip and nft script cannot run here: no; root",
            "other is not installed",
        ] {
            assert!(lines.iter().any(|one| one == line), "no `{line}` in\n{table}");
        }
    }
}
