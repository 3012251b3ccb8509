//! Where the report goes.

use std::fs;
use std::process::Stdio;

use nsntrace_testkit::{Finished, Lab, Plan};

/// Runs a bash script on the host in the test's directory, `$NT` being nsntrace.
fn bash(lab: &Lab, script: &str) -> Finished {
    let mut command = std::process::Command::new("bash");
    command.args(["-c", script]).current_dir(lab.dir.path());
    command.env("NT", nsntrace_testkit::nsntrace()).stdin(Stdio::null());
    lab.host.spawn(command).wait()
}

const SCHEMA: &str = "jq -r .schema";

#[test]
fn it_goes_where_it_is_told_to() {
    let lab = Lab::new(&Plan::default());
    for script in [
        format!("$NT -q --report /dev/stdout true | {SCHEMA}"),
        format!("$NT -q --report - true | {SCHEMA}"),
        format!("mkfifo p; {SCHEMA} <p & $NT -q --report p true; wait"),
        format!("$NT -q --report r.json true; {SCHEMA} <r.json"),
        format!("yes | head -c 99999 >r.json; $NT -q --report r.json true; {SCHEMA} <r.json"),
        format!("$NT -q --report /dev/fd/3 true 3>r.json; {SCHEMA} <r.json"),
    ] {
        let finished = bash(&lab, &script).succeeded();
        assert_eq!(
            (finished.text().as_str(), finished.stderr.as_str()),
            ("nsntrace-report\n", ""),
            "{script}"
        );
    }
}

/// What the program and others say into the same file stays.
#[test]
fn it_stands_behind_what_was_said_before() {
    let lab = Lab::new(&Plan::default());
    for path in ["-", "/dev/stdout"] {
        let script = format!("(echo before; $NT -q --report {path} echo program; echo behind) >log; cat log");
        let text = bash(&lab, &script).succeeded().text();
        assert!(text.starts_with("before\nprogram\n{\n") && text.ends_with("\n}\nbehind\n"), "{text}");
    }
    let text = bash(&lab, "$NT --report /dev/stderr echo program 2>log; cat log").succeeded().text();
    assert!(text.contains("Starting network trace of 'echo'") && text.contains("\"schema\""), "{text}");
}

#[test]
fn what_cannot_be_written_to_is_told_before_anything_is_touched() {
    let lab = Lab::new(&Plan::default());
    lab.host.sh(&format!("cd {}; mkdir d; echo old >old.json", lab.dir.path().display()));
    for (options, words) in [
        ("-o a.pcap --report nowhere/r", "cannot write to 'nowhere/r': No such file"),
        ("-o a.pcap --report d", "cannot write to 'd': Is a directory"),
        ("-o nowhere/a.pcap --report r.json", "cannot write to 'nowhere/a.pcap'"),
        ("-o a.pcap --report a.pcap", "packets and the report cannot go to the same file"),
        ("-o - --report -", "packets and the report cannot go to the same file"),
        ("-o - --report /dev/stdout", "packets and the report cannot go to the same file"),
        ("-o a.pcap --report r.json -d nodev", "unknown device"),
        ("-o a.pcap --report old.json -d nodev", "unknown device"),
    ] {
        let finished = bash(&lab, &format!("$NT {options} touch started | cat; exit ${{PIPESTATUS[0]}}"))
            .ended_with(125);
        assert!(finished.stderr.contains(words), "{options}: {}", finished.stderr);
        let left = lab.host.sh(&format!("ls {}", lab.dir.path().display()));
        assert!(
            !left.contains("started") && !left.contains("a.pcap") && !left.contains("r.json"),
            "{options}: {left}"
        );
    }
    assert_eq!(fs::read_to_string(lab.dir.join("old.json")).expect("it is there"), "old\n");
}

/// The trace is complete, its status says that something is not.
#[test]
fn a_report_that_finds_no_room_is_told() {
    let lab = Lab::new(&Plan::default());
    let finished = bash(&lab, "$NT --report /dev/full ping -q -c1 198.51.100.2").ended_with(125);
    assert!(
        finished.stderr.contains("cannot write the report: No space left on device"),
        "{}",
        finished.stderr
    );
    assert_eq!(nsntrace_testkit::CaptureFile::new(&lab.dir.join("nsntrace.pcap")).count("icmp"), 2);
}
