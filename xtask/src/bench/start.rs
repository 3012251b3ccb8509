//! `bench start`: from before fork until after wait, for `true` in ever more of a network.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::contenders::{self, BASE, Contender};
use super::lab;
use super::sample::{Sample, Shuffle};
use crate::process::{self, Result};
use crate::workspace::{PRODUCT, Workspace};

/// Builds what is measured, and measures it in namespaces made for it.
pub(super) fn run(runs: usize) -> Result {
    let workspace = Workspace::load()?;
    process::run(&mut process::cargo(&workspace.root, ["build", "--release", "--package", PRODUCT]))?;
    let binary = workspace.target.join("release").join(PRODUCT);
    let own = std::env::current_exe()?;
    let words =
        [own.as_path(), "bench".as_ref(), "inside".as_ref(), binary.as_path()].map(Path::to_string_lossy);
    let mut words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    let runs = runs.to_string();
    words.push(&runs);
    lab::enter(&words)
}

/// Measures, inside.
pub(super) fn run_inside(binary: &Path, runs: usize) -> Result {
    lab::prepare()?;
    let folder = Path::new("/run/bench");
    fs::create_dir(folder)?;
    let (contenders, missing) = contenders::all(binary);
    let mut results = rehearse(&contenders, |contender| contender.rehearse(folder));
    measure(&contenders, &mut results, runs, |contender| contender.time(folder));
    print!("{}", table(&contenders, &results, &missing));
    Ok(())
}

/// The times of one contender, or why it was not measured.
type Outcome = std::result::Result<Sample, String>;

type Results = BTreeMap<&'static str, Outcome>;

fn rehearse(contenders: &[Contender], mut run: impl FnMut(&Contender) -> Result) -> Results {
    let outcome = |contender: &Contender| {
        let reason = run(contender).map_err(|error| error.to_string());
        (contender.name, reason.map(|()| Sample::default()))
    };
    contenders.iter().map(outcome).collect()
}

/// Every contender once per round, each round in an order of its own, so that a slow minute is a slow one for all.
fn measure(
    contenders: &[Contender],
    results: &mut Results,
    runs: usize,
    mut time: impl FnMut(&Contender) -> Result<Duration>,
) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut shuffle = Shuffle::new(u64::from(now.subsec_nanos()));
    for _ in 0..runs {
        for contender in shuffle.order(contenders.len()).into_iter().map(|index| &contenders[index]) {
            let Some(Ok(sample)) = results.get_mut(contender.name) else { continue };
            match time(contender) {
                Ok(time) => sample.push(time),
                Err(error) => sample.push_failure(error.to_string()),
            }
        }
    }
}

fn table(contenders: &[Contender], results: &Results, missing: &[&str]) -> String {
    let base =
        results.get(BASE).and_then(|outcome| outcome.as_ref().ok()).filter(|sample| !sample.is_empty());
    let base_ms = base.map(|sample| ms(sample.percentile(50)));
    let head = format!(
        "{:<26}{:>10}{:>10}{:>10}   median / median of `{BASE}`\n",
        "ms, start to exit", "min", "median", "p90"
    );
    let rows = contenders.iter().map(|contender| match &results[contender.name] {
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

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_complete_and_failures_are_told() {
        let (contenders, _) = contenders::all(Path::new("/bin/true"));
        let absent = "ip and nft script";
        let mut results =
            rehearse(
                &contenders,
                |contender| {
                    if contender.name == absent { Err("no\nroot".into()) } else { Ok(()) }
                },
            );
        let mut calls = BTreeMap::<_, u64>::new();
        measure(&contenders, &mut results, 5, |contender| {
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
        let table = table(&contenders, &results, &["other"]);
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
