//! Outputs that vanish, and readers that do not read.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nsntrace_testkit::{CaptureFile, Lab, Process, Report, Residue, until};

use crate::caller::{Caller, leave};

/// Sends a datagram, waits for a file called `go`, sends another.
const PAUSE: &str = "printf x >/dev/udp/198.51.100.2/9; touch there
until test -e go; do sleep 0.01; done; printf x >/dev/udp/198.51.100.2/9; exit 3";

/// A trace whose program has sent its first datagram.
fn paused(lab: &Lab, caller: Caller, options: &[&str]) -> Process {
    let process = caller.start(lab, &[options, &["bash", "-c", PAUSE]].concat());
    let there = lab.dir.join("there");
    until("it has sent", Duration::from_mins(1), || fs::remove_file(&there).ok());
    process
}

fn go(lab: &Lab) {
    fs::write(lab.dir.join("go"), "").expect("our directory");
}

#[test]
fn a_file_that_is_removed_is_missed() {
    for caller in [Caller::Root, Caller::User] {
        let lab = Caller::lab();
        let before = Residue::of(&lab.host);
        let process = paused(&lab, caller, &["-o", "trace.pcap"]);
        fs::remove_file(lab.dir.join("trace.pcap")).expect("it was made");
        go(&lab);
        // The status is the program's: it has one that says something.
        let finished = process.wait().ended_with(3);
        assert!(finished.stderr.contains("was removed"), "{}", finished.stderr);
        before.assert_same(&lab.host);
    }
}

#[test]
fn a_file_whose_directory_is_removed_is_missed() {
    let lab = Caller::lab();
    let before = Residue::of(&lab.host);
    let folder = lab.dir.join("folder");
    fs::create_dir(&folder).expect("our directory");
    let process = paused(&lab, Caller::Root, &["-o", "folder/trace.pcapng"]);
    fs::remove_dir_all(&folder).expect("it was made");
    go(&lab);
    let finished = process.wait().ended_with(3);
    assert!(finished.stderr.contains("was removed"), "{}", finished.stderr);
    before.assert_same(&lab.host);
}

/// The file is ours by its descriptor. What the program puts in its place stays as it is.
#[test]
fn a_link_in_its_place_is_not_followed() {
    let lab = Caller::lab();
    fs::write(lab.dir.join("precious"), "roots own").expect("our directory");
    let script = "rm trace.pcap && ln -s precious trace.pcap && printf x >/dev/udp/198.51.100.2/9; exit 3";
    let finished =
        Caller::Root.run(&lab, &["-u", "nobody", "-o", "trace.pcap", "bash", "-c", script]).ended_with(3);
    assert!(finished.stderr.contains("was removed"), "{}", finished.stderr);
    assert_eq!(fs::read_to_string(lab.dir.join("precious")).expect("it is there"), "roots own");
    assert!(lab.dir.join("trace.pcap").is_symlink());
}

