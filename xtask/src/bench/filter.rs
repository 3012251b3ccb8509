//! `bench filter`: capture filters to programs, by us and by tcpdump, which asks libpcap. Whole processes for both.

use std::path::Path;
use std::process::Command;

use super::rounds::{self, Outcome, ms};
use super::sample::Sample;
use crate::process::{self, Result};
use crate::tools;
use crate::workspace::{self, Workspace};

/// Builds what is measured, and measures it.
pub(super) fn run(runs: usize) -> Result {
    let workspace = Workspace::load()?;
    let tcpdump = tools::find("tcpdump").ok_or("tcpdump is missing\nhint: apt-get install tcpdump")?;
    let nsntrace = super::build()?;
    let cases = cases(&workspace.root)?;
    let rows: Vec<Row<'_>> =
        cases.iter().zip(measure(&cases, [&nsntrace, &tcpdump], runs)?).map(row).collect();
    print!("{}", table(&rows));
    Ok(())
}

/// Instructions and the median of the times, for ours and theirs of each case.
fn measure(cases: &[Case], [nsntrace, tcpdump]: [&Path; 2], runs: usize) -> Result<Vec<[(usize, f64); 2]>> {
    let both = |case| [Compilation::ours(nsntrace, case), Compilation::theirs(tcpdump, case)];
    let compilations: Vec<_> = cases.iter().flat_map(|case| both(&case.filter)).collect();
    // Also the run that brings what is read into memory.
    let insns: Vec<_> = compilations.iter().map(Compilation::insn_count).collect::<Result<_>>()?;
    let mut outcomes: Vec<Outcome> = compilations.iter().map(|_| Ok(Sample::default())).collect();
    rounds::measure(&compilations, &mut outcomes, runs, |one| rounds::time(&mut one.command()));
    let ms: Vec<_> = outcomes.iter().map(median).collect::<Result<_>>()?;
    let figures: Vec<_> = insns.into_iter().zip(ms).collect();
    Ok(figures.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect())
}

fn row((case, figures): (&Case, [(usize, f64); 2])) -> Row<'_> {
    Row { name: &case.name, insns: figures.map(|(insns, _)| insns), ms: figures.map(|(_, ms)| ms) }
}

/// A filter, and what the table calls it.
struct Case {
    name: String,
    filter: String,
}

/// The common filters that the crate keeps short, and ever more hosts.
fn cases(root: &Path) -> Result<Vec<Case>> {
    let text = workspace::read(root, "crates/filter/tests/sizes.rs")?;
    let common = text
        .lines()
        .filter_map(common)
        .map(|filter| Case { name: filter.to_owned(), filter: filter.to_owned() });
    Ok(common.chain(HOSTS.map(hosts)).collect())
}

/// The filter of a row like `("ip", 4, 4),`.
fn common(line: &str) -> Option<&str> {
    Some(line.strip_prefix("    (\"")?.split_once("\", ")?.0)
}

fn hosts(count: usize) -> Case {
    let hosts: Vec<_> = (0..count).map(|host| format!("host 10.{}.0.{}", host / 250, host % 250)).collect();
    Case { name: format!("{count} hosts"), filter: hosts.join(" or ") }
}

const HOSTS: [usize; 4] = [50, 100, 200, 400];

/// A command that compiles a filter, and prints the program with an instruction a line.
struct Compilation<'a> {
    program: &'a Path,
    arguments: Vec<&'a str>,
}

impl<'a> Compilation<'a> {
    fn ours(nsntrace: &'a Path, filter: &'a str) -> Self {
        let arguments = vec!["--dump-filter", "--linktype", "EN10MB", "-f", filter];
        Self { program: nsntrace, arguments }
    }

    fn theirs(tcpdump: &'a Path, filter: &'a str) -> Self {
        Self { program: tcpdump, arguments: vec!["-y", "EN10MB", "-d", filter] }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command.args(&self.arguments);
        command
    }

    fn insn_count(&self) -> Result<usize> {
        Ok(process::output(&mut self.command())?.lines().count())
    }
}

