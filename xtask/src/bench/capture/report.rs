//! Tables of what was measured, and the bars that nsntrace is to pass.

use std::fmt::Write as _;
use std::time::Duration;

use super::load::Load;
use super::stage::Run;
use super::tools::{NSNTRACE, Tool};
use crate::bench::series::Series;

/// The runs of one tool with one load: indices of both.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) tool: usize,
    pub(super) load: usize,
    pub(super) runs: Vec<Run>,
    /// Why a run is wrong.
    pub(super) failures: Vec<String>,
}

impl Cell {
    pub(super) fn new(tool: usize, load: usize) -> Self {
        Self { tool, load, runs: Vec::new(), failures: Vec::new() }
    }

    fn figures(&self, of: impl Fn(&Run) -> f64) -> Series {
        self.runs.iter().map(of).collect()
    }

    /// Minimum and median of a figure.
    fn low(&self, of: impl Fn(&Run) -> f64) -> Option<[f64; 2]> {
        let figures = self.figures(of);
        Some([figures.range()?.0, figures.median()?])
    }
}

/// Everything, in Markdown. `cells` has each tool with each load, and behind those with none.
pub(super) fn tables(tools: &[Tool], loads: &[Load], cells: &[Cell]) -> String {
    let results = Results { tools, loads, cells };
    let wrong = cells.iter().flat_map(|one| one.failures.iter().map(move |why| (one, why)));
    let wrong = wrong.map(|(one, why)| {
        let load = loads.get(one.load).map_or("idle", |load| load.name);
        format!("WRONG: {}, {load}: {}\n", tools[one.tool].name, why.replace('\n', "; "))
    });
    [results.costs(), results.memory(), results.bars()].join("\n") + &wrong.collect::<String>()
}

struct Results<'a> {
    tools: &'a [Tool],
    loads: &'a [Load],
    cells: &'a [Cell],
}

