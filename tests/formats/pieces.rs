//! The beginning of a file, whose writer was killed; and what a reader says who is given a wrong one.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nsntrace_testkit::{Lab, Plan, until, worker_of};

use crate::blocks::Blocks;
use crate::sender::{send, trace};

#[test]
fn what_a_killed_recorder_leaves_is_read_as_far_as_it_goes() {
    let lab = Lab::new(&Plan::default());
    for file in ["a.pcapng", "a.pcap", "a.pcapng.gz", "a.pcap.gz"] {
        let path = lab.dir.join(file);
        let process = lab.start(&[&["-o", file][..], &send("100000", "1")].concat());
        let is_begun = || fs::metadata(&path).is_ok_and(|file| file.len() > 20_000).then_some(());
        until("some are in the file", Duration::from_mins(1), is_begun);
        worker_of(process.pid()).expect("it runs").signal(9);
        process.signal(15);
        process.wait();
        let blocks = Blocks::of_torn(&path);
        let numbers = blocks.numbers();
        assert!(
            numbers.len() > 20 && numbers.iter().copied().eq(0..numbers.len() as u64),
            "{file}: {numbers:?}"
        );
        assert_eq!(tshark_counts(&path), blocks.packets().len(), "{file}");
    }
}

/// tshark complains of what is cut, and prints what is before.
fn tshark_counts(path: &Path) -> usize {
    let mut command = std::process::Command::new("tshark");
    command.args(["-n", "-T", "fields", "-e", "frame.number", "-r"]).arg(path);
    let output = command.output().expect("tshark is there");
    String::from_utf8(output.stdout).expect("UTF-8").lines().count()
}

/// The reader that the other tests trust: a file with a byte changed is refused, wherever that matters, or says something else.
#[test]
fn a_byte_that_is_changed_is_noticed() {
    let lab = Lab::new(&Plan::default());
    trace(&lab, &[&["-o", "a.pcapng", "-c", "2", "-f", "udp dst port 9"][..], &send("9", "0")].concat());
    let whole = fs::read(lab.dir.join("a.pcapng")).expect("it was made");
    let right = Blocks::of(&lab.dir.join("a.pcapng"));
    let wrong = lab.dir.join("wrong.pcapng");
    let mut refused = 0;
    for at in (0..whole.len()).step_by(29) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        fs::write(&wrong, &bytes).expect("our directory");
        match Blocks::read(&[&wrong]) {
            Ok(blocks) => assert!(blocks.all() != right.all(), "byte {at} means nothing"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 10, "{refused} of {}", whole.len() / 29);
    fs::write(&wrong, &whole[..whole.len() - 1]).expect("our directory");
    assert!(Blocks::refusal(&wrong).contains("ends within the block"));
}
