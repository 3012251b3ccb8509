//! Every setting of the machine, as `sysctl -a` has it, before and after: by both transports, ended well and killed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nsntrace_testkit::{Lab, program_of, until, within, worker_of};

use crate::caller::Caller;

type Settings = BTreeMap<String, String>;

fn settings(lab: &Lab) -> Settings {
    let text = lab.host.sh("sysctl -a 2>/dev/null || true");
    text.lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

fn changed(old: &Settings, new: &Settings) -> BTreeSet<String> {
    let names = old.keys().chain(new.keys());
    names.filter(|name| old.get(*name) != new.get(*name)).cloned().collect()
}

/// What the kernel counts, draws or measures is no setting, though it is called one.
fn is_counter(name: &str) -> bool {
    ["kernel.random.", "fs.dentry-", "fs.inode-", "fs.file-nr", "fs.aio-nr", "fs.quota."]
        .iter()
        .any(|start| name.starts_with(start))
        || ["kernel.ns_last_pid", "kernel.pty.nr", "kernel.perf_event_max_sample_rate", "kernel.tainted"]
            .contains(&name)
        || name.ends_with("nf_conntrack_count")
        || name.ends_with("_detect_count")
}

#[track_caller]
fn check_same(lab: &Lab, before: &Settings) {
    let mut left = BTreeSet::new();
    let same = within(Duration::from_mins(1), || {
        left = changed(before, &settings(lab));
        left.retain(|name| !is_counter(name));
        left.is_empty().then_some(())
    });
    assert!(same.is_some(), "{left:?}");
}

#[test]
fn are_as_they_were() {
    let lab = Caller::lab();
    let before = settings(&lab);
    assert!(before.len() > 500 && before.contains_key("net.ipv4.conf.up0.forwarding"), "{before:?}");
    for caller in [Caller::Root, Caller::User] {
        let output = format!("{caller:?}.pcap");
        let options = ["-q", "-o", &output];
        caller.run(&lab, &[&options[..], &["curl", "-s", "http://198.51.100.2/"]].concat()).succeeded();
        check_same(&lab, &before);
        let process = caller.start(&lab, &[&options[..], &["sleep", "60"]].concat());
        let front = process.pid();
        let worker = until("the program runs", Duration::from_mins(1), || {
            program_of(front).and_then(|_program| worker_of(front))
        });
        if caller == Caller::Root {
            assert_ne!(changed(&before, &settings(&lab)), BTreeSet::new(), "something is borrowed");
        }
        worker.signal(SIGKILL);
        process.signal(SIGKILL);
        process.wait().ended_with(137);
        caller.run(&lab, &[&options[..], &["true"]].concat()).succeeded();
        check_same(&lab, &before);
    }
}

const SIGKILL: i32 = 9;