fn median(outcome: &Outcome) -> Result<f64> {
    let sample = outcome.as_ref().map_err(String::as_str)?;
    match sample.failures() {
        [] => Ok(ms(sample.percentile(50))),
        [first, ..] => Err(format!("{} runs failed: {first}", sample.failures().len()).into()),
    }
}

/// What became of one filter: ours, then tcpdump's.
struct Row<'a> {
    name: &'a str,
    insns: [usize; 2],
    ms: [f64; 2],
}

impl Row<'_> {
    /// Ours in parts of tcpdump's: instructions, time.
    fn ratios(&self) -> [f64; 2] {
        // A program has at most 4096 instructions.
        let [ours, theirs] = self.insns.map(|count| f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
        [ours / theirs, self.ms[0] / self.ms[1]]
    }
}

fn table(rows: &[Row<'_>]) -> String {
    let head = format!("{:>24}  {:>28}\n", "instructions", "ms, start to exit, median");
    let names = format!(
        "{:>8}{:>8}{:>8}  {:>10}{:>10}{:>8}\n",
        "ours", "tcpdump", "ratio", "ours", "tcpdump", "ratio"
    );
    let lines = rows.iter().map(|row| {
        let ([insns, other_insns], [ms, other_ms]) = (row.insns, row.ms);
        let [insns_ratio, ms_ratio] = row.ratios();
        let name = row.name;
        format!("{insns:>8}{other_insns:>8}{insns_ratio:>8.2}  {ms:>10.2}{other_ms:>10.2}{ms_ratio:>8.3}  {name}\n")
    });
    let summary = |name: &str, of: fn(&[f64]) -> f64| {
        let column = |index: usize| rows.iter().map(|row| row.ratios()[index]).collect::<Vec<_>>();
        let [insns, ms] = [0, 1].map(|index| of(&column(index)));
        format!("{insns:>24.2}{ms:>30.3}  {name}\n")
    };
    let summaries = [summary("geometric mean of ratios", geometric_mean), summary("p90 of ratios", p90)];
    [head, names].into_iter().chain(lines).chain(summaries).collect()
}

fn geometric_mean(ratios: &[f64]) -> f64 {
    let (sum, count) = ratios.iter().fold((0.0, 0.0), |(sum, count), ratio| (sum + ratio.ln(), count + 1.0));
    f64::exp(sum / count)
}

/// The ratio that nine of ten do not exceed (nearest rank).
fn p90(ratios: &[f64]) -> f64 {
    let mut ratios = ratios.to_vec();
    ratios.sort_by(f64::total_cmp);
    ratios[(ratios.len() * 90).div_ceil(100) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_filters_are_found_where_their_sizes_are_tested() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the workspace");
        let cases = cases(root).unwrap();
        assert_eq!(cases.len(), 34 + HOSTS.len());
        assert_eq!(cases[0].filter, "ip");
        assert_eq!(cases[33].filter, "geneve and tcp port 80");
        assert_eq!(hosts(2).filter, "host 10.0.0.0 or host 10.0.0.1");
    }

    #[test]
    fn a_row_is_ours_beside_theirs() {
        let rows = [
            Row { name: "ip", insns: [4, 4], ms: [1.0, 4.0] },
            Row { name: "tcp", insns: [6, 12], ms: [2.0, 2.0] },
        ];
        let table = table(&rows);
        let lines: Vec<_> =
            table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let expected = [
            "4 4 1.00 1.00 4.00 0.250 ip",
            "6 12 0.50 2.00 2.00 1.000 tcp",
            "0.71 0.500 geometric mean of ratios",
            "1.00 1.000 p90 of ratios",
        ];
        assert_eq!(lines[2..], expected);
    }

    #[test]
    fn nine_of_ten_ratios_are_not_above_p90() {
        assert_eq!(p90(&[10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]).to_bits(), 9.0_f64.to_bits());
    }

    #[test]
    fn instructions_are_lines_and_a_refusal_is_an_error() {
        let shell = |script| Compilation { program: Path::new("/bin/sh"), arguments: vec!["-c", script] };
        assert_eq!(shell("echo one; echo two").insn_count().unwrap(), 2);
        assert!(shell("exit 1").insn_count().is_err());
        assert!(median(&Err("no".to_owned())).is_err());
    }
}
