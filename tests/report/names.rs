//! What an address is called: in the report, in Name Resolution Blocks, in comments.

use nsntrace_testkit::{CaptureFile, Lab, Plan};
use serde_json::{Value, json};

use crate::trace::{Trace, blocks};

const V4: &str = "198.51.100.2";
const V6: &str = "2001:db8:1::2";

/// Names and addresses in the blocks of the trace's file, in their order.
#[track_caller]
fn named(lab: &Lab) -> Vec<[String; 2]> {
    let all = blocks(&lab.dir.join("trace.pcapng"))["names"].clone();
    serde_json::from_value(all).expect("pairs")
}

fn pair(address: &str, name: &str) -> [String; 2] {
    [address.to_owned(), name.to_owned()]
}

fn comments(lab: &Lab) -> String {
    let texts = CaptureFile::new(&lab.dir.join("trace.pcapng")).field("frame.comment", "frame.comment");
    texts.join("\n")
}

fn peers(trace: &Trace, protocol: &str) -> Vec<[String; 2]> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let all = trace.conversations().iter().filter(|one| one["protocol"] == protocol);
    let mut all: Vec<_> =
        all.map(|one| [text(&one["peer"]["address"]), text(&one["peer"]["name"])]).collect();
    all.sort();
    all
}

#[test]
fn names_that_share_an_address_are_each_where_they_belong() {
    let lab = Lab::new(&Plan::default());
    for net in ["nat", "proxy"] {
        let script =
            "for n in a b; do for f in 4 6; do curl -$f -s http://$n.lab.test/ >/dev/null; done; done
            python3 -c \"
import socket
for n in 'c', 'd', 'c': socket.create_connection((n + '.lab.test', 7)).close()\"";
        let trace = Trace::of(&lab, &["--net", net], script);
        let expected = [(V4, "a"), (V4, "b"), (V6, "a"), (V6, "b")];
        assert_eq!(
            peers(&trace, "HTTP"),
            expected.map(|(address, n)| pair(address, &format!("{n}.lab.test")))
        );
        let plain = peers(&trace, "TCP");
        assert_eq!(
            plain.iter().map(|[_, name]| name.as_str()).collect::<Vec<_>>(),
            ["c.lab.test", "d.lab.test"]
        );
        // Each name before the packets that go to it.
        let order: Vec<_> =
            named(&lab).into_iter().filter(|[address, _]| address == V4).map(|[_, name]| name).collect();
        assert_eq!(order, ["a", "b", "c", "d", "c"].map(|n| format!("{n}.lab.test")));
        let said = comments(&lab);
        for words in ["a.lab.test:80", "b.lab.test:80", "c.lab.test:7", "d.lab.test:7"] {
            assert!(said.contains(&format!("-> {words}")), "no {words} in {said}");
        }
    }
}

/// An alias on the way, a connection of TCP to the name server, a relay on loopback: the name is the one that was asked for.
#[test]
fn a_name_is_learnt_whatever_way_it_comes() {
    let mut lab = Lab::new(&Plan { resolv_conf: "nameserver 127.0.0.53\n".into(), ..Plan::default() });
    lab.serve_dns_on_host("127.0.0.53");
    for (net, options) in [("nat", ""), ("proxy", ""), ("nat", "use-vc"), ("proxy", "use-vc")] {
        let script = format!(
            "export RES_OPTIONS='{options}'; curl -s http://alias.test/ >/dev/null; curl -s4 http://alias.test/ >/dev/null"
        );
        let trace = Trace::of(&lab, &["--net", net], &script);
        assert_eq!(
            peers(&trace, "HTTP"),
            [pair(V4, "alias.test"), pair(V6, "alias.test")],
            "{net} {options}"
        );
        assert_eq!(named(&lab), [pair(V4, "alias.test"), pair(V6, "alias.test")], "{net} {options}");
        let lookups = trace.lookups("alias.test");
        assert!(
            !lookups.is_empty() && lookups.iter().all(|one| one["loopback"] == true),
            "{:#}",
            trace.report
        );
        let is_tcp = CaptureFile::new(&lab.dir.join("trace.pcapng")).count("dns and tcp") > 0;
        assert_eq!(is_tcp, options == "use-vc");
        assert!(trace.line("127.0.0.53:53 ").contains("A,AAAA alias.test"), "{}", trace.finished.stderr);
        // tshark goes by the block.
        let mut tshark = std::process::Command::new("tshark");
        let file = lab.dir.join("trace.pcapng");
        tshark.args([
            "-N",
            "n",
            "-Y",
            "http.request",
            "-T",
            "fields",
            "-e",
            "ipv6.dst_host",
            "-e",
            "ip.dst_host",
            "-r",
        ]);
        let output = tshark.arg(file).output().expect("tshark is there").stdout;
        assert_eq!(
            String::from_utf8(output).expect("UTF-8"),
            "alias.test\t\n\talias.test\n",
            "{net} {options}"
        );
    }
}

