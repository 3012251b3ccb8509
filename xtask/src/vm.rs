//! `vm-test`: the static binary under kernels that are not this machine's, in a system that has nothing else.
//!
//! # Theory of operation
//! Debian's kernel for cloud machines is booted by qemu, which emulates the processor, so that no hardware and no privilege is needed. The
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
mod machine;
mod modules;
mod packages;
mod verdict;

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use crate::process::Result;
use crate::workspace::Workspace;
use crate::{dist, tools};
use machine::{MACHINES, Machine};

/// `vm-test [x86_64|aarch64] [--runs N]`.
pub(crate) fn run(words: &[&str]) -> Result {
    let wanted = Wanted::parse(words)?;
    for machine in &wanted.machines {
        check_tools(machine)?;
    }
    let workspace = Workspace::load()?;
    let _native = dist::run()?;
    for machine in &wanted.machines {
        test(&workspace, machine, wanted.runs)?;
    }
    Ok(())
}

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    machines: Vec<&'static Machine>,
    runs: u32,
}

impl Wanted {
    fn parse(words: &[&str]) -> Result<Self> {
        let (arch, runs) = match words {
            [] => (None, DEFAULT_RUNS),
            ["--runs", count] => (None, parse_runs(count)?),
            [arch] => (Some(*arch), DEFAULT_RUNS),
            [arch, "--runs", count] => (Some(*arch), parse_runs(count)?),
            _ => return Err(USAGE.into()),
        };
        let machines: Vec<_> =
            MACHINES.iter().filter(|machine| arch.is_none_or(|arch| machine.arch == arch)).collect();
        if machines.is_empty() { Err(USAGE.into()) } else { Ok(Self { machines, runs }) }
    }
}

fn parse_runs(text: &str) -> Result<u32> {
    let count = text.parse().ok().filter(|count| (1..=MAX_RUNS).contains(count));
    Ok(count.ok_or_else(|| format!("`{text}` is not a number of runs from 1 to {MAX_RUNS}"))?)
}

fn test(workspace: &Workspace, machine: &Machine, runs: u32) -> Result {
    println!("== {}", machine.arch);
    let folder = workspace.target.join("vm").join(machine.arch);
    fs::create_dir_all(&folder)?;
    let system = packages::fetch(&folder, machine)?;
    let nsntrace = binary(workspace, machine)?;
    let burst = burst_program::build(workspace, &folder, machine)?;
    let initramfs = folder.join("initramfs");
    fs::write(&initramfs, initramfs::make(&system, &nsntrace, &burst, runs)?)?;
    let began = Instant::now();
    let console = boot::run(&folder, machine, &system.kernel, &initramfs, runs)?;
    let took = began.elapsed();
    let judged = verdict::judge(&folder, &console, runs);
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
const DEFAULT_RUNS: u32 = 100;
/// The guest keeps every trace in its memory.
const MAX_RUNS: u32 = 5000;
const USAGE: &str = "usage: cargo xtask vm-test [x86_64|aarch64] [--runs N]";

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
        check(&[], Some((&["x86_64", "aarch64"], 100)));
        check(&["--runs", "7"], Some((&["x86_64", "aarch64"], 7)));
        check(&["aarch64"], Some((&["aarch64"], 100)));
        check(&["x86_64", "--runs", "5000"], Some((&["x86_64"], 5000)));
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
