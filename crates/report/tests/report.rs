//! A made-up trace, from packets to what a user reads.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::io::Write as _;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use nsntrace_dissect::{Icmp, Packet, Tcp, TcpFlags, Transport};
use nsntrace_report::{
    Analysis, Attribution, Census, FlowNumber, Json, Keys, Known, Objection, Process, Report, Sight, Terms,
};

const US: &str = "10.0.0.1";
const US_V6: &str = "2001:db8::1";
const STARTED_NS: u64 = 1_700_000_000_000_000_000;

/// Packets as they come, a millisecond apart.
struct Trace {
    census: Census,
    analysis: Analysis,
    now_ns: u64,
}

/// One way of a connection.
#[derive(Clone, Copy)]
struct Way<'a> {
    from: (&'a str, u16),
    to: (&'a str, u16),
}

impl Way<'_> {
    fn back(self) -> Self {
        Self { from: self.to, to: self.from }
    }
}

impl Trace {
    fn new() -> Self {
        Self { census: Census::new(), analysis: Analysis::default(), now_ns: STARTED_NS }
    }

    fn see(&mut self, from: &str, to: &str, transport: Transport<'_>, payload: &[u8]) {
        self.now_ns += 1_000_000;
        let [src, dst] = [from, to].map(|text| text.parse::<IpAddr>().unwrap());
        let payload_len = u32::try_from(payload.len()).unwrap();
        let packet = Packet { src, dst, transport, payload, payload_len };
        let is_loopback = src.is_loopback();
        let sight = Sight {
            timestamp_ns: self.now_ns,
            is_outbound: is_loopback || [US, US_V6].contains(&from),
            is_loopback,
            len: 54 + payload_len,
        };
        let seen = self.census.see(&packet, &sight);
        if let Some(head) = self.census.head(&packet, &seen) {
            let _found = self.analysis.take(&head);
        }
    }

    fn udp(&mut self, way: Way<'_>, payload: &[u8]) {
        let transport = Transport::Udp { src_port: way.from.1, dst_port: way.to.1 };
        self.see(way.from.0, way.to.0, transport, payload);
    }

    fn tcp(&mut self, way: Way<'_>, flags: TcpFlags, seq: u32, payload: &[u8]) {
        let tcp = Tcp { src_port: way.from.1, dst_port: way.to.1, seq, ack: 0, window: 1, flags };
        self.see(way.from.0, way.to.0, Transport::Tcp(tcp), payload);
    }

    fn connect(&mut self, way: Way<'_>) {
        self.tcp(way, TcpFlags::SYN, 0, b"");
        self.tcp(way.back(), TcpFlags::SYN | TcpFlags::ACK, 0, b"");
    }

    fn lookup(&mut self, port: u16, name: &str, qtype: u8, address: Option<[u8; 4]>) {
        let way = Way { from: ("127.0.0.1", port), to: ("127.0.0.53", 53) };
        let labels: Vec<u8> = name
            .split('.')
            .flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat())
            .collect();
        let question = [&labels[..], &[0, 0, qtype, 0, 1]].concat();
        let head =
            |flags: [u8; 2], answers: u8| [&[0, qtype][..], &flags, &[0, 1, 0, answers, 0, 0, 0, 0]].concat();
        self.udp(way, &[head([1, 0], 0), question.clone()].concat());
        let record = address.map(|octets| [&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4][..], &octets].concat());
        let flags = if record.is_some() { [0x81, 0x80] } else { [0x81, 0x83] };
        let answers = u8::from(record.is_some());
        self.udp(way.back(), &[head(flags, answers), question, record.unwrap_or_default()].concat());
    }

    fn report(&self, terms: Terms) -> Report {
        let terms = Terms { started_ns: STARTED_NS, ..terms };
        Report::new(&self.census, &self.analysis, &terms, known)
    }
}

/// Everything is curl's.
#[expect(clippy::unnecessary_wraps, reason = "of others nothing may be known")]
fn known(_flow: FlowNumber) -> Option<Known> {
    let process = Process {
        pid: 4321,
        name: "curl".into(),
        path: Some("/usr/bin/curl".into()),
        command_line: Some(vec!["curl".into(), "-s".into()]),
        parent: 4320,
        uid: 1000,
        user: Some("ann".into()),
        started_ns: STARTED_NS - 1_500_000_000,
    };
    let attribution = Attribution { certainty: "created", tid: Some(4322) };
    Some(Known { process: Some(process), attribution: Some(attribution), keys: Some(Keys::Present) })
}