#[test]
fn what_hosts_says_is_a_name_too() {
    let lab = Lab::new(&Plan { private_etc: true, ..Plan::default() });
    lab.host.sh("echo '198.51.100.10 printer.here printer' >>/etc/hosts; echo '2001:db8:1::2 six.here' >>/etc/hosts; echo '198.51.100.12 unused.here' >>/etc/hosts");
    for net in ["nat", "proxy"] {
        let script = "curl -s http://printer/ >/dev/null; curl -s http://six.here/ >/dev/null; curl -s http://printer/ >/dev/null";
        let trace = Trace::of(&lab, &["--net", net], script);
        let mut names = named(&lab);
        names.sort();
        assert_eq!(names, [pair("198.51.100.10", "printer.here"), pair(V6, "six.here")]);
        assert!(comments(&lab).contains("-> six.here:80"), "{}", comments(&lab));
        assert!(trace.line("six.here [2001:db8:1::2]:80").contains("HTTP"));
    }
}

/// Bytes that a terminal or a file would take for something else.
#[test]
fn odd_names_do_no_harm() {
    let lab = Lab::new(&Plan::default());
    let script = r#"python3 -c "
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5); s.connect(('198.51.100.2', 53))
for n, label in enumerate([b'a\x1b[31m', b'dot.dot', b'nul\0nul', bytes([0xc3, 0xa9, 0xff]), b' ', b'x' * 63]):
    name = bytes([len(label)]) + label + b'\x03lab\x04test\0'
    s.send(bytes([0, n]) + b'\x01\0\0\x01\0\0\0\0\0\0' + name + b'\0\x01\0\x01'); s.recv(999)
""#;
    let trace = Trace::of(&lab, &[], script);
    let x = "x".repeat(63);
    let expected = [r"a\027[31m", r"dot\.dot", r"nul\000nul", r"\195\169\255", r"\032", &x]
        .map(|label| format!("{label}.lab.test"));
    assert_eq!(named(&lab), expected.clone().map(|name| pair(V4, &name)));
    let one = trace.lookups(&expected[0]).remove(0);
    assert_eq!(one["dns"]["name"], format!("{} and 5 more", expected[0]));
    assert_eq!(one["dns"]["names"].as_array().map(Vec::len), Some(6));
    assert!(!trace.finished.stderr.contains('\x1b'), "{}", trace.finished.stderr);
}

/// A hello, though nobody answers as TLS would.
#[test]
fn a_hello_says_who_is_meant_and_what_is_offered() {
    let lab = Lab::new(&Plan::default());
    for net in ["nat", "proxy"] {
        let script = "python3 -c \"
import socket, ssl, time
for h, name in ('198.51.100.2', 'one.lab.test'), ('2001:db8:1::2', 'two.lab.test'):
    c = ssl._create_unverified_context(); c.set_alpn_protocols(['h2', 'http/1.1'])
    s = socket.create_connection((h, 7))
    try: c.wrap_socket(s, server_hostname=name)
    except (ssl.SSLError, OSError): pass\"";
        let trace = Trace::of(&lab, &["--net", net], script);
        for (address, name) in [(V4, "one.lab.test"), (V6, "two.lab.test")] {
            let one = trace.one(address, Some(7), "TLS");
            assert_eq!((&one["peer"]["name"], &one["tls"]["server_name"]), (&json!(name), &json!(name)));
            assert_eq!(one["tls"]["offered_protocols"], json!(["h2", "http/1.1"]));
            let said = comments(&lab);
            assert!(said.contains(&format!("TLS for {name}, offers h2, http/1.1")), "{said}");
        }
    }
}

/// Each file of a series stands for itself.
#[test]
fn every_file_of_a_series_knows_the_names() {
    let lab = Lab::new(&Plan::default());
    let script = "for n in a b a b a; do curl -s4 http://$n.lab.test/bytes/9000 >/dev/null; done";
    lab.start(&["-o", "t.pcapng", "-C", "8K", "bash", "-c", script]).wait().succeeded();
    let list = lab.host.sh(&format!("ls {}/t_*.pcapng", lab.dir.path().display()));
    let files: Vec<_> = list.lines().map(|path| blocks(std::path::Path::new(path))).collect();
    assert!(files.len() >= 4, "{list}");
    for file in &files[1..] {
        let first = file["names"][0].clone();
        assert_eq!(first[0], V4, "{}", file["names"]);
        let order = file["order"].as_array().expect("a list");
        assert_eq!(order[..3], ["section", "interface", "names"]);
        let at_first: Vec<_> = file["names"].as_array().expect("a list").iter().collect();
        assert!(at_first.len() <= 6, "not everything that there ever was: {at_first:?}");
    }
}
