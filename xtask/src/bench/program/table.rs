//! The table of one load, and what it says about our promises.

use super::Keeps;
use super::by_hand::Offload;
use super::loads::Load;
use super::told::Told;
use super::tracers::{HEADS, Tracer, WHOLE};
use crate::bench::series::Series;
use crate::bench::verdict;
use crate::process::Result;

/// What one run came to.
pub(super) struct Run {
    /// Gbit/s or requests per second.
    pub(super) figure: f64,
    /// Frames that passed the program's device, by the kernel's count.
    pub(super) passed: u64,
    pub(super) told: Option<Told>,
    /// Packets in the file.
    pub(super) in_file: Option<u64>,
}

/// All runs of one tracer.
pub(super) struct Row<'a> {
    pub(super) tracer: &'a Tracer,
    figures: Series,
    captured: u64,
    dropped: u64,
    /// Frames that were neither captured nor told to be lost.
    missing: u64,
    /// Runs in whose file there are not as many packets as was said.
    wrong_files: Vec<String>,
    failures: Vec<String>,
}

impl<'a> Row<'a> {
    pub(super) fn new(tracer: &'a Tracer) -> Self {
        Self {
            tracer,
            figures: Series::default(),
            captured: 0,
            dropped: 0,
            missing: 0,
            wrong_files: Vec::new(),
            failures: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, run: Result<Run>) {
        match run {
            Ok(run) => self.push_run(&run),
            Err(error) => self.failures.push(error.to_string().replace('\n', "; ")),
        }
    }

    fn push_run(&mut self, run: &Run) {
        self.figures.push(run.figure);
        let Some(Told { captured, dropped }) = run.told else { return };
        self.captured += captured;
        self.dropped += dropped;
        self.missing += run.passed.saturating_sub(captured + dropped);
        if let Some(in_file) = run.in_file.filter(|&in_file| in_file != captured) {
            self.wrong_files.push(format!("{in_file} packets in the file, {captured} told"));
        }
    }

    fn line(&self, base: Option<f64>) -> String {
        let name = self.tracer.name;
        let (Some(median), Some((min, max))) = (self.figures.median(), self.figures.range()) else {
            return format!("{name:<34}\n");
        };
        let share = base.map_or_else(|| "?".to_owned(), |base| format!("{:.2}", median / base));
        let start = format!("{name:<34}{median:>10.2}{min:>10.2}{max:>10.2}{share:>10}");
        if self.tracer.is_untraced() {
            return start + "\n";
        }
        let Self { captured, dropped, missing, .. } = self;
        let kept_percent = captured * 100 / (captured + dropped + missing).max(1);
        format!("{start}{captured:>12}{dropped:>12}{missing:>12}{kept_percent:>8}\n")
    }

    fn words(&self) -> String {
        let first = |what: &str, list: &[String]| match list {
            [] => String::new(),
            [first, ..] => format!("  {} runs {what}: {first}\n", list.len()),
        };
        first("failed", &self.failures) + &first("with a wrong file", &self.wrong_files)
    }
}

/// Every tracer's line under the title of the load.
pub(super) fn table(title: &str, rows: &[Row<'_>]) -> String {
    let head = format!(
        "{title}\n{:<34}{:>10}{:>10}{:>10}{:>10}{:>12}{:>12}{:>12}{:>8}\n",
        "", "median", "min", "max", "of bare", "captured", "told lost", "missing", "kept %"
    );
    let lines = rows.iter().map(|row| row.line(base(rows, row.tracer.offload)) + &row.words());
    std::iter::once(head).chain(lines).collect()
}

/// The median of the untraced program on the same kind of way out.
fn base(rows: &[Row<'_>], offload: Offload) -> Option<f64> {
    let untraced = |row: &&Row<'_>| row.tracer.is_untraced() && row.tracer.offload == offload;
    rows.iter().find(untraced)?.figures.median()
}

/// What is promised of one load.
pub(super) fn bars(load: Load, rows: &[Row<'_>]) -> String {
    let title = load.name();
    let median = |name: &str| rows.iter().find(|row| row.tracer.name == name)?.figures.median();
    let told = rows
        .iter()
        .filter(|row| row.tracer.is_ours())
        .all(|row| row.missing == 0 && row.wrong_files.is_empty() && row.figures.median().is_some());
    let told = verdict::holds(&format!("{title}: every lost frame of nsntrace is told"), told);
    if !load.is_bulk() {
        return told;
    }
    let share = median(HEADS).zip(base(rows, Offload::Full)).map(|(ours, base)| ours / base);
    let peers = rows.iter().filter(|row| row.tracer.keeps == Keeps::Whole && !row.tracer.is_ours());
    let ahead = peers.map(|row| {
        let ratio = median(WHOLE).zip(row.figures.median()).map(|(ours, theirs)| ours / theirs);
        verdict::at_least(&format!("{title}: {WHOLE} / {}", row.tracer.name), ratio, 1.0)
    });
    let heads = verdict::at_least(&format!("{title}: {HEADS} / untraced"), share, MIN_OF_UNTRACED);
    [heads, told].into_iter().chain(ahead).collect()
}

/// With nothing but the heads of frames kept.
const MIN_OF_UNTRACED: f64 = 0.75;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::bench::program::tracers;

    fn run(figure: f64, told: Option<Told>, in_file: Option<u64>) -> Run {
        Run { figure, passed: 100, told, in_file }
    }

    #[test]
    fn losses_wrong_files_and_failures_are_told() {
        // What `true` says of itself names no option.
        let (tracers, _) = tracers::all(Path::new("/bin/true")).unwrap();
        let find = |name: &str| tracers.iter().find(|tracer| tracer.name == name).unwrap();
        let (mut bare, mut ours) = (Row::new(find("untraced")), Row::new(find(WHOLE)));
        bare.push(Ok(run(20.0, None, None)));
        bare.push(Ok(run(10.0, None, None)));
        ours.push(Ok(run(5.0, Some(Told { captured: 90, dropped: 4 }), Some(90))));
        ours.push(Ok(run(6.0, Some(Told { captured: 100, dropped: 6 }), Some(99))));
        ours.push(Err("no\nroom".into()));
        let rows = [bare, ours];
        let table = table("Gbit/s", &rows);
        let lines: Vec<_> =
            table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for line in [
            "untraced 10.00 10.00 20.00 1.00",
            "nsntrace 5.00 5.00 6.00 0.50 190 10 6 92",
            "1 runs failed: no; room",
            "1 runs with a wrong file: 99 packets in the file, 100 told",
        ] {
            assert!(lines.iter().any(|one| one == line), "no `{line}` in\n{table}");
        }
        let bars = bars(Load::Up, &rows);
        assert!(bars.contains("MISSED Gbit/s up: every lost frame of nsntrace is told\n"), "{bars}");
        assert!(bars.contains("?      Gbit/s up: nsntrace -s 128 / untraced: not measured"), "{bars}");
    }
}