impl Results<'_> {
    fn cell(&self, tool: usize, load: usize) -> Option<&Cell> {
        self.cells.iter().find(|one| one.tool == tool && one.load == load)
    }

    /// Seconds of processor time of a tool when nothing is sent, in the median.
    fn idle_s(&self, tool: usize, of: impl Fn(&Run) -> Duration) -> Option<f64> {
        self.cell(tool, self.loads.len())?.figures(|run| of(run).as_secs_f64()).median()
    }

    /// Nanoseconds of processor time per packet in the file, minimum and median.
    fn cpu_ns(&self, tool: usize, load: usize) -> Option<[f64; 2]> {
        let idle_s = self.idle_s(tool, |run| run.cpu)?;
        let cpu_ns = |run: &Run| (run.cpu.as_secs_f64() - idle_s) * 1e9 / float(run.census.found.max(1));
        self.cell(tool, load)?.low(cpu_ns)
    }

    /// The least that any run lost, and the most, in parts of what was sent.
    fn loss(&self, tool: usize, load: usize) -> Option<(f64, f64)> {
        let sent = float(self.loads[load].count);
        self.cell(tool, load)?.figures(|run| float(run.census.missing) / sent).range()
    }

    /// Peak of the process that records, in KiB: the median with the load that makes it largest.
    fn peak_kib(&self, tool: usize) -> Option<f64> {
        let median = |load| self.cell(tool, load)?.figures(|run| float(run.peak_kib)).median();
        let peaks: Series = (0..self.loads.len()).filter_map(median).collect();
        peaks.range().map(|(_, most)| most)
    }

    fn costs(&self) -> String {
        let mut table = String::from(
            "| load | tool | ns/packet, min | median | packets lost, min | max | sent at, kpps |\n\
             |---|---|--:|--:|--:|--:|--:|\n",
        );
        for (index, load) in self.loads.iter().enumerate() {
            for tool in 0..self.tools.len() {
                let _infallible = writeln!(table, "{}", self.cost(load, index, tool));
            }
        }
        table
    }

    fn cost(&self, load: &Load, index: usize, tool: usize) -> String {
        let name = self.tools[tool].name;
        let cpu = self.cpu_ns(tool, index);
        let rate = |run: &Run| float(load.count) / run.sending.as_secs_f64() / 1e3;
        let rate = self.cell(tool, index).and_then(|cell| cell.figures(rate).median());
        let (Some([min, median]), Some((least, most)), Some(kpps)) = (cpu, self.loss(tool, index), rate)
        else {
            return format!("| {} | {name} | no run succeeded | | | | |", load.name);
        };
        let [least, most] = [least, most].map(|part| loss(part, load.count));
        format!("| {} | {name} | {min:.0} | {median:.0} | {least} | {most} | {kpps:.0} |", load.name)
    }

    fn memory(&self) -> String {
        let mut table =
            String::from("| tool | peak resident, MiB | CPU of a run without packets, ms |\n|---|--:|--:|\n");
        for (tool, Tool { name, .. }) in self.tools.iter().enumerate() {
            let (Some(peak), Some(idle_s)) =
                (self.peak_kib(tool), self.idle_s(tool, |run| run.cpu_before + run.cpu))
            else {
                continue;
            };
            let front = self.cells.iter().filter(|one| one.tool == tool).flat_map(|one| &one.runs);
            let front = front.filter_map(|run| run.front_peak_kib).max();
            let front = front.map_or_else(String::new, |kib| format!(" (front: {:.1})", float(kib) / 1024.0));
            let _infallible =
                writeln!(table, "| {name} | {:.1}{front} | {:.1} |", peak / 1024.0, idle_s * 1e3);
        }
        table
    }

    /// nsntrace in parts of each peer.
    fn bars(&self) -> String {
        let mut table = String::from(
            "| nsntrace / peer | peer | of minima | of medians | bar | |\n|---|---|--:|--:|--:|---|\n",
        );
        let ours = self.tools.iter().position(|tool| tool.name == NSNTRACE);
        for (ours, bar) in ours.iter().flat_map(|ours| BARS.iter().map(move |bar| (*ours, bar))) {
            let Some(peer) = self.tools.iter().position(|tool| tool.name == bar.peer) else { continue };
            let _infallible = writeln!(table, "{}", self.bar(bar, ours, peer));
        }
        table
    }

    fn bar(&self, bar: &Bar, ours: usize, peer: usize) -> String {
        let Bar { what, peer: name, at_most } = *bar;
        let (text, is_met) = match what {
            What::Cpu(load) => {
                let pairs = self.cpu_ns(ours, load).zip(self.cpu_ns(peer, load));
                let ratios = pairs.map(|(ours, peer)| [ours[0] / peer[0], ours[1] / peer[1]]);
                (format!("CPU, {}", self.loads[load].name), ratios)
            }
            What::Memory => {
                let ratio = self.peak_kib(ours).zip(self.peak_kib(peer)).map(|(ours, peer)| ours / peer);
                ("peak memory".to_owned(), ratio.map(|ratio| [ratio; 2]))
            }
            What::Loss(load) => return self.loss_bar(load, ours, peer),
        };
        let Some([minima, medians]) = is_met else {
            return format!("| {text} | {name} | | | {at_most} | not measured |");
        };
        format!(
            "| {text} | {name} | {minima:.3} | {medians:.3} | {at_most} | {} |",
            verdict(minima <= at_most)
        )
    }

    /// Nothing may be lost, whatever the peer does; where it loses as little, there is nothing to win.
    fn loss_bar(&self, load: usize, ours: usize, peer: usize) -> String {
        let (name, text) = (self.tools[peer].name, format!("loss, {}", self.loads[load].name));
        let (Some((_, ours)), Some((least, most))) = (self.loss(ours, load), self.loss(peer, load)) else {
            return format!("| {text} | {name} | | | 0 | not measured |");
        };
        let count = self.loads[load].count;
        let theirs = format!("{} to {}", loss(least, count), loss(most, count));
        format!("| {text} | {name} | {} : {theirs} | | 0 | {} |", loss(ours, count), verdict(ours == 0.0))
    }
}

/// A ratio that nsntrace is not to exceed.
struct Bar {
    what: What,
    peer: &'static str,
    at_most: f64,
}

#[derive(Clone, Copy)]
enum What {
    /// Per packet of the load with this index.
    Cpu(usize),
    Loss(usize),
    Memory,
}

