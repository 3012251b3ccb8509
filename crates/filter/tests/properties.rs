//! What holds of every filter: the optimiser changes no decision, the kernel takes every program, no text
//! does harm.
#![forbid(unsafe_code)]

mod common;

use std::time::{Duration, Instant};

use common::{Random, filters, frames};
use nsntrace_filter::{Ancillary, ErrorKind, LinkType, NoNames, Options, Packet, Source, compile};

/// How many filters each property is tried on.
const FILTERS: u64 = 1500;

/// Compares what optimised and literal programs return, and has every program checked.
#[track_caller]
fn check(link_type: LinkType, source: Source, seed: u64) {
    let frames: Vec<_> =
        frames::frames(seed, 300).iter().filter_map(|frame| frames::relink(frame, link_type)).collect();
    let mut random = Random::new(seed);
    let mut compared = 0;
    for _ in 0..FILTERS {
        let text = filters::filter(&mut random);
        let options = common::options(link_type, source);
        let literal = compile(&text, &Options { optimise: false, ..options }, &NoNames);
        let (Ok(literal), Ok(optimised)) = (literal, compile(&text, &options, &NoNames)) else { continue };
        compared += 1;
        for program in [&literal, &optimised] {
            common::kernel_takes(program)
                .unwrap_or_else(|error| panic!("{text}: {error}\n{}", program.asm()));
        }
        for frame in &frames {
            let vlan_tci = random.chance(30).then_some(100);
            let ancillary = Ancillary { vlan_tci, ifindex: 2, ..Ancillary::default() };
            let packet = Packet { ancillary, ..Packet::whole(frame) };
            let (Some(a), Some(b)) = (literal.returns(&packet), optimised.returns(&packet)) else { continue };
            assert_eq!(a, b, "{text}\n{frame:02x?}\n{vlan_tci:?}\n{}\n{}", literal.asm(), optimised.asm());
        }
    }
    assert!(compared > FILTERS / 4, "only {compared} filters were valid");
}

#[test]
fn the_optimiser_changes_no_decision_on_ethernet() {
    check(LinkType::Ethernet, Source::Unknown, 1);
}

#[test]
fn the_optimiser_changes_no_decision_on_a_live_socket() {
    check(LinkType::Ethernet, Source::Live, 2);
}

#[test]
fn the_optimiser_changes_no_decision_on_other_link_types() {
    check(LinkType::Raw, Source::Unknown, 3);
    check(LinkType::Null, Source::File, 4);
    check(LinkType::LinuxSll, Source::Unknown, 5);
    check(LinkType::LinuxSll2, Source::File, 6);
}

#[test]
fn the_kernel_takes_every_live_program_of_the_corpus() {
    let options = common::options(LinkType::Ethernet, Source::Live);
    for (text, is_valid, _) in common::corpus() {
        if !is_valid {
            continue;
        }
        let program =
            compile(text, &options, &common::names()).unwrap_or_else(|error| panic!("{text}: {error}"));
        common::kernel_takes(&program).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}

/// Any outcome is right, as long as it comes soon.
#[track_caller]
fn survives(text: &str) {
    let start = Instant::now();
    for source in [Source::Unknown, Source::Live] {
        for optimise in [true, false] {
            let options = Options { source, optimise, ..Options::default() };
            if let Err(error) = compile(text, &options, &NoNames) {
                assert!(error.span.start <= error.span.end && error.span.end <= text.len());
                assert!(error.excerpt(text).to_string().lines().count() == 2);
            }
        }
    }
    let bound = Duration::from_mins(2);
    assert!(start.elapsed() < bound, "{:?} for {}...", start.elapsed(), text.get(..60).unwrap_or(text));
}

/// `text` as often as it fits in 64 KiB.
fn full(text: &str) -> String {
    text.repeat(65_536 / text.len())
}

/// ` or 2 or 3 ...` up to a number.
fn numbers(last: u32) -> String {
    (2..=last).fold(String::new(), |text, number| text + " or " + &number.to_string())
}

#[test]
fn deep_nesting_does_no_harm() {
    let deep = |open: &str, middle: &str, close: &str| {
        let depth = (65_536 - middle.len()) / (open.len() + close.len());
        format!("{}{middle}{}", open.repeat(depth), close.repeat(depth))
    };
    survives(&deep("(", "tcp", ")"));
    survives(&deep("not(", "tcp", ")"));
    survives(&deep("ip[", "0", "]"));
    survives(&deep("(", "5", ")>3"));
    survives(&deep("1+(", "5", ")"));
    survives(&deep("tcp or (", "udp", ")"));
    survives(&deep("(not ", "udp", ")and udp"));
    survives(&format!("{} tcp", "not ".repeat(16_000)));
    survives(&format!("{}1 = 1", "-".repeat(65_000)));
    survives(&full("("));
    survives(&full("ip["));
}

#[test]
fn long_filters_do_no_harm() {
    survives(&format!("port 1{}", full(" or 2")));
    survives(&format!("port 0{}", numbers(6000).replace(" or ", " or port ")));
    survives(&format!("port 1{}", numbers(9000)));
    survives(&format!("host 1{}", numbers(9000)));
    survives(&format!("tcp{}", full(" and vlan")));
    survives(&format!("tcp{}", full(" and mpls")));
    survives(&format!("tcp{}", full(" or geneve")));
    survives(&format!("tcp{}", full(" or protochain 6")));
    survives(&format!("ip[0]{} = 1", full("+ip[0]")));
    survives(&format!("1{} = 1", full("%2")));
    survives(&format!("net ::1{}", full(" or ::2")));
    survives(&format!("vlan and port 1{}", numbers(6000)));
}

#[test]
fn long_tokens_do_no_harm() {
    for text in ["a", "1", ":", "::", "1:", "0x", ".", "-", "\\", "$", "é", "\0", "1.", "ab:", "=", "\t", "f"]
    {
        survives(&full(text));
        survives(&format!("host {}", full(text)));
    }
}

#[test]
fn random_bytes_do_no_harm() {
    let mut random = Random::new(7);
    for _ in 0..3000 {
        let bytes: Vec<u8> =
            (0..random.below(40)).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
        survives(&String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn random_words_do_no_harm() {
    let words: Vec<&str> = common::corpus().iter().flat_map(|(text, ..)| text.split(' ')).collect();
    let mut random = Random::new(8);
    for _ in 0..20_000 {
        let text: Vec<&str> = (0..=random.below(8)).map(|_| *random.pick(&words)).collect();
        survives(&text.join(" "));
    }
}

#[test]
fn too_long_is_a_clear_error() {
    let text = format!("host 1{}", numbers(2000));
    let error = compile(&text, &Options::default(), &NoNames).unwrap_err();
    assert!(matches!(error.kind, ErrorKind::TooLong(_)), "{error}");
    let text = format!("port 1{}", numbers(9000));
    let error = compile(&text, &Options::default(), &NoNames).unwrap_err();
    assert!(matches!(error.kind, ErrorKind::TooManyTests(_)), "{error}");
}
