//! Traces at once: 1, 10, 100.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::memory::{self, Memory};
use super::trace::{Plan, SINK, Trace};
use crate::bench::internet::Server;
use crate::bench::residue::Residue;
use crate::bench::rounds::ms;
use crate::bench::series::Series;
use crate::bench::{verdict, words};
use crate::process::Result;

/// Measures all sizes, and prints them beside each other.
///
/// # Errors
/// A trace fails, a file is wrong, or something is left behind.
pub(super) fn run(nsntrace: &Path, folder: &Path, runs: usize) -> Result {
    let _sink = Server::start_own(&["sink", SINK])?;
    let before = Residue::now()?;
    let mut figures = SIZES.map(|_| Figures::default());
    for _ in 0..runs {
        for (size, figures) in SIZES.into_iter().zip(&mut figures) {
            for plan in [None, Some(nsntrace)] {
                let plans = (0..size).map(|number| Plan { nsntrace: plan, folder, number, beats: BEATS });
                if let Err(error) = measure(&plans.collect::<Vec<_>>(), &before, figures) {
                    figures.faults.push(error.to_string().replace('\n', "; "));
                }
            }
        }
    }
    print!("{}", table(&figures));
    match figures.iter().map(|one| one.faults.len()).sum() {
        0 => Ok(()),
        count => Err(format!("bench growth: {count} things are wrong").into()),
    }
}

/// What was measured of one size, over all runs.
#[derive(Default)]
struct Figures {
    bare_ms: Series,
    start_ms: Series,
    all_up_ms: Series,
    front: Vec<Memory>,
    worker: Vec<Memory>,
    machine_mib: Series,
    exit_ms: Series,
    gone_ms: Series,
    files: usize,
    faults: Vec<String>,
}