/// The program may guess how the next file of a series is called, and when it comes.
#[test]
fn links_in_place_of_further_files_and_of_the_report_are_not_followed() {
    let lab = Caller::lab();
    fs::write(lab.dir.join("precious"), "roots own").expect("our directory");
    let script = "rm report.json; ln -s precious report.json
        for second in 0 1 2 3 4 5 6 7 8 9; do
            date=$(date -d \"+$second sec\" +%Y%m%d%H%M%S)
            for number in 2 3 4 5 6; do ln -s precious t_0000${number}_$date.pcap; done
        done
        for n in $(seq 100); do printf %0999d 1 >/dev/udp/198.51.100.2/9; done; exit 3";
    let options = ["-u", "nobody", "-o", "t.pcap", "--file-size", "20K", "--report", "report.json"];
    let finished = Caller::Root.run(&lab, &[&options[..], &["bash", "-c", script]].concat()).ended_with(3);
    assert_eq!(fs::read_to_string(lab.dir.join("precious")).expect("it is there"), "roots own");
    let names = fs::read_dir(lab.dir.path()).expect("our directory").map(|file| file.expect("it").path());
    let is_ours = |path: &PathBuf| path.extension().is_some_and(|name| name == "pcap") && !path.is_symlink();
    let packets: usize =
        names.filter(is_ours).map(|path| CaptureFile::new(&path).tcpdump(&[], "udp dst port 9").len()).sum();
    assert_eq!(packets, 100, "they are in files with other numbers: {}", finished.stderr);
}

/// As a shell's redirection waits for one.
#[test]
fn a_named_pipe_without_a_reader_is_waited_for_and_can_be_left() {
    for (signal, status) in [(2, 130), (15, 143)] {
        let lab = Caller::lab();
        let before = Residue::of(&lab.host);
        lab.host.sh(&format!("mkfifo -m 666 {}", lab.dir.join("pipe").display()));
        let process = Caller::User.start(&lab, &["-o", "pipe", "touch", "started"]);
        until("it waits", Duration::from_mins(1), || {
            let wchan = fs::read_to_string(format!("/proc/{}/syscall", process.pid())).ok()?;
            // openat(2) of x86_64.
            wchan.starts_with("257 ").then_some(())
        });
        process.signal(signal);
        process.wait().ended_with(status);
        assert!(!lab.dir.join("started").exists());
        before.assert_same(&lab.host);
    }
}

/// A trace into a named pipe, whose reader has stopped to read. The program fetches far more than a pipe holds.
fn into_a_stopped_reader(lab: &Lab, caller: Caller) -> (Process, Process) {
    lab.host.sh(&format!("mkfifo -m 666 {}", lab.dir.join("pipe").display()));
    let mut reader = Command::new("sh");
    reader.args(["-c", "exec cat pipe >read.pcap"]).current_dir(lab.dir.path());
    let reader = lab.host.spawn(reader);
    let script = "until test -e go; do sleep 0.01; done
        curl -s -o /dev/null http://198.51.100.2/bytes/5000000; touch fetched";
    let process = caller.start(lab, &["-o", "pipe", "bash", "-c", script]);
    until("there is a reader", Duration::from_mins(1), || {
        (fs::metadata(lab.dir.join("read.pcap")).ok()?.len() > 0).then_some(())
    });
    reader.signal(SIGSTOP);
    go(lab);
    let fetched = lab.dir.join("fetched");
    until("the program is done all the same", Duration::from_mins(1), || fetched.exists().then_some(()));
    (process, reader)
}

#[test]
fn a_reader_that_stops_and_goes_on_gets_everything() {
    for caller in [Caller::Root, Caller::User] {
        let lab = Caller::lab();
        let before = Residue::of(&lab.host);
        let (process, reader) = into_a_stopped_reader(&lab, caller);
        reader.signal(SIGCONT);
        let finished = process.wait().succeeded();
        reader.wait().succeeded();
        let report = Report::new(finished, &lab.dir.join("read.pcap"));
        let bytes: u64 =
            report.file.field("tcp.srcport == 80", "tcp.len").iter().map(|len| number(len)).sum();
        assert!(bytes >= 5_000_000 || !report.notes.is_empty(), "{bytes} and no word of a loss");
        before.assert_same(&lab.host);
    }
}

fn number(text: &str) -> u64 {
    text.parse().expect("tshark prints a number")
}

#[test]
fn a_reader_that_never_goes_on_can_be_left() {
    let lab = Caller::lab();
    let before = Residue::of(&lab.host);
    let (process, reader) = into_a_stopped_reader(&lab, Caller::Root);
    let finished = leave(process).ended_with(125);
    assert!(finished.stderr.contains("the capture is not complete"), "{}", finished.stderr);
    // What is in the pipe can still be read, to a whole record.
    reader.signal(SIGCONT);
    reader.wait().succeeded();
    assert!(CaptureFile::new(&lab.dir.join("read.pcap")).tcpdump(&[], "tcp").len() > 10);
    before.assert_same(&lab.host);
}

const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;
