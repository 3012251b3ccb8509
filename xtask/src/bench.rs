//! `bench`: how long things take, beside others that do the same, in the same minute on the same machine.

mod capture;
mod children;
mod clock;
mod contenders;
mod exit;
mod filter;
mod growth;
mod internet;
mod lab;
mod machine;
mod numbered;
mod numbers;
mod program;
mod proxy;
mod residue;
mod rounds;
mod sample;
mod series;
mod socket;
mod start;
mod traced;
mod verdict;
mod words;

use std::path::{Path, PathBuf};

use crate::dist;
use crate::process::Result;

/// Words behind `bench`: what is measured, and options. Words that are not in the usage are for ourselves, in the namespaces that
/// were made for a benchmark.
pub(crate) fn run(words: &[&str]) -> Result {
    match words {
        ["start"] => start::run(DEFAULT_RUNS),
        ["start", "--runs", count] => start::run(runs(count)?),
        ["filter"] => filter::run(DEFAULT_RUNS),
        ["filter", "--runs", count] => filter::run(runs(count)?),
        ["capture", rest @ ..] => capture::run(rest),
        ["exit", rest @ ..] => exit::run(rest),
        ["program", rest @ ..] => program::run(rest),
        ["proxy", rest @ ..] => proxy::run(rest),
        ["growth", rest @ ..] => growth::run(rest),
        ["socket", rest @ ..] => socket::run(rest),
        ["traced", rest @ ..] => traced::run(rest),
        ["inside", binary, count] => start::run_inside(Path::new(binary), runs(count)?),
        _ => Err("usage: cargo xtask bench start|filter|capture|exit|program|proxy|growth|socket [--runs N]"
            .into()),
    }
}

/// Builds what users get, the static binary, and says where it is.
fn build() -> Result<PathBuf> {
    Ok(dist::run_native()?.path)
}

fn runs(text: &str) -> Result<usize> {
    let count = text.parse().ok().filter(|count| (1..=100_000).contains(count));
    Ok(count.ok_or_else(|| format!("`{text}` is not a number of runs"))?)
}

const DEFAULT_RUNS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_runs_is_a_positive_number() {
        assert_eq!(runs("20").unwrap(), 20);
        for bad in ["0", "-1", "x", "", "1000000"] {
            assert!(runs(bad).is_err(), "{bad}");
        }
        assert!(run(&["start", "--runs"]).is_err());
    }
}
