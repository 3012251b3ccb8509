//! `bench start`: from before fork until after wait, for `true` in ever more of a network.

use std::fs;
use std::path::Path;

use super::contenders::{self, BASE, Contender};
use super::lab;
use super::rounds::{self, Outcome, ms};
use super::sample::Sample;
use crate::process::Result;
use crate::workspace::Workspace;

/// Builds what is measured, and measures it in namespaces made for it.
pub(super) fn run(runs: usize) -> Result {
    let workspace = Workspace::load()?;
    let binary = super::build(&workspace)?;
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
    let mut outcomes = rehearse(&contenders, |contender| contender.rehearse(folder));
    rounds::measure(&contenders, &mut outcomes, runs, |contender| contender.time(folder));
    print!("{}", table(&contenders, &outcomes, &missing));
    Ok(())
}

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
