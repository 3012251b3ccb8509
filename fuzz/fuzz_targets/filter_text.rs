//! Any bytes as the text of a filter: what comes out is an error that points into the text, or a program that
//! the kernel takes, and the optimiser changes no decision. What is refused because it matches nothing does match
//! nothing.
//!
//! # Format of an input
//! The text, then 0xff, which UTF-8 never contains, then an Ethernet frame. Without 0xff the frame is empty.
#![no_main]

#[path = "../../crates/filter/tests/common/mod.rs"]
mod common;

use std::borrow::Cow;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use nsntrace_filter::{Ancillary, ErrorKind, LinkType, Options, Packet, Program, Source, Tables, compile};

fuzz_target!(|input: &[u8]| {
    let (text, frame) = split(input);
    for (link_type, source) in targets(text.len()) {
        let frame = common::frames::relink(frame, link_type).map_or(Cow::Borrowed(frame), Cow::Owned);
        check(&text, common::options(link_type, source), &frame);
    }
});

fn split(input: &[u8]) -> (Cow<'_, str>, &[u8]) {
    let end = input.iter().position(|byte| *byte == 0xff).unwrap_or(input.len());
    let frame = input.get(end + 1..).unwrap_or_default();
    (String::from_utf8_lossy(&input[..end]), frame)
}

/// What to compile a text of so many bytes for: everything. A long text takes up to a second each time, so it
/// gets one target, and its neighbours the others.
fn targets(text_len: usize) -> impl Iterator<Item = (LinkType, Source)> {
    let sources = [Source::Unknown, Source::File, Source::Live];
    let all = LinkType::ALL.into_iter().flat_map(move |link_type| sources.map(|source| (link_type, source)));
    let count = LinkType::ALL.len() * sources.len();
    all.enumerate()
        .filter(move |(index, _)| text_len <= SHORT || text_len % count == *index)
        .map(|(_, one)| one)
}

const SHORT: usize = 1024;

fn check(text: &str, options: Options, frame: &[u8]) {
    let Ok(literal) = program(text, Options { optimise: false, ..options }) else { return };
    let optimised = program(text, options);
    for vlan_tci in [None, Some(100)] {
        let ancillary = Ancillary { vlan_tci, ifindex: 2, ..Ancillary::default() };
        let packet = Packet { ancillary, ..Packet::whole(frame) };
        match &optimised {
            Ok(optimised) => compare(text, &literal, optimised, &packet),
            Err(ErrorKind::RejectsAll) => assert!(!literal.matches(&packet), "{text}\n{}", literal.asm()),
            Err(_) => {}
        }
    }
}

fn program(text: &str, options: Options) -> Result<Program, ErrorKind> {
    match compile(text, &options, &*NAMES) {
        Ok(program) => {
            common::kernel_takes(&program).unwrap_or_else(|error| panic!("{options:?}: {error}"));
            Ok(program)
        }
        Err(error) => {
            assert!(text.get(error.span.start..error.span.end).is_some(), "{error} at {:?}", error.span);
            assert_eq!(error.excerpt(text).to_string().lines().count(), 2, "{error}");
            assert!(!matches!(error.kind, ErrorKind::TooLong(..=4096)), "{error}");
            Err(error.kind)
        }
    }
}

/// A run that a load beyond the frame or a division by zero ends says nothing: which loads there are is the
/// optimiser's choice.
fn compare(text: &str, literal: &Program, optimised: &Program, packet: &Packet<'_>) {
    if let (Some(a), Some(b)) = (literal.returns(packet), optimised.returns(packet)) {
        assert_eq!(a, b, "{text}\n{packet:02x?}\n{}\n{}", literal.asm(), optimised.asm());
    }
}

static NAMES: LazyLock<Tables> = LazyLock::new(common::names);
