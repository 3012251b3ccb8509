//! A disk that becomes full, under every kind of file: what is on it is whole, and what found no room is told.

use std::fs;
use std::path::{Path, PathBuf};

use nsntrace_testkit::{CaptureFile, Lab, Report, Residue};

use crate::caller::Caller;

/// What is written, and to a disk of which size.
type Kind = (&'static str, &'static str, &'static [&'static str]);

/// A disk that everybody may write to.
fn disk_of(lab: &Lab, size: &str) -> PathBuf {
    let disk = lab.dir.join("disk");
    lab.host.sh(&format!("mkdir -p {0}; mount -t tmpfs -o mode=777,size={size} tmpfs {0}", disk.display()));
    disk
}

/// The files on the disk, which the machine alone sees, copied to where we read them; and the disk is gone.
fn take(lab: &Lab, disk: &Path, name: &str) -> Vec<CaptureFile> {
    let copy = lab.dir.join(name);
    lab.host.sh(&format!("mkdir {1}; cp {0}/* {1}; umount {0}", disk.display(), copy.display()));
    let mut paths: Vec<_> =
        fs::read_dir(copy).expect("just made").map(|file| file.expect("it").path()).collect();
    paths.sort();
    paths.iter().map(|path| CaptureFile::new(path)).collect()
}

/// How many packets were lost, as we say.
fn lost(report: &Report) -> u64 {
    let line = report.notes.iter().find(|line| line.contains("captured but not written"));
    let line = line.unwrap_or_else(|| panic!("no word of a loss: {:?}", report.notes));
    line.split(' ').find_map(|word| word.parse().ok()).expect("a number")
}

#[track_caller]
fn check(caller: Caller) {
    let lab = Caller::lab();
    let before = Residue::of(&lab.host);
    for (number, (name, size, options)) in KINDS.iter().enumerate() {
        let told = format!("{name} {options:?}");
        let disk = disk_of(&lab, size);
        let path = disk.join(name);
        let output = ["-o", path.to_str().expect("a plain path")];
        // The program is fine, the file is not: 125 where the program says 0.
        let finished = caller.run(&lab, &[&output[..], options, PROGRAM].concat()).ended_with(125);
        assert_eq!(finished.text(), "sent\n", "{told}: the program ran on");
        assert!(finished.stderr.contains("No space left on device"), "{told}: {}", finished.stderr);
        let report = Report::parse(finished, &path);
        let packets: u64 = take(&lab, &disk, &number.to_string()).iter().map(CaptureFile::packets).sum();
        assert_eq!(packets, report.packets, "{told}: as many as we say, and no half one");
        assert!(packets > 0 && lost(&report) > 0, "{told}: {:?}", report.notes);
    }
    before.assert_same(&lab.host);
}

#[test]
fn by_nat() {
    check(Caller::Root);
}

#[test]
fn by_proxy() {
    check(Caller::User);
}

/// Sends more than there is room for, in bytes that nobody can compress.
const SENDER: &str = "import os, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('198.51.100.2', 9))
for n in range(3000): s.send(os.urandom(1400))
print('sent', flush=True)";
const PROGRAM: &[&str] = &["/usr/bin/python3", "-I", "-S", "-c", SENDER];

/// Past the page cache pieces of 1 MiB are written, and what comes together is kept together: with one of these or of gzip's it takes more room.
const KINDS: &[Kind] = &[
    ("x.pcap", "2m", &[]),
    ("x.pcapng", "2m", &[]),
    ("x.pcap", "2m", &["--direct"]),
    ("x.pcapng", "2m", &["--direct"]),
    ("x.pcap.gz", "2m", &[]),
    ("x.pcapng.gz", "2m", &[]),
    ("x.pcap", "2m", &["--file-size", "200K"]),
    ("x.pcapng.gz", "2m", &["--file-size", "200K"]),
    ("x.pcapng", "2m", &["--file-size", "1900K", "--file-count", "2"]),
];
