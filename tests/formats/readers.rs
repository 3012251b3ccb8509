//! Everybody else who reads capture files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nsntrace_testkit::{CaptureFile, Finished, Process};

use crate::blocks::{Blocks, Packet};

/// Has everybody read a file, and holds what each finds against its blocks.
#[track_caller]
pub(crate) fn agree(path: &Path, blocks: &Blocks) {
    let packets = blocks.packets();
    assert_eq!(CaptureFile::new(path).packets(), packets.len() as u64, "capinfos");
    assert_eq!(seen_by_tshark(path), rows(&packets), "tshark");
    assert_eq!(seen_by_tcpdump(path), stamps(&packets), "tcpdump");
    converted_by_editcap(path, &packets);
    passed_on_by_dumpcap(path, &packets);
    if blocks.is_pcapng() {
        described_by_capinfos(path, blocks);
    }
}

/// Time stamp, captured and original length.
fn rows(packets: &[Packet]) -> Vec<String> {
    let row = |one: &Packet| format!("{}\t{}\t{}", stamp(one.ns), one.bytes.len(), one.original_len);
    packets.iter().map(row).collect()
}

fn stamps(packets: &[Packet]) -> Vec<String> {
    packets.iter().map(|one| stamp(one.ns)).collect()
}

fn stamp(ns: u64) -> String {
    format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}

fn seen_by_tshark(path: &Path) -> Vec<String> {
    let fields = ["-T", "fields", "-e", "frame.time_epoch", "-e", "frame.cap_len", "-e", "frame.len"];
    let finished = run(Command::new("tshark").args(["-n", "-r"]).arg(path).args(fields)).succeeded();
    complaints(&finished);
    finished.text().lines().map(str::to_owned).collect()
}

/// tcpdump does not unpack.
fn seen_by_tcpdump(path: &Path) -> Vec<String> {
    let plain = plain(path);
    let finished = run(Command::new("tcpdump").args(["-nn", "-tt", "--nano", "-r"]).arg(&plain)).succeeded();
    complaints(&finished);
    let is_first = |line: &&str| line.starts_with(|c: char| c.is_ascii_digit());
    let first_word = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    finished.text().lines().filter(is_first).map(first_word).collect()
}

/// To classic pcap and back into pcapng, where packets are what they were.
#[track_caller]
fn converted_by_editcap(path: &Path, packets: &[Packet]) {
    for format in ["nsecpcap", "pcapng"] {
        let copy = beside(path, format);
        run(Command::new("editcap").args(["-F", format]).arg(path).arg(&copy)).succeeded();
        if format == "nsecpcap" {
            let bare = |one: &Packet| Packet { interface: None, dropped_before: 0, ..one.clone() };
            let expected: Vec<_> = packets.iter().map(bare).collect();
            assert!(Blocks::of(&copy).packets() == expected, "editcap -F {format} {}", path.display());
        }
        assert_eq!(CaptureFile::new(&copy).packets(), packets.len() as u64, "editcap -F {format}");
        fs::remove_file(copy).expect("it was made");
    }
}

/// From a pipe: dumpcap reads as a capture goes on.
#[track_caller]
fn passed_on_by_dumpcap(path: &Path, packets: &[Packet]) {
    let copy = beside(path, "dumpcap");
    let mut cat = Command::new("cat").arg(plain(path)).stdout(Stdio::piped()).spawn().expect("cat is there");
    let pipe = cat.stdout.take().expect("a pipe");
    let finished = run(Command::new("dumpcap").args(["-q", "-i", "-", "-w"]).arg(&copy).stdin(pipe));
    cat.wait().expect("our child");
    let finished = finished.succeeded();
    assert_eq!(seen_by_tshark(&copy), rows(packets), "dumpcap: {}", finished.stderr);
    fs::remove_file(copy).expect("it was made");
}

/// What the file says of itself, as capinfos prints it.
#[track_caller]
fn described_by_capinfos(path: &Path, blocks: &Blocks) {
    let said = CaptureFile::new(path).capinfos(&["-M"]);
    let lines: Vec<_> = said.lines().map(str::trim).collect();
    let section = &blocks.all()["section"];
    let expect = |label: &str, value: &serde_json::Value| {
        let line = format!("{label}{}", value.as_str().expect("a text"));
        assert!(lines.contains(&line.as_str()), "no {line:?} in\n{said}");
    };
    expect("Capture hardware:    ", &section["hardware"]);
    expect("Capture oper-sys:    ", &section["os"]);
    expect("Capture application: ", &section["application"]);
    for interface in crate::blocks::list(&blocks.all()["interfaces"]) {
        expect("Name = ", &interface["name"]);
        expect("Description = ", &interface["description"]);
        if !interface["filter"].is_null() {
            expect("Filter string = ", &interface["filter"]);
        }
        let counted = format!("Number of packets = {}", interface["packets"]);
        assert!(lines.contains(&counted.as_str()), "no {counted:?} in\n{said}");
    }
    assert_eq!(lines.iter().filter(|line| **line == "Number of stat entries = 1").count(), 2, "{said}");
}

/// What readers print when something is not right, though they go on.
#[track_caller]
fn complaints(finished: &Finished) {
    for word in ["cut short", "truncated", "damaged", "invalid", "isn't", "unknown"] {
        assert!(!finished.stderr.contains(word), "{}", finished.stderr);
    }
}

fn plain(path: &Path) -> PathBuf {
    if path.extension().is_none_or(|extension| extension != "gz") {
        return path.to_owned();
    }
    let copy = beside(path, "plain");
    let unpacked = File::create(&copy).expect("our directory");
    let status = Command::new("zcat").arg(path).stdout(unpacked).status().expect("zcat is there");
    assert!(status.success(), "zcat {}", path.display());
    copy
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let name = path.file_name().expect("a file").to_string_lossy();
    path.with_file_name(format!("read-{name}.{suffix}"))
}

fn run(command: &mut Command) -> Finished {
    let program = command.get_program().to_owned();
    let mut same = Command::new(program);
    std::mem::swap(&mut same, command);
    Process::spawn(same).wait()
}
