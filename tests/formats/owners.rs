//! Whose packets are, in each file of a series: said by what is in that file alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use nsntrace_testkit::{Lab, Plan};
use serde_json::Value;

use crate::blocks::{Blocks, list, texts};
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

/// Protocol and ports, which are a flow's alone here; of IPv4, which has no options.
fn flow(packet: &Value) -> [String; 3] {
    let hex = packet["data"].as_str().expect("hexadecimal");
    // Behind 14 bytes of Ethernet: protocol at 9, ports at 20.
    let [protocol, one, other] = [46..48, 68..72, 72..76].map(|part| hex.get(part).unwrap_or_default());
    [protocol, one.min(other), one.max(other)].map(str::to_owned)
}

#[track_caller]
fn check(lab: &Lab, prefix: &str, options: &[&str]) {
    trace(lab, &[options, &["/usr/bin/python3", "-I", "-c", PROGRAM, "150"]].concat());
    let files = series(lab.dir.path(), prefix);
    let mut known = Known::default();
    for file in &files {
        known.check(file);
    }
    assert!(known.files > 1, "{files:?}");
    let of_senders =
        |comment: &&String| ["one[", "two[", "three["].iter().any(|name| comment.starts_with(name));
    assert_eq!((known.flows.values().filter(of_senders).count(), known.has_name), (6, true), "{known:?}");
}

/// What the files so far have. On a busy machine packets do not wait for what is found out; but what one file has, all later ones have.
#[derive(Debug, Default)]
struct Known {
    /// Flows whose owner was said, and the comment on their first packet.
    flows: BTreeMap<[String; 3], String>,
    has_name: bool,
    /// How many files have messages. One may have none, if it is short.
    files: u32,
}

impl Known {
    #[track_caller]
    fn check(&mut self, file: &Path) {
        let blocks = Blocks::of(file);
        let all = blocks.all();
        let (mut has_marked, mut seen) = (false, BTreeSet::new());
        for packet in list(&all["packets"]) {
            self.check_comment(packet, seen.insert(flow(packet)));
            if let Some((name, pid)) = mark(packet) {
                has_marked = true;
                self.check_owner(packet, list(&all["processes"]), &name, pid);
            }
        }
        self.files += u32::from(has_marked);
        let is_named = list(&all["names"]).iter().any(|name| name[1] == "www.lab.test");
        assert!(is_named || !self.has_name, "{}: {}", file.display(), all["names"]);
        self.has_name = is_named;
    }

    #[track_caller]
    fn check_comment(&mut self, packet: &Value, is_first: bool) {
        let comment = texts(&packet["comments"]).first().map(|comment| (*comment).to_owned());
        match self.flows.get(&flow(packet)) {
            Some(known) => assert_eq!(comment.as_ref(), Some(known).filter(|_| is_first), "{packet}"),
            None => self
                .flows
                .extend(comment.filter(|text| text.contains("] -> ")).map(|text| (flow(packet), text))),
        }
    }

    #[track_caller]
    fn check_owner(&self, packet: &Value, processes: &[Value], name: &str, pid: u64) {
        let Some(comment) = self.flows.get(&flow(packet)) else { return };
        assert!(comment.starts_with(&format!("{name}[{pid}] ->")), "{comment}");
        let number = packet["process"].as_u64().unwrap_or_else(|| panic!("nobody's: {packet}"));
        let process = &processes[usize::try_from(number).expect("small")];
        assert_eq!((process["name"].as_str(), process["pid"].as_u64()), (Some(name), Some(pid)), "{packet}");
        assert_eq!(packet["thread"], serde_json::json!([pid, pid]));
    }
}

#[test]
fn each_file_of_a_series_says_whose_its_packets_are() {
    let lab = Lab::new(&Plan::default());
    check(&lab, "a_", &["-o", "a.pcapng", "-C", "60K"]);
    check(&lab, "w_", &["-o", "w.pcapng", "-C", "60K", "-W", "2"]);
    check(&lab, "t_", &["-o", "t.pcapng", "-G", "0.2"]);
    check(&lab, "z_", &["-o", "z.pcapng.gz", "-C", "60K", "--net", "proxy"]);
}
