//! Files that a trace ended with, each kind by NAT and by proxy.

use nsntrace_testkit::{Lab, Plan};

use crate::blocks::{Blocks, list, texts};
use crate::readers;
use crate::sender::{bash, send, series, trace};

/// How a trace is called, and what of it is in the file.
struct Kind {
    file: &'static str,
    options: &'static [&'static str],
    /// Which of the numbers 0 to 99 are to be in the file.
    has: fn(u64) -> bool,
}

const ALL: fn(u64) -> bool = |_| true;

const KINDS: [Kind; 11] = [
    Kind { file: "a.pcap", options: &[], has: ALL },
    Kind { file: "a.pcapng", options: &[], has: ALL },
    Kind { file: "a.pcap.gz", options: &[], has: ALL },
    Kind { file: "a.pcapng.gz", options: &[], has: ALL },
    Kind { file: "s.pcap", options: &["-s", "80"], has: ALL },
    Kind { file: "s.pcapng", options: &["-s", "80"], has: ALL },
    Kind { file: "f.pcapng", options: &["-f", "udp dst port 9 and ip"], has: |number| number % 3 != 1 },
    Kind { file: "d.pcapng", options: &["--direct"], has: ALL },
    Kind { file: "d.pcap", options: &["--direct"], has: ALL },
    Kind { file: "n.pcapng", options: &["--no-offload"], has: ALL },
    Kind { file: "c.pcapng", options: &["-f", "udp dst port 9", "-c", "50"], has: |number| number < 50 },
];

#[track_caller]
fn check(lab: &Lab, net: &str, kind: &Kind) {
    let options = [&["--net", net, "-o", kind.file], kind.options].concat();
    let (count, _finished) = trace(lab, &[&options[..], &send("100", "0")].concat());
    let path = lab.dir.join(kind.file);
    let blocks = Blocks::of(&path);
    assert_eq!(blocks.packets().len() as u64, count, "{options:?}");
    let expected: Vec<_> = (0..100).filter(|number| (kind.has)(*number)).collect();
    assert_eq!(blocks.numbers(), expected, "{options:?}");
    assert_eq!(blocks.all()["gzip"], kind.file.contains(".gz"));
    assert_eq!(blocks.is_pcapng(), kind.file.contains(".pcapng"));
    if blocks.is_pcapng() {
        blocks.assert_statistics();
        describes_itself(&blocks, net, kind.options);
    }
    readers::agree(&path, &blocks);
}

/// What a reader wants to know before he looks at packets.
#[track_caller]
fn describes_itself(blocks: &Blocks, net: &str, options: &[&str]) {
    let all = blocks.all();
    let uname = std::process::Command::new("uname").arg("-srm").output().expect("uname is there").stdout;
    let uname = String::from_utf8(uname).expect("UTF-8");
    let said = ["os", "hardware"].map(|name| all["section"][name].as_str().expect("a text"));
    assert_eq!(said.join(" "), uname.trim());
    let application = all["section"]["application"].as_str().expect("a text");
    assert!(application.starts_with("nsntrace 0."), "{application}");
    let comment = texts(&all["section"]["comments"]).join("\n");
    assert!(comment.lines().any(|line| line == format!("transport: {net}")), "{comment}");
    assert_eq!(comment.contains("offload"), !options.contains(&"--no-offload"), "{comment}");
    let filter = options.iter().position(|option| *option == "-f").map(|at| options[at + 1]);
    for (interface, name) in list(&all["interfaces"]).iter().zip(["eth0", "lo"]) {
        assert_eq!((interface["name"].as_str(), interface["filter"].as_str()), (Some(name), filter));
        let is_cut = options.contains(&"-s");
        assert_eq!(interface["snaplen"], if is_cut { 80 } else { 262_144 });
    }
}

#[test]
fn every_kind_by_nat() {
    let lab = Lab::new(&Plan::default());
    for kind in &KINDS {
        check(&lab, "nat", kind);
    }
}

#[test]
fn every_kind_by_proxy() {
    let lab = Lab::new(&Plan::default());
    for kind in &KINDS {
        check(&lab, "proxy", kind);
    }
}

/// All of a series, each of which says all that a single file says.
#[track_caller]
fn check_series(lab: &Lab, prefix: &str, kept: usize, numbers: impl Iterator<Item = u64>) {
    let files = series(lab.dir.path(), prefix);
    assert!(files.len() >= kept, "{files:?}");
    let mut found = Vec::new();
    for (index, path) in files.iter().enumerate() {
        let blocks = Blocks::of(path);
        if blocks.is_pcapng() {
            blocks.assert_statistics();
            describes_itself(&blocks, "nat", &[]);
        }
        found.extend(blocks.numbers());
        // The first, and one that stands between others.
        if index < 2 {
            readers::agree(path, &blocks);
        }
    }
    assert!(found.iter().copied().eq(numbers), "{found:?}");
}

#[test]
fn every_file_of_a_series() {
    let lab = Lab::new(&Plan::default());
    for (file, prefix) in [("a.pcapng", "a_"), ("b.pcap", "b_"), ("c.pcapng.gz", "c_")] {
        trace(&lab, &[&["-o", file, "-C", "30K"][..], &send("200", "0")].concat());
        check_series(&lab, prefix, 3, 0..200);
    }
    trace(&lab, &[&["-o", "t-%s.pcapng", "-G", "1"][..], &send("60", "40")].concat());
    check_series(&lab, "t-", 3, 0..60);
    trace(&lab, &[&["-o", "w.pcapng", "-C", "30K", "-W", "2"][..], &send("300", "0")].concat());
    let first = series(lab.dir.path(), "w_").first().map(|path| Blocks::of(path).numbers()[0]);
    check_series(&lab, "w_", 2, first.expect("there are files")..300);
}

/// A reader who sleeps, and a ring that has no room meanwhile.
#[test]
fn losses_are_in_the_file() {
    let lab = Lab::new(&Plan::default());
    let server = lab.serve_iperf3();
    let script = "mkfifo slow; (sleep 0.5; cat slow >got.pcapng) &
        $NT -B 1M --format pcapng -o slow sh -c 'iperf3 -c 198.51.100.2 -n 60M >/dev/null; sleep 1; ping -c1 198.51.100.2 >/dev/null'
        wait";
    let finished = bash(&lab, script, &[]).succeeded();
    server.wait().succeeded();
    let path = lab.dir.join("got.pcapng");
    let blocks = Blocks::of(&path);
    let dropped = blocks.sum("os_dropped");
    assert!(
        finished.stderr.contains(&format!("\n{dropped} packets were dropped by the kernel")),
        "{dropped}"
    );
    assert_eq!(blocks.packets().iter().map(|one| one.dropped_before).sum::<u64>(), dropped);
    assert_eq!(blocks.sum("received"), blocks.sum("delivered") + dropped);
    assert_eq!(blocks.sum("delivered"), blocks.packets().len() as u64);
    let [uplink, loopback] = list(&blocks.all()["interfaces"]) else { panic!("two interfaces") };
    assert!(uplink["statistics"]["comments"][0].as_str().is_some_and(|text| text.contains("together")));
    assert!(loopback["statistics"]["os_dropped"].is_null(), "whose they were is not known: {loopback}");
    readers::agree(&path, &blocks);
}
