//! What a packet costs the thread that records it, in the best of many rounds:
//! `cargo run --release -p nsntrace-report --example cost`.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::time::Instant;

use nsntrace_dissect::{dissect, glance};
use nsntrace_report::{Census, Sight};

#[expect(clippy::print_stdout, reason = "it is read by whoever runs it")]
fn main() {
    for flows in [1, 100, 10_000] {
        let frames: Vec<Vec<u8>> = (0..flows).map(frame).collect();
        let headers = cost(&frames, |frame| {
            black_box(dissect(black_box(frame)).expect("a frame of IPv4"));
        });
        let mut census = Census::new();
        let counted = cost(&frames, |frame| {
            let sight = Sight { timestamp_ns: 1, is_outbound: true, is_loopback: false, len: 60 };
            let seen = glance(black_box(frame)).and_then(|glance| census.glance(&glance, &sight));
            if black_box(seen).is_some() {
                return;
            }
            let packet = dissect(black_box(frame)).expect("a frame of IPv4");
            let seen = census.see(&packet, &sight);
            black_box(census.head(&packet, &seen));
        });
        assert_eq!(census.flows().count(), frames.len());
        println!("{flows} flows: headers {headers:.1} ns, counted {counted:.1} ns");
    }
}

/// Nanoseconds a frame, in the best of many rounds: others use the machine too.
fn cost(frames: &[Vec<u8>], mut work: impl FnMut(&[u8])) -> f64 {
    let mut round = || {
        let start = Instant::now();
        (0..FRAMES).for_each(|number| work(&frames[number % frames.len()]));
        start.elapsed()
    };
    let best = (0..ROUNDS).map(|_| round()).min().expect("there are rounds");
    #[expect(clippy::cast_precision_loss, reason = "exact for so few")]
    let frames = FRAMES as f64;
    best.as_secs_f64() * 1e9 / frames
}

/// 64 bytes: a segment of TCP over IPv4.
fn frame(number: u16) -> Vec<u8> {
    let ip = b"\x45\0\0\x32\0\x01\0\0\x40\x06\0\0\xc0\0\x02\x01\xc6\x33\x64\x02";
    let tcp = b"\0\x50\0\0\0\x07\0\0\0\x09\x50\x10\x01\0\0\0\0\0";
    [&[0; 12][..], b"\x08\0", ip, &(20_000 + number).to_be_bytes(), tcp, &[7; 10]].concat()
}

const FRAMES: usize = 20_000;
const ROUNDS: usize = 200;