/// A client hello of TLS 1.2 for `example.com`.
fn client_hello() -> Vec<u8> {
    let name = b"example.com";
    let len = u8::try_from(name.len()).unwrap();
    let sni = [&[0, 0, 0, len + 5, 0, len + 3, 0, 0, len][..], name].concat();
    let body = [&b"\x03\x03"[..], &[7; 32], b"\0\0\x02\x13\x01\x01\0", &[0, len + 9], &sni].concat();
    let len = u8::try_from(body.len()).unwrap();
    [&[22, 3, 1, 0, len + 4, 1, 0, 0, len][..], &body].concat()
}

/// A look-up, a page over TLS, a port that nobody listens on, a name that is none, a ping without an answer.
fn trace() -> Trace {
    let mut trace = Trace::new();
    trace.lookup(5000, "example.com", 1, Some([93, 184, 216, 34]));
    let page = Way { from: (US, 40_000), to: ("93.184.216.34", 443) };
    trace.connect(page);
    trace.tcp(page, TcpFlags::ACK, 1, &client_hello());
    trace.tcp(page.back(), TcpFlags::ACK, 1, &[0; 9000]);
    trace.tcp(page.back(), TcpFlags::ACK, 1, &[0; 9000]);
    for port in [40_001, 40_002] {
        let refused = Way { from: (US_V6, port), to: ("2001:db8::7", 81) };
        trace.tcp(refused, TcpFlags::SYN, 0, b"");
        trace.tcp(refused.back(), TcpFlags::RST | TcpFlags::ACK, 0, b"");
    }
    trace.lookup(5001, "no.such.name", 28, None);
    trace.see(US, "192.0.2.9", Transport::Icmp(Icmp::EchoRequest { id: 7 }), b"");
    trace.see(US, "224.0.0.22", Transport::Other { protocol: 2 }, b"");
    trace
}

#[test]
fn the_table_says_who_talked_to_whom() {
    let expected = "  \
  PROCESS    PEER                             PROTO   SENT  RECEIVED    FIRST
  curl 4321  example.com 93.184.216.34:443    TLS    180 B   18.2 kB  0.003 s  1 retransmitted, keys
  curl 4321  [2001:db8::7]:81                 TCP    108 B     108 B  0.008 s  refused (2 of 2)
  curl 4321  127.0.0.53:53 A example.com      DNS     83 B      99 B  0.001 s
  curl 4321  127.0.0.53:53 AAAA no.such.name  DNS     84 B      84 B  0.012 s  NXDOMAIN
  curl 4321  192.0.2.9                        ICMP    54 B       0 B  0.014 s  timeout
";
    assert_eq!(trace().report(Terms::default()).table(), expected);
}

#[test]
fn a_long_list_is_cut_and_failures_stay() {
    let mut trace = Trace::new();
    for n in 0..100_u8 {
        let way = Way { from: (US, 1000 + u16::from(n)), to: (&format!("198.51.100.{n}"), 80) };
        trace.connect(way);
        trace.tcp(way, TcpFlags::ACK, 1, &vec![7; 200 - usize::from(n)]);
    }
    let refused = Way { from: (US, 999), to: ("192.0.2.1", 80) };
    trace.tcp(refused, TcpFlags::SYN, 0, b"");
    trace.tcp(refused.back(), TcpFlags::RST, 0, b"");
    let table = trace.report(Terms::default()).table();
    assert_eq!(table.lines().count(), 1 + 20 + 1 + 1, "{table}");
    assert!(
        table.contains("  refused\n")
            && table.ends_with("  and 80 more, all of which --report FILE writes down\n"),
        "{table}"
    );
}

