//! What worker may do while a trace runs: every thread of it, in both transports. And what the program may do to worker.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use nsntrace_testkit::{Lab, Process, program_of, until, worker_of};

use crate::caller::Caller;

/// Starts a trace, and waits until its program runs.
fn running(caller: Caller, lab: &Lab, options: &[&str]) -> Process {
    let process = caller.start(lab, &[options, &["-o", "trace.pcap", "sleep", "60"]].concat());
    until("the program runs", Duration::from_mins(1), || program_of(process.pid()));
    process
}

/// What procfs says of every thread of worker, each different thing once.
fn said_of_worker(process: &Process, field: &str) -> Vec<String> {
    let worker = worker_of(process.pid()).expect("the program runs, so worker does").pid;
    let threads = fs::read_dir(format!("/proc/{worker}/task")).expect("it lives").flatten();
    let status = threads.map(|thread| fs::read_to_string(thread.path().join("status")).expect("it lives"));
    let values = status.filter_map(|text| {
        let (_, value) =
            text.lines().find_map(|line| line.split_once(':').filter(|(name, _)| *name == field))?;
        Some(value.trim().to_owned())
    });
    values.collect::<BTreeSet<_>>().into_iter().collect()
}

fn check(caller: Caller, options: &[&str], capabilities: u64) {
    let lab = Caller::lab();
    let process = running(caller, &lab, options);
    let expected = format!("{capabilities:016x}");
    for (field, expected) in [
        ("CapEff", expected.as_str()),
        ("CapPrm", &expected),
        ("CapInh", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ] {
        assert_eq!(said_of_worker(&process, field), [expected], "{field}");
    }
    process.signal(15);
    process.wait().ended_with(143);
}

#[test]
fn worker_by_nat_keeps_two_capabilities() {
    check(Caller::Root, &[], KILL | NET_ADMIN);
}

#[test]
fn worker_by_nat_keeps_one_more_for_further_files() {
    check(Caller::Root, &["--file-size", "1M"], KILL | NET_ADMIN | DAC_OVERRIDE);
}

#[test]
fn worker_by_nat_keeps_one_more_for_a_private_file() {
    check(Caller::Root, &["--tls-keys", "--format", "pcapng"], KILL | NET_ADMIN | FOWNER);
}

#[test]
fn worker_by_proxy_keeps_four_over_its_own_namespaces() {
    check(Caller::User, &[], KILL | NET_ADMIN | NET_RAW | NET_BIND_SERVICE | DAC_OVERRIDE);
}

/// Front and worker are nobody's but the kernel's to look into.
fn check_out_of_reach(caller: Caller, options: &[&str]) {
    let lab = Caller::lab();
    fs::write(lab.dir.join("reach.py"), REACH).expect("our directory");
    let program = ["-o", "trace.pcap", "/usr/bin/python3", "-I", "-S", "reach.py"];
    let finished = caller.run(&lab, &[options, &program].concat()).succeeded();
    assert_eq!(finished.text(), "ports of ours 0\nrefused 14\n");
}

#[test]
fn a_program_of_another_user_cannot_reach_us() {
    check_out_of_reach(Caller::Root, &["-u", "nobody"]);
}

#[test]
fn a_program_of_the_same_user_cannot_reach_us_either() {
    check_out_of_reach(Caller::User, &[]);
}

const REACH: &str = include_str!("reach.py");

// include/uapi/linux/capability.h
const DAC_OVERRIDE: u64 = 1 << 1;
const FOWNER: u64 = 1 << 3;
const KILL: u64 = 1 << 5;
const NET_BIND_SERVICE: u64 = 1 << 10;
const NET_ADMIN: u64 = 1 << 12;
const NET_RAW: u64 = 1 << 13;
