//! Whose packets are, in each file of a series: said by what is in that file alone.

use std::collections::BTreeSet;
use std::path::Path;

use nsntrace_testkit::{Lab, Plan};
use serde_json::Value;

use crate::blocks::{Blocks, list};
use crate::sender::{series, trace};

/// Three processes with names of their own, and two flows each, from the first file to the last. Each message says who sends it.
const PROGRAM: &str = "
import ctypes, os, socket, sys, time
socket.getaddrinfo('www.lab.test', 80)
def send(name, count):
    ctypes.CDLL(None).prctl(15, name)
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.connect(('198.51.100.2', 9))
    t = socket.create_connection(('198.51.100.2', 7))
    mark = b'<%s %d>' % (name, os.getpid())
    for _ in range(count):
        u.send(mark + bytes(300)); t.sendall(mark)
        while not t.recv(1000).endswith(b'>'): pass
        time.sleep(0.005)
children = []
for name in b'one', b'two', b'three':
    children.append(os.fork())
    if children[-1] == 0: send(name, int(sys.argv[1])); os._exit(0)
for child in children: assert os.waitpid(child, 0)[1] == 0
";

/// What a packet says of itself: name and pid of whoever sent it, or what it answers.
fn mark(packet: &Value) -> Option<(String, u64)> {
    let hex = packet["data"].as_str().expect("hexadecimal").as_bytes();
    let bytes = hex.chunks(2).filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    let text: String = bytes.map(char::from).collect();
    let (name, pid) = text.rsplit_once('<')?.1.split_once('>')?.0.split_once(' ')?;
    Some((name.to_owned(), pid.parse().ok()?))
}

/// The two flows of a sender: UDP and TCP.
fn protocol(packet: &Value) -> &str {
    // Behind Ethernet's header, the tenth byte of IPv4's.
    &packet["data"].as_str().expect("hexadecimal")[46..48]
}

#[track_caller]
fn check(lab: &Lab, prefix: &str, options: &[&str]) {
    trace(lab, &[options, &["/usr/bin/python3", "-I", "-c", PROGRAM, "150"]].concat());
    let files = series(lab.dir.path(), prefix);
    assert!(files.len() > 1, "{files:?}");
    let mut known = BTreeSet::new();
    let mut has_name = false;
    for file in &files {
        check_file(file, &mut known, &mut has_name);
    }
    assert_eq!((known.len(), has_name), (6, true), "{known:?}");
}

/// On a busy machine packets do not wait for what is found out: what one file has, all later ones have.
#[track_caller]
fn check_file(file: &Path, known: &mut BTreeSet<(String, String)>, has_name: &mut bool) {
    let blocks = Blocks::of(file);
    let all = blocks.all();
    let mut marked = 0;
    for packet in list(&all["packets"]) {
        let Some((name, pid)) = mark(packet) else { continue };
        marked += 1;
        let flow = (name.clone(), protocol(packet).to_owned());
        let Some(number) = packet["process"].as_u64() else {
            assert!(!known.contains(&flow), "{}: nobody's: {packet}", file.display());
            continue;
        };
        let process = &list(&all["processes"])[usize::try_from(number).expect("small")];
        assert_eq!(
            (process["name"].as_str(), process["pid"].as_u64()),
            (Some(&*name), Some(pid)),
            "{packet}"
        );
        assert_eq!(packet["thread"], serde_json::json!([pid, pid]));
        known.insert(flow);
    }
    assert!(marked > 0, "{}", file.display());
    let is_named = list(&all["names"]).iter().any(|name| name[1] == "www.lab.test");
    assert!(is_named || !*has_name, "{}: {}", file.display(), all["names"]);
    *has_name = is_named;
}

#[test]
fn each_file_of_a_series_says_whose_its_packets_are() {
    let lab = Lab::new(&Plan::default());
    check(&lab, "a_", &["-o", "a.pcapng", "-C", "60K"]);
    check(&lab, "w_", &["-o", "w.pcapng", "-C", "60K", "-W", "2"]);
    check(&lab, "t_", &["-o", "t.pcapng", "-G", "0.2"]);
    check(&lab, "z_", &["-o", "z.pcapng.gz", "-C", "60K", "--net", "proxy"]);
}