/// Starts programs at once, looks at them, lets them end, and looks at what they leave.
fn measure(plans: &[Plan<'_>], before: &Residue, figures: &mut Figures) -> Result {
    let available_kib = memory::available_kib()?;
    let mut traces = plans.iter().map(Plan::start).collect::<Result<Vec<_>>>()?;
    let born = traces.iter_mut().map(Trace::wait_until_it_beats).collect::<Result<Vec<_>>>()?;
    let pairs = traces.iter().zip(&born);
    let starts =
        pairs.map(|(trace, &born_ns)| ms(Duration::from_nanos(born_ns.saturating_sub(trace.began_ns))));
    if plans.iter().any(|plan| plan.nsntrace.is_none()) {
        starts.for_each(|start_ms| figures.bare_ms.push(start_ms));
        return traces.into_iter().try_for_each(|trace| end(vec![trace]).map(drop));
    }
    starts.for_each(|start_ms| figures.start_ms.push(start_ms));
    let last_ns = born.iter().max().copied().unwrap_or_default();
    figures.all_up_ms.push(ms(Duration::from_nanos(last_ns.saturating_sub(traces[0].began_ns))));
    let used_kib = available_kib.saturating_sub(memory::available_kib()?);
    figures.machine_mib.push(mib(used_kib / traces.len() as u64));
    for trace in &traces {
        let [front, worker] = trace.memory()?;
        figures.front.push(front);
        figures.worker.push(worker);
    }
    let released = Instant::now();
    let said = end(traces)?;
    figures.exit_ms.push(ms(released.elapsed()));
    figures.gone_ms.push(ms(before.wait(PATIENCE)?));
    figures.check_files(plans, &said);
    Ok(())
}

/// Lets all end, and then waits for each. Gives what they said.
fn end(mut traces: Vec<Trace>) -> Result<Vec<String>> {
    traces.iter_mut().for_each(Trace::release);
    traces.into_iter().map(Trace::wait).collect()
}

impl Figures {
    /// Counts the files that have what was sent, and removes them.
    fn check_files(&mut self, plans: &[Plan<'_>], said: &[String]) {
        for (plan, said) in plans.iter().zip(said) {
            match plan.check().and_then(|census| words::check(said, census)) {
                Ok(()) => self.files += 1,
                Err(error) => self.faults.push(error.to_string()),
            }
            // The next run makes it anew.
            let _left = fs::remove_file(plan.file());
        }
    }

    fn of(memories: &[Memory], field: fn(&Memory) -> u64) -> Series {
        memories.iter().map(|memory| mib(field(memory))).collect()
    }
}

/// One line of the table: its name, and what of its figures.
type Line = (&'static str, fn(&Figures) -> Option<f64>);

const LINES: [Line; 14] = [
    ("start of the program, untraced: median, ms", |one| one.bare_ms.median()),
    ("start of the program, traced: min, ms", |one| one.start_ms.range().map(|(min, _)| min)),
    ("  median", |one| one.start_ms.median()),
    ("  max", |one| one.start_ms.range().map(|(_, max)| max)),
    ("first fork to last program's start: median, ms", |one| one.all_up_ms.median()),
    ("front: proportional, median, MiB", |one| Figures::of(&one.front, |memory| memory.pss_kib).median()),
    ("  private", |one| Figures::of(&one.front, |memory| memory.private_kib).median()),
    ("  peak resident", |one| Figures::of(&one.front, |memory| memory.peak_kib).median()),
    ("worker: proportional, median, MiB", |one| Figures::of(&one.worker, |memory| memory.pss_kib).median()),
    ("  private", |one| Figures::of(&one.worker, |memory| memory.private_kib).median()),
    ("  peak resident", |one| Figures::of(&one.worker, |memory| memory.peak_kib).median()),
    ("the machine's, per trace: median, MiB", |one| one.machine_mib.median()),
    ("end of programs to last front's end: median, ms", |one| one.exit_ms.median()),
    ("until nothing is left of all: median, ms", |one| one.gone_ms.median()),
];

fn table(figures: &[Figures; SIZES.len()]) -> String {
    let mut text = format!("{:<52}", "traces at once");
    for size in SIZES {
        let _infallible = write!(text, "{size:>10}");
    }
    text.push('\n');
    for (name, of) in LINES {
        let _infallible = write!(text, "{name:<52}");
        for one in figures {
            let figure = of(one).map_or_else(|| "?".to_owned(), |figure| format!("{figure:.2}"));
            let _infallible = write!(text, "{figure:>10}");
        }
        text.push('\n');
    }
    for (size, one) in SIZES.iter().zip(figures) {
        let claim = format!("{size} at once: {} files are complete, and nothing is left", one.files);
        text.push_str(&verdict::holds(&claim, one.faults.is_empty() && one.files > 0));
        text.extend(one.faults.iter().take(MAX_FAULTS).map(|fault| format!("  {fault}\n")));
    }
    text
}

fn mib(kib: u64) -> f64 {
    u32::try_from(kib).map_or(f64::INFINITY, f64::from) / 1024.0
}

const SIZES: [usize; 3] = [1, 10, 100];
/// Datagrams of each program.
const BEATS: u64 = 20;
/// By when the last of a hundred is off the host.
const PATIENCE: Duration = Duration::from_secs(20);
/// Of one size, in the table.
const MAX_FAULTS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_in_their_columns_and_faults_are_told() {
        let memory = Memory { pss_kib: 2048, private_kib: 1024, peak_kib: 4096 };
        let mut one = Figures { front: vec![memory], files: 1, ..Figures::default() };
        one.start_ms.push(20.0);
        let many =
            Figures { faults: vec!["trace 7: 1 of its packets are missing".into()], ..Figures::default() };
        let table = table(&[one, Figures::default(), many]);
        let lines: Vec<_> =
            table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for line in [
            "traces at once 1 10 100",
            "start of the program, traced: min, ms 20.00 ? ?",
            "front: proportional, median, MiB 2.00 ? ?",
            "met 1 at once: 1 files are complete, and nothing is left",
            "MISSED 10 at once: 0 files are complete, and nothing is left",
            "trace 7: 1 of its packets are missing",
        ] {
            assert!(lines.iter().any(|one| one == line), "no `{line}` in\n{table}");
        }
    }
}