const BARS: &[Bar] = &[
    Bar { what: What::Cpu(0), peer: "tcpdump", at_most: 0.45 },
    Bar { what: What::Cpu(0), peer: "dumpcap", at_most: 0.06 },
    Bar { what: What::Cpu(0), peer: "netsniff-ng", at_most: 0.18 },
    Bar { what: What::Cpu(1), peer: "tcpdump", at_most: 0.38 },
    Bar { what: What::Cpu(1), peer: "dumpcap", at_most: 0.28 },
    Bar { what: What::Cpu(1), peer: "netsniff-ng", at_most: 0.48 },
    Bar { what: What::Cpu(2), peer: "tcpdump", at_most: 0.52 },
    Bar { what: What::Cpu(2), peer: "dumpcap", at_most: 0.52 },
    Bar { what: What::Cpu(2), peer: "netsniff-ng", at_most: 0.28 },
    Bar { what: What::Loss(3), peer: "tcpdump", at_most: 0.0 },
    Bar { what: What::Loss(3), peer: "dumpcap", at_most: 0.0 },
    Bar { what: What::Loss(3), peer: "netsniff-ng", at_most: 0.0 },
    Bar { what: What::Memory, peer: "tcpdump", at_most: 0.87 },
    Bar { what: What::Memory, peer: "dumpcap", at_most: 0.80 },
    Bar { what: What::Memory, peer: "netsniff-ng", at_most: 0.25 },
];

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "MISSED" }
}

/// A part of `count` as packets, and in per cent where that says more.
fn loss(part: f64, count: u64) -> String {
    let packets = part * float(count);
    if part < 0.01 { format!("{packets:.0}") } else { format!("{packets:.0} ({:.1} %)", part * 100.0) }
}

#[expect(clippy::cast_precision_loss, reason = "counts of packets and KiB, far below 2^52")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::load::LOADS;
    use super::super::tools;
    use super::*;
    use crate::bench::numbered::Census;

    fn run(cpu_ms: u64, missing: u64, peak_kib: u64) -> Run {
        let census = Census { found: 1000 - missing, missing, is_first_missing: false, others: 0 };
        let sending = Duration::from_millis(10);
        let cpu_before = Duration::from_millis(100);
        Run {
            cpu_before,
            cpu: Duration::from_millis(cpu_ms),
            peak_kib,
            front_peak_kib: None,
            sending,
            census,
        }
    }

    /// nsntrace and tcpdump meet 1000 packets of the first load, and none.
    fn results() -> (Vec<Tool>, [Load; 4], Vec<Cell>) {
        let ours = tools::all(Path::new("/b")).0.remove(0);
        let peer = {
            let mut peer = ours.clone();
            peer.name = "tcpdump";
            peer
        };
        let loads = LOADS.map(|load| Load { count: 1000, ..load });
        let series = |tool, load, runs| Cell { tool, load, runs, failures: Vec::new() };
        let all = vec![
            series(0, 0, vec![run(14, 0, 2048), run(12, 0, 2048), run(30, 0, 4096)]),
            series(0, 4, vec![run(10, 0, 1), run(9, 0, 1), run(99, 0, 1)]),
            series(1, 0, vec![run(12, 500, 4096), run(22, 0, 4096)]),
            series(1, 4, vec![run(2, 0, 1)]),
        ];
        (vec![ours, peer], loads, all)
    }

    #[test]
    fn a_packet_costs_what_no_packets_do_not() {
        let (tools, loads, series) = results();
        let table = tables(&tools, &loads, &series);
        for line in [
            "| 64 B, 200 kpps | nsntrace | 2000 | 4000 | 0 | 0 | 100 |",
            "| 64 B, 200 kpps | tcpdump | 20000 | 20000 | 0 | 500 (50.0 %) | 100 |",
            "| nsntrace | 2.0 | 110.0 |",
            "| CPU, 64 B, 200 kpps | tcpdump | 0.100 | 0.200 | 0.45 | met |",
            "| CPU, 1400 B, 70 kpps | tcpdump | | | 0.38 | not measured |",
            "| loss, 1400 B, unpaced | tcpdump | | | 0 | not measured |",
            "| peak memory | tcpdump | 0.500 | 0.500 | 0.87 | met |",
        ] {
            assert!(table.lines().any(|one| one == line), "no `{line}` in\n{table}");
        }
        assert!(!table.contains("dumpcap | "), "{table}");
    }
}