#[test]
fn json_has_everything_and_is_json() {
    let report = trace().report(Terms { denied: vec!["*.such.name".parse().unwrap()], ..Terms::default() });
    let json = report.json(vec![("nsntrace", Json::text("0.1.0"))]);
    let script = "import json, sys
r = json.load(sys.stdin)
tls = r['conversations'][0]
print(r['schema'], r['version'], r['nsntrace'], len(r['conversations']), r['offences'][0]['denied_by'])
print(*tls['process'].values())
print(tls['peer'], tls['protocol'], tls['first_seconds'], tls['tls']['server_name'], tls['tls']['keys'])
print(r['conversations'][1]['failures'], r['conversations'][3]['dns'])";
    let mut python = Command::new("python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(json.to_string().as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    let expected = "nsntrace-report 1 0.1.0 5 *.such.name
4321 curl /usr/bin/curl 4320 1000 ann 1699999998.5 [4322] {'created': 1} ['curl', '-s']
{'address': '93.184.216.34', 'port': 443, 'name': 'example.com'} TLS 0.003 example.com {'present': 1}
{'refused': 2} {'name': 'no.such.name', 'names': ['no.such.name'], 'types': ['AAAA']}
";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

/// What docs/report.md says of members and their types, held against one that has them all. The end-to-end tests do it with real ones.
#[track_caller]
fn check_schema(json: &str) -> Result<(), String> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let [script, page] = ["tests/report/schema.py", "docs/report.md"].map(|path| format!("{root}/{path}"));
    let mut python = Command::new("python3")
        .args([&script, &page, "all"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(json.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    if output.status.success() { Ok(()) } else { Err(said) }
}

#[test]
fn what_was_not_found_out_is_said() {
    let tell = |is_sampled, is_unheard| {
        let report = trace().report(Terms { is_sampled, is_unheard, ..Terms::default() });
        (report.table(), report.json(Vec::new()).to_string())
    };
    let (read, heard) =
        ("packets came too fast to read them all", "sockets went too fast to hear of them all");
    for told in [(false, false), (true, false), (false, true), (true, true)] {
        let (table, json) = tell(told.0, told.1);
        assert_eq!((table.contains(read), table.contains(heard)), told, "{table}");
        let members = ("\"sampled\": true", "\"unheard\": true");
        assert_eq!((json.contains(members.0), json.contains(members.1)), told, "{json}");
    }
    let nothing = Report::new(
        &Census::new(),
        &Analysis::default(),
        &Terms { is_unheard: true, ..Terms::default() },
        known,
    );
    assert_eq!(nothing.table(), "", "there is nobody whose owner could be missing");
}

#[test]
fn every_member_is_documented_and_every_documented_one_is_there() {
    let report = trace().report(Terms { denied: vec!["*.such.name".parse().unwrap()], ..Terms::default() });
    // The command puts these in front.
    let counts = ["recorded", "dropped", "not_recorded"].map(|name| (name, Json::Count(1)));
    let mut head: Vec<_> =
        ["nsntrace", "program", "transport"].into_iter().map(|name| (name, Json::text("x"))).collect();
    head.push(("packets", Json::Object(counts.into())));
    head.push(("ignored_key_lines", Json::Count(0)));
    let json = report.json(head).to_string();
    check_schema(&json).unwrap();
    for (from, to, complaint) in [
        ("\"flows\": 1", "\"flows\": \"1\"", "flows is no count"),
        ("\"flows\": 1", "\"flow\": 1", "flow is not documented"),
        ("\"sampled\": false,", "", "sampled is missing"),
        ("\"server_name\"", "\"name\"", "tls.name is not documented"),
        ("\"denied_by\": \"*.such.name\"", "\"denied_by\": 7", "denied_by is no text or null"),
    ] {
        let wrong = json.replacen(from, to, 1);
        assert_ne!(wrong, json, "{from}");
        let said = check_schema(&wrong).unwrap_err();
        assert!(said.contains(complaint), "{said}");
    }
}

#[track_caller]
fn offends(expected: &[&str], denied: &[&str], peers: &[&str]) {
    let parse = |typed: &[&str]| typed.iter().map(|one| one.parse().unwrap()).collect();
    let terms = Terms { expected: parse(expected), denied: parse(denied), ..Terms::default() };
    let report = trace().report(terms);
    let said: Vec<_> = report.offences().iter().map(|offence| offence.peer.as_str()).collect();
    assert_eq!(said, peers);
}

#[test]
fn who_was_not_to_be_talked_to_is_named() {
    let (page, refused, ping) = ("example.com 93.184.216.34:443", "[2001:db8::7]:81", "192.0.2.9");
    offends(&[], &[], &[]);
    offends(&["example.com"], &[], &[refused, ping]);
    offends(&["example.com:443", "2001:db8::/32", "192.0.2.9"], &[], &[]);
    offends(&["example.com:80"], &[], &[page, refused, ping]);
    offends(&[], &["example.com"], &[page, "127.0.0.53:53 A example.com"]);
    offends(&[], &["93.184.0.0/16"], &[page]);
    offends(&[], &["no.such.name"], &["127.0.0.53:53 AAAA no.such.name"]);
    offends(&["0.0.0.0/0", "::/0"], &["192.0.2.9"], &[ping]);
    offends(&[], &["127.0.0.53"], &["127.0.0.53:53 A example.com", "127.0.0.53:53 AAAA no.such.name"]);
}

#[track_caller]
fn judged(trace: &Trace, expected: &[&str], denied: &[&str]) -> Vec<String> {
    let parse = |typed: &[&str]| typed.iter().map(|one| one.parse().unwrap()).collect();
    let terms = Terms { expected: parse(expected), denied: parse(denied), ..Terms::default() };
    trace.report(terms).offences().iter().map(|offence| offence.peer.clone()).collect()
}

#[test]
fn hosts_that_share_an_address_are_told_apart_where_they_say_who_they_are() {
    let mut trace = Trace::new();
    trace.lookup(5000, "example.com", 1, Some([192, 0, 2, 7]));
    trace.lookup(5001, "b.example", 1, Some([192, 0, 2, 7]));
    let tls = Way { from: (US, 40_000), to: ("192.0.2.7", 443) };
    trace.connect(tls);
    trace.tcp(tls, TcpFlags::ACK, 1, &client_hello());
    assert_eq!(judged(&trace, &["example.com"], &[]), [""; 0]);
    assert_eq!(judged(&trace, &["b.example"], &[]), ["example.com 192.0.2.7:443"]);
    let plain = Way { from: (US, 40_001), to: ("192.0.2.7", 22) };
    trace.connect(plain);
    for name in ["example.com", "b.example"] {
        assert!(!judged(&trace, &[name], &[]).contains(&"b.example 192.0.2.7:22".into()), "{name}");
    }
}

#[test]
fn offences_are_said_in_a_sentence() {
    let denied = vec!["*.such.name".parse().unwrap()];
    let expected = vec!["example.com".parse().unwrap(), "192.0.2.9".parse().unwrap()];
    let report = trace().report(Terms { denied, expected, ..Terms::default() });
    let said: Vec<_> = report.offences().iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "curl 4321 talked to [2001:db8::7]:81, which no --expect names",
            "curl 4321 talked to 127.0.0.53:53 AAAA no.such.name, which --deny *.such.name forbids",
        ]
    );
}

#[test]
fn whoever_hides_in_a_crowd_is_not_let_through() {
    let mut trace = Trace::new();
    for n in 0..=u16::MAX {
        let [high, low] = n.to_be_bytes();
        trace.udp(Way { from: (US, 9), to: (&format!("198.18.{high}.{low}"), 9) }, b"");
    }
    let expected = || vec!["198.18.0.0/16".parse().unwrap()];
    assert_eq!(trace.report(Terms { expected: expected(), ..Terms::default() }).offences(), []);
    trace.udp(Way { from: (US, 9), to: ("192.0.2.1", 9) }, b"");
    let report = trace.report(Terms { expected: expected(), ..Terms::default() });
    let [offence] = report.offences() else { panic!("{:?}", report.offences()) };
    assert_eq!(offence.objection, Objection::Unjudged);
    assert!(offence.to_string().contains("others in 1 packets of further flows"), "{offence}");
    assert_eq!(trace.report(Terms::default()).offences(), []);
}

#[test]
fn the_second_name_of_a_socket_is_judged_as_the_first() {
    let mut trace = Trace::new();
    trace.lookup(5000, "example.com", 1, Some([192, 0, 2, 7]));
    trace.lookup(5000, "telemetry.example", 28, None);
    let peer = "127.0.0.53:53 A,AAAA example.com and 1 more";
    assert_eq!(judged(&trace, &[], &["telemetry.example"]), [peer]);
    assert_eq!(judged(&trace, &["example.com"], &[]), [""; 0]);
}

/// The most memory that this process has had, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
}

#[test]
fn flows_of_one_process_share_its_command_line() {
    let mut trace = Trace::new();
    for number in 0..20_000 {
        let way = Way { from: (US, 10_000 + number), to: ("192.0.2.9", 443) };
        trace.tcp(way, TcpFlags::SYN, 0, b"");
    }
    let command_line = vec!["0123456789012345678901234567890123456789".to_owned(); 100];
    let known = |flow| {
        let known = known(flow)?;
        let process = Process { command_line: Some(command_line.clone()), ..known.process? };
        Some(Known { process: Some(process), ..known })
    };
    let before = peak();
    let report = Report::new(&trace.census, &trace.analysis, &Terms::default(), known);
    let more = peak() - before;
    assert_eq!(report.conversations().iter().map(|one| one.flows).collect::<Vec<_>>(), [20_000]);
    assert!(more < 32 << 20, "{more} bytes");
}
