//! The kernel takes every live program, and decides as our interpreter does.
//!
//! A filter attached to one end of a datagram socket pair sees what is sent through the other end; that needs
//! no privilege.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]

mod common;

use std::io::ErrorKind::WouldBlock;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;

use common::{Random, filters, frames};
use nsntrace_filter::{LinkType, NoNames, Packet, Program, Source, compile};

/// Attaches the program to a new pair; the first end sends, the second one receives what matches.
#[track_caller]
fn attached(text: &str, program: &Program) -> (UnixDatagram, UnixDatagram) {
    let (sender, receiver) = UnixDatagram::pair().expect("two descriptors are to be had");
    let insn = |insn: &nsntrace_filter::Insn| nsntrace_sys::Insn {
        code: insn.code,
        jt: insn.jt,
        jf: insn.jf,
        k: insn.k,
    };
    let insns: Vec<_> = program.insns().iter().map(insn).collect();
    if let Err(error) = nsntrace_sys::attach_filter(receiver.as_fd(), &insns) {
        panic!("{text}: {error}\n{}", program.asm());
    }
    receiver.set_nonblocking(true).expect("a socket can be made so");
    (sender, receiver)
}

/// Sends every frame, and compares what comes through with what our interpreter says.
#[track_caller]
fn check(text: &str, program: &Program, frames: &[Vec<u8>]) {
    let (sender, receiver) = attached(text, program);
    let mut buffer = [0; 2048];
    for frame in frames {
        sender.send(frame).expect("the queue is empty");
        let arrived = match receiver.recv(&mut buffer) {
            Ok(_) => true,
            Err(error) if error.kind() == WouldBlock => false,
            Err(error) => panic!("{error}"),
        };
        let packet = Packet::whole(frame);
        assert_eq!(arrived, program.matches(&packet), "{text}\n{frame:02x?}\n{}", program.asm());
    }
}

#[test]
fn the_corpus_runs_in_the_kernel() {
    let frames = frames::frames(11, 250);
    let options = common::options(LinkType::Ethernet, Source::Live);
    for (text, is_valid, notes) in common::corpus() {
        if !is_valid {
            continue;
        }
        let program = compile(text, &options, &common::names()).unwrap();
        // A datagram of a socket pair has no interface, so what asks for one is only attached.
        if notes.contains("live-only") {
            attached(text, &program);
        } else {
            check(text, &program, &frames);
        }
    }
}

#[test]
fn the_edges_run_in_the_kernel() {
    let frames = frames::frames(14, 120);
    let options = common::options(LinkType::Ethernet, Source::Live);
    for text in common::edges() {
        let Ok(program) = compile(text, &options, &common::names()) else { continue };
        if text.contains("ifindex") {
            attached(text, &program);
        } else {
            check(text, &program, &frames);
        }
    }
}

#[test]
fn random_filters_run_in_the_kernel() {
    let frames = frames::frames(12, 60);
    let options = common::options(LinkType::Ethernet, Source::Live);
    let mut random = Random::new(13);
    for _ in 0..800 {
        let text = filters::filter(&mut random);
        let Ok(program) = compile(&text, &options, &NoNames) else { continue };
        if !text.contains("ifindex") {
            check(&text, &program, &frames);
        }
    }
}
