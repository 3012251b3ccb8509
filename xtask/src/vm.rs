//! `vm-test`: the static binary under kernels that are not this machine's, in a system that has nothing else.
//!
//! # Theory of operation
//! Debian's kernels for cloud machines, of every series that its server has (the oldest and the newest, unless all are wanted), are booted by
//! qemu, which emulates the processor, so that no hardware and no privilege is needed. The
//! initramfs is ours: the binary, busybox, the modules that a trace needs, and `vm/init.sh`, which makes a host with an
//! uplink, traces, and prints what the traces hold. They are judged out here, by tshark. Packages are fetched once and
//! kept in the target folder, under `vm`; who wants newer ones deletes it.
//!
//! An emulator on x86_64 does not reorder as an arm64 processor may: that the handing over of blocks is right there is argued, and checked, in
//! `crates/sys/src/handover.rs`. What is shown here is that what we ask of the kernel means the same on both.

mod boot;
mod burst_program;
mod cpio;
mod initramfs;
mod kernels;
mod lacks;
mod machine;
mod modules;
mod packages;
mod verdict;

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use crate::apt::Apt;
use crate::process::Result;
use crate::workspace::Workspace;
use crate::{dist, tools};
use kernels::Kernel;
use machine::{MACHINES, Machine};
use packages::System;

/// `vm-test [x86_64|aarch64] [--all] [--runs N]`.
pub(crate) fn run(words: &[&str]) -> Result {
    let wanted = Wanted::parse(words)?;
    for machine in &wanted.machines {
        check_tools(machine)?;
    }
    let workspace = Workspace::load()?;
    let _native = dist::run()?;
    for machine in &wanted.machines {
        let folder = workspace.target.join("vm").join(machine.arch);
        fs::create_dir_all(&folder)?;
        let apt = Apt::new(&folder, machine.debian, kernels::RELEASES)?;
        let fetch = |kernel: &Kernel| packages::fetch(&folder.join(&kernel.series), kernel, &apt);
        let systems = wanted.pick(&kernels::offered(&folder, machine, &apt)?, fetch)?;
        for system in &systems {
            test(&workspace, machine, system, &wanted)?;
        }
    }
    Ok(())
}

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    machines: Vec<&'static Machine>,
    all: bool,
    runs: u32,
}

impl Wanted {
    fn parse(words: &[&str]) -> Result<Self> {
        let mut wanted = Self { machines: MACHINES.iter().collect(), all: false, runs: DEFAULT_RUNS };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--all" => wanted.all = true,
                "--runs" => wanted.runs = parse_runs(words.next().ok_or(USAGE)?)?,
                arch => wanted.machines.retain(|machine| machine.arch == arch),
            }
        }
        if wanted.machines.is_empty() { Err(USAGE.into()) } else { Ok(wanted) }
    }

    /// All kernels that can be had, or the oldest and the newest of them.
    fn pick<T>(&self, kernels: &[Kernel], fetch: impl Fn(&Kernel) -> Result<Option<T>>) -> Result<Vec<T>> {
        let mut systems = kernels.iter().filter_map(|kernel| fetch(kernel).transpose());
        let systems: Vec<_> = if self.all {
            systems.collect::<Result<_>>()?
        } else {
            let oldest = systems.next();
            oldest.into_iter().chain(systems.next_back()).collect::<Result<_>>()?
        };
        if systems.is_empty() { Err("no kernel can be had".into()) } else { Ok(systems) }
    }
}

fn parse_runs(text: &str) -> Result<u32> {
    let count = text.parse().ok().filter(|count| (1..=MAX_RUNS).contains(count));
    Ok(count.ok_or_else(|| format!("`{text}` is not a number of runs from 1 to {MAX_RUNS}"))?)
}

fn test(workspace: &Workspace, machine: &Machine, system: &System, wanted: &Wanted) -> Result {
    println!("== Linux {} on {}", system.release, machine.arch);
    let folder = &system.folder;
    let nsntrace = binary(workspace, machine)?;
    let burst = burst_program::build(workspace, folder, machine)?;
    let initramfs = folder.join("initramfs");
    fs::write(&initramfs, initramfs::make(system, &nsntrace, &burst, wanted.runs)?)?;
    let began = Instant::now();
    let console = boot::run(folder, machine, &system.kernel, &initramfs, wanted.runs)?;
    let took = began.elapsed();
    let judged = verdict::judge(system, folder, &console, wanted.runs);
    let judged = judged.map_err(|error| format!("{error}\nhint: see {}", console.display()))?;
    println!("Linux {}: {judged} ({:.1} s)", system.release, took.as_secs_f64());
    Ok(())
}

