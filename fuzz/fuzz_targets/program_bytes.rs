//! Any bytes as what a traced program and its peers may say: packets, names, hellos, first lines, TLS keys, a resolv.conf. Whatever they are, the report is
//! made, each packet has a line, and none of it reaches a terminal as a command.
//!
//! # Format of an input
//! Frames, each behind its length of two bytes, big-endian. All of it is also read as a message of DNS, as the head of an HTTP message and as text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nsntrace_dissect::{dissect, dns, glance, http, tls};
use nsntrace_keylog::{Keys, Line, Lines};
use nsntrace_live::Packet;
use nsntrace_report::{Analysis, Census, Report, Sight, Terms};

fuzz_target!(|bytes: &[u8]| {
    read_at_once(bytes);
    read_keys(bytes);
    print(&frames(bytes));
    let report = report_of(&frames(bytes));
    let is_plain = |c: char| !c.is_control() || c == '\n';
    assert!(report.table().chars().all(is_plain), "{:?}", report.table());
    assert!(report.json(Vec::new()).to_string().chars().all(is_plain));
});

fn read_at_once(bytes: &[u8]) {
    let _message = dns::message(bytes);
    assert!(dns::messages_of_stream(bytes).count() <= bytes.len() / 2);
    let _head = (http::head(bytes), http::cut_request(bytes), http::is_unfinished(bytes));
    read_hello(bytes);
    let text = String::from_utf8_lossy(bytes);
    let on_loopback = nsntrace_relay::loopback_nameservers(&text);
    assert!(on_loopback.len() <= nsntrace_relay::nameservers(&text).len());
}

/// A hello is the same in two segments, the second of which comes first.
fn read_hello(bytes: &[u8]) {
    let mut whole = tls::Stream::default();
    let at_once = whole.push(0, bytes);
    assert!(whole.held_bytes() <= bytes.len());
    if matches!(at_once, tls::Progress::Hello(tls::Hello::Client(_))) {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        let mut stream = tls::Stream::default();
        stream.begin(u32::MAX);
        let place = u32::try_from(first.len()).expect("libFuzzer's limit is far below");
        let _incomplete = stream.push(place, second);
        assert_eq!(stream.push(0, first), at_once);
    }
}

/// A line that was taken is known from then on. Lines are the same in whatever pieces they come, and none of them can be two.
fn read_keys(bytes: &[u8]) {
    let mut keys = Keys::default();
    let (mut lines, mut whole) = (Lines::default(), Vec::new());
    lines.push(bytes, |line| {
        assert!(keys.insert(line));
        assert!(!keys.is_empty());
        let _presence = keys.presence(&line.client_random);
        assert!(Line::parse(line.text) == Some(*line) && !line.text.contains(&b'\n'));
        whole.push(line.text.to_vec());
    });
    let (mut in_pieces, mut pieces) = (Lines::default(), Vec::new());
    let len = bytes.first().map_or(1, |&first| usize::from(first).max(1));
    bytes.chunks(len).for_each(|piece| in_pieces.push(piece, |line| pieces.push(line.text.to_vec())));
    assert_eq!((pieces, in_pieces.ignored()), (whole, lines.ignored()));
}

fn frames(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk() {
        let (frame, rest) = rest.split_at(rest.len().min(u16::from_be_bytes(*len).into()));
        frames.push(frame);
        bytes = rest;
    }
    frames
}

/// A line for each, all in one flow, by processes that are called as the packet goes.
fn print(frames: &[&[u8]]) {
    let mut lines = nsntrace_live::Lines::new(0, false);
    for frame in frames {
        let name = String::from_utf8_lossy(&frame[..frame.len().min(15)]);
        let len = u32::try_from(frame.len()).expect("a length of two bytes");
        let packet =
            Packet { timestamp_ns: 7, bytes: frame, len, flow: Some(1), process: Some((&name, len)) };
        let mut text = String::new();
        lines.write(&packet, &mut text);
        let line = text.strip_suffix('\n').expect("a whole line");
        assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')) && line.len() <= 600, "{line:?}");
    }
}

/// As the recorder and its neighbour make it, every other frame being the program's. One that looks closely at all counts the same.
fn report_of(frames: &[&[u8]]) -> Report {
    let (mut census, mut analysis) = (Census::new(), Analysis::default());
    let mut thorough = Census::new();
    for (frame, number) in frames.iter().zip(0_u32..) {
        let Some(packet) = dissect(frame) else { continue };
        assert!(packet.payload.is_empty() || frame.as_ptr_range().contains(&packet.payload.as_ptr()));
        assert!(packet.payload.len() <= frame.len().min(packet.payload_len as usize));
        let sight = Sight {
            timestamp_ns: u64::from(number),
            is_outbound: number % 2 == 0,
            is_loopback: false,
            len: u32::try_from(frame.len()).expect("a length of two bytes"),
        };
        let expected = thorough.see(&packet, &sight);
        let glanced = glance(frame).and_then(|glance| census.glance(&glance, &sight));
        let seen = glanced.unwrap_or_else(|| census.see(&packet, &sight));
        assert_eq!(seen, expected);
        if let Some(head) = census.head(&packet, &seen) {
            let _found = analysis.take(&head);
        }
    }
    let flows = |census: &Census| census.flows().map(|flow| format!("{flow:?}")).collect::<Vec<_>>();
    assert_eq!(flows(&census), flows(&thorough));
    Report::new(&census, &analysis, &Terms::default(), |_flow| None)
}
