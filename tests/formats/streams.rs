//! What goes to somebody who reads along: the same as what is in a file.

use std::collections::BTreeSet;

use nsntrace_testkit::{Lab, Plan};

use crate::blocks::{Blocks, list};
use crate::readers;
use crate::sender::bash;

/// A name, a while later a connection, then the loopback.
const PROGRAM: &str =
    "getent hosts www.lab.test; sleep 0.3; curl -s http://198.51.100.2/; ping -q -c1 127.0.0.1";

#[test]
fn a_stream_has_the_blocks_of_a_file() {
    let lab = Lab::new(&Plan::default());
    for net in ["nat", "proxy"] {
        bash(&lab, "$NT --net $1 -o a.pcapng sh -c \"$2\" >/dev/null", &[net, PROGRAM]).succeeded();
        let script = "$NT --net $1 --format pcapng -o - sh -c \"$2\" | cat >b.pcapng";
        bash(&lab, script, &[net, PROGRAM]).succeeded();
        let [file, stream] = ["a.pcapng", "b.pcapng"].map(|name| Blocks::of(&lab.dir.join(name)));
        assert_eq!(kinds(&file), kinds(&stream));
        assert!(file.order().contains(&"names"), "{:?}", file.order());
        for name in ["names", "section"] {
            assert_eq!(file.all()[name], stream.all()[name]);
        }
        let names = |blocks: &Blocks| {
            let all = list(&blocks.all()["interfaces"]).iter();
            all.map(|one| (one["name"].clone(), one["packets"].as_u64() > Some(1))).collect::<Vec<_>>()
        };
        assert_eq!(names(&file), names(&stream));
        stream.assert_statistics();
        readers::agree(&lab.dir.join("b.pcapng"), &stream);
    }
}

/// Which kinds of blocks there are. On a busy machine a packet does not wait for the name that was asked for before.
fn kinds(blocks: &Blocks) -> BTreeSet<&str> {
    blocks.order().into_iter().collect()
}

#[test]
fn a_stream_of_classic_pcap() {
    let lab = Lab::new(&Plan::default());
    for net in ["nat", "proxy"] {
        let script = "$NT --net $1 -o - sh -c \"$2\" | cat >a.pcap";
        let finished = bash(&lab, script, &[net, PROGRAM]).succeeded();
        let path = lab.dir.join("a.pcap");
        let blocks = Blocks::of(&path);
        let said = format!("\nFinished capturing {} packets.\n", blocks.packets().len());
        assert!(!blocks.is_pcapng() && finished.stderr.contains(&said), "{}", finished.stderr);
        readers::agree(&path, &blocks);
    }
}

/// As it comes, by dumpcap itself.
#[test]
fn dumpcap_reads_along() {
    let lab = Lab::new(&Plan::default());
    for format in ["pcapng", "pcap"] {
        let script = "set -o pipefail
            $NT --format $1 -o - sh -c \"$2\" | tee a | dumpcap -q -i - -w b 2>said; cat said >&2";
        bash(&lab, script, &[format, PROGRAM]).succeeded();
        let sent = Blocks::of(&lab.dir.join("a")).packets();
        let got = nsntrace_testkit::CaptureFile::new(&lab.dir.join("b"));
        assert_eq!(got.packets(), sent.len() as u64, "{format}");
    }
}
