//! That binaries of other architectures say what this machine's says, where no network is needed: run by an emulator of the processor alone,
//! on this machine's kernel. What needs a network is tried by `vm-test`, on a kernel of their own.
//!
//! # References
//! qemu-aarch64-static(1).

use std::path::Path;
use std::process::{Command, Output};

use crate::process::{self, Result};

/// Compares status and words of `foreign`, of an architecture as qemu names it, with those of `native`.
///
/// # Errors
/// Says what was typed, and what came of it.
pub(super) fn check(native: &Path, foreign: &Path, arch: &str) -> Result {
    for arguments in TYPED {
        let here = run(&mut Command::new(native), arguments)?;
        let there = run(Command::new(format!("qemu-{arch}-static")).arg(foreign), arguments)?;
        let compared = compare(&here, &there);
        compared.map_err(|error| format!("nsntrace {} on {arch}: {error}", arguments.join(" ")))?;
    }
    println!("{arch}: {} commands come to the same as here", TYPED.len());
    Ok(())
}

fn run(command: &mut Command, arguments: &[&str]) -> Result<Output> {
    let output = command.args(arguments).output();
    Ok(output.map_err(|error| format!("cannot run {}: {error}", process::words(command)))?)
}

fn compare(here: &Output, there: &Output) -> Result {
    if here.status.code().is_none() || there.status.code() != here.status.code() {
        return Err(format!("{}, not {}: {}", there.status, here.status, text(&there.stderr)).into());
    }
    for (seen, expected) in [(&there.stdout, &here.stdout), (&there.stderr, &here.stderr)] {
        if seen != expected {
            return Err(format!("{:?}, not {:?}", text(seen), text(expected)).into());
        }
    }
    if here.stdout.is_empty() && here.stderr.is_empty() { Err("no word was said".into()) } else { Ok(()) }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Words, programs of the compiler for all that a filter loads (bytes in the network's order, sums, jumps far and near), and errors: of the filter
/// with its caret, of options that contradict each other, of a file that cannot be written.
const TYPED: &[&[&str]] = &[
    &["--help"],
    &["--version"],
    &["--dump-filter"],
    &["-f", "tcp port 80 and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)", "--dump-filter"],
    &["-f", "ip6 host 2001:db8::1 or net 192.0.2.0/24 or portrange 1000-2000", "--dump-filter=dec"],
    &["-f", "ether[0] & 1 = 0 and ip[16] >= 224 or vlan 7", "--dump-filter=c"],
    &["-f", "tcp prot 80", "true"],
    &["--no-such-option"],
    &["--snaplen", "many", "true"],
    &["-o", "/nonexistent/folder/file.pcap", "true"],
    &["--file-count", "3", "true"],
];

#[cfg(test)]
mod tests {
    use super::*;

    fn says(script: &str) -> Output {
        Command::new("sh").args(["-c", script]).output().unwrap()
    }

    #[test]
    fn status_and_both_outputs_are_compared() {
        let here = says("echo a; echo b >&2; exit 3");
        assert!(compare(&here, &here).is_ok());
        for other in ["echo a; echo b >&2", "echo a; exit 3", "echo b >&2; exit 3", "kill -9 $$"] {
            assert!(compare(&here, &says(other)).is_err(), "{other}");
        }
        // Two that crash the same way, or say nothing, prove nothing.
        for both in ["kill -9 $$", "true"] {
            assert!(compare(&says(both), &says(both)).is_err(), "{both}");
        }
    }
}