/// What `dist` made for the machine.
fn binary(workspace: &Workspace, machine: &Machine) -> Result<PathBuf> {
    let product = workspace.product()?;
    let name = format!("{}-{}-{}", product.name, product.version, machine.triple);
    let path = workspace.target.join("dist").join(name);
    if path.exists() { Ok(path) } else { Err(format!("dist made no {}", path.display()).into()) }
}

fn check_tools(machine: &Machine) -> Result {
    let needed = TOOLS.iter().copied().chain([(machine.qemu, machine.qemu_package)]);
    let (names, packages): (Vec<_>, Vec<_>) = needed.filter(|(name, _)| tools::find(name).is_none()).unzip();
    if names.is_empty() {
        return Ok(());
    }
    let (names, packages) = (names.join(", "), packages.join(" "));
    Err(format!("vm-test needs what is not here: {names}\nhint: apt-get install {packages}").into())
}

/// A program that we run, and the Debian package that has it.
const TOOLS: &[(&str, &str)] = &[
    ("apt-get", "apt"),
    ("base64", "coreutils"),
    ("busybox", "busybox-static"),
    ("dpkg-deb", "dpkg"),
    ("tar", "tar"),
    ("tshark", "tshark"),
];
/// How many programs send and exit at once.
const DEFAULT_RUNS: u32 = 50;
/// The guest keeps every trace in its memory.
const MAX_RUNS: u32 = 5000;
const USAGE: &str = "usage: cargo xtask vm-test [x86_64|aarch64] [--all] [--runs N]";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: &[&str], expected: Option<(&[&str], u32)>) {
        let wanted = Wanted::parse(words).ok();
        let seen = wanted.map(|wanted| {
            (wanted.machines.iter().map(|machine| machine.arch).collect::<Vec<_>>(), wanted.runs)
        });
        assert_eq!(seen, expected.map(|(arches, runs)| (arches.to_vec(), runs)), "{words:?}");
    }

    #[test]
    fn both_machines_are_tested_unless_one_is_named() {
        check(&[], Some((&["x86_64", "aarch64"], 50)));
        check(&["--runs", "7"], Some((&["x86_64", "aarch64"], 7)));
        check(&["aarch64"], Some((&["aarch64"], 50)));
        check(&["x86_64", "--runs", "5000"], Some((&["x86_64"], 5000)));
    }

    #[test]
    fn the_oldest_and_the_newest_kernel_are_tested_unless_all_are_wanted() {
        let kernel = |series: &&str| Kernel { series: (*series).to_owned(), images: Vec::new() };
        let series = |words: &[&str], all: &[&str]| {
            let kernels: Vec<_> = all.iter().map(kernel).collect();
            // Those that end so the server has no longer.
            let fetch =
                |kernel: &Kernel| Ok(Some(kernel.series.clone()).filter(|series| !series.ends_with('-')));
            Wanted::parse(words).unwrap().pick(&kernels, fetch).unwrap_or_default()
        };
        assert_eq!(series(&[], &["5.10", "6.1", "6.12", "7.3"]), ["5.10", "7.3"]);
        assert_eq!(series(&[], &["5.10-", "6.1", "6.12", "7.3-"]), ["6.1", "6.12"]);
        assert_eq!(series(&[], &["6.1", "6.12-"]), ["6.1"]);
        assert_eq!(series(&["x86_64", "--all"], &["5.10", "6.1", "6.12-", "7.3"]), ["5.10", "6.1", "7.3"]);
        assert!(series(&["--all"], &["5.10-"]).is_empty());
    }

    #[test]
    fn other_words_are_refused() {
        for words in
            [&["riscv64"][..], &["--runs"], &["--runs", "0"], &["--runs", "5001"], &["x86_64", "--runs"]]
        {
            check(words, None);
        }
        check(&["x86_64", "aarch64"], None);
    }
}
