//! `bench socket`: what a socket costs a program more when it is traced, and when its owner is known besides.
//!
//! # Theory of operation
//! The program is our own binary: it makes many sockets of a kind, and writes down what one took, batch by batch. Those that connect do so to a port of the loopback interface where nobody is, or
//! to a listener of their own, so that nobody but the kernel has a part in it.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};

use super::numbers::{self, Number};
use super::rounds;
use super::{lab, machine, verdict};
use crate::process::{self, Result};
use crate::workspace::Workspace;

/// `bench socket [--runs N] [--count N]`. `inside` is the same again in the namespaces made for it, `make` the program.
pub(super) fn run(words: &[&str]) -> Result {
    match words {
        ["inside", binary, runs, count] => run_inside(Path::new(binary), runs.parse()?, count),
        ["make", count, outfile] => make(count.parse()?, outfile),
        _ => enter(words),
    }
}

fn enter(words: &[&str]) -> Result {
    let numbers = [
        Number { flag: "--runs", max: 1000, default: 5 },
        Number { flag: "--count", max: 100_000, default: 300 },
    ];
    let [runs, count] = numbers::parse(words, &numbers)?.map(|number| number.to_string());
    let workspace = Workspace::load()?;
    let binary = super::build()?;
    println!("{}", machine::commit(&workspace.root));
    lab::run_inside(&["socket", "inside", &binary.to_string_lossy(), &runs, &count])
}

/// Measures, inside.
fn run_inside(binary: &Path, runs: usize, count: &str) -> Result {
    lab::prepare()?;
    let folder = Path::new("/run/bench");
    fs::create_dir(folder)?;
    println!("nsntrace bench socket: {runs} runs, batches of {count}\n{}", machine::describe(folder));
    let mut batches: [[Vec<f64>; LOADS.len()]; WAYS.len()] = Default::default();
    let mut failed = Ok(());
    rounds::each(WAYS.len(), runs, |way| match measure(binary, WAYS[way].1, folder, count) {
        Ok(measured) => {
            for (all, more) in batches[way].iter_mut().zip(measured) {
                all.extend(more);
            }
        }
        Err(error) => failed = Err(error),
    });
    failed?;
    print!("\n{}{}", table(&batches), machine::load());
    Ok(())
}

/// µs of each batch of each load.
fn measure(binary: &Path, options: Option<&[&str]>, folder: &Path, count: &str) -> Result<Vec<Vec<f64>>> {
    let outfile = folder.join("batches").to_string_lossy().into_owned();
    let program =
        [lab::own_path()?, "bench".into(), "socket".into(), "make".into(), count.into(), outfile.clone()];
    let mut command = match options {
        None => Command::new(&program[0]),
        Some(options) => {
            let mut command = Command::new(binary);
            command.args(["-q", "--net", "nat", "-o"]).arg(folder.join("trace.pcapng")).args(options);
            command.arg(&program[0]);
            command
        }
    };
    process::run(command.args(&program[1..]))?;
    let numbers = |line: &str| line.split(' ').map(str::parse).collect::<std::result::Result<_, _>>();
    Ok(fs::read_to_string(outfile)?.lines().map(numbers).collect::<std::result::Result<_, _>>()?)
}

/// The program: a line for each load, of one number for each batch.
fn make(count: u32, outfile: &str) -> Result {
    let mut lines = String::new();
    for (_, load) in LOADS {
        let mut sockets = load()?;
        let batch = |_| -> Result<String> {
            let began = Instant::now();
            for _ in 0..count {
                sockets()?;
            }
            Ok(format!("{:.3}", began.elapsed().as_secs_f64() * 1e6 / f64::from(count)))
        };
        let batches: Vec<_> = (0..BATCHES).map(batch).collect::<Result<_>>()?;
        writeln!(lines, "{}", batches.join(" "))?;
    }
    Ok(fs::write(outfile, lines)?)
}

/// Makes one socket, uses it and closes it.
type Sockets = Box<dyn FnMut() -> Result>;
type Load = fn() -> Result<Sockets>;

fn new(kind: SockType) -> Result<OwnedFd> {
    Ok(socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, None)?)
}

fn bare(kind: SockType) -> Sockets {
    Box::new(move || new(kind).map(drop))
}

fn connected_udp() -> Result<Sockets> {
    let peer = UdpSocket::bind(HOME)?;
    let address = peer.local_addr()?;
    Ok(Box::new(move || {
        let _open = &peer;
        UdpSocket::from(new(SockType::Datagram)?).connect(address)?;
        Ok(())
    }))
}

fn refused() -> Result<Sockets> {
    // A port that was free a moment ago.
    let port = TcpListener::bind(HOME)?.local_addr()?.port();
    let nobody = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    Ok(Box::new(move || {
        use std::os::fd::AsRawFd as _;
        match connect(new(SockType::Stream)?.as_raw_fd(), &nobody) {
            Err(nix::errno::Errno::ECONNREFUSED) => Ok(()),
            other => Err(format!("a port where nobody is: {other:?}").into()),
        }
    }))
}

fn accepted() -> Result<Sockets> {
    let listener = TcpListener::bind(HOME)?;
    let address = listener.local_addr()?;
    Ok(Box::new(move || {
        let one = TcpStream::connect(address)?;
        // Who closes last has no TIME_WAIT.
        drop(listener.accept()?);
        drop(one);
        Ok(())
    }))
}

const LOADS: [(&str, Load); 5] = [
    ("TCP", || Ok(bare(SockType::Stream))),
    ("TCP, connected: refused", refused),
    ("TCP, connected: accepted", accepted),
    ("UDP", || Ok(bare(SockType::Datagram))),
    ("UDP, connected", connected_udp),
];

/// What a program is run by, and with what options of ours.
const WAYS: [(&str, Option<&[&str]>); 3] =
    [("untraced", None), ("--no-process-info", Some(&["--no-process-info"])), ("nsntrace", Some(&[]))];
const HOME: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
const BATCHES: usize = 15;
/// What issue 6 promises, µs.
const MOST_US: f64 = 10.0;

fn table(batches: &[[Vec<f64>; LOADS.len()]; WAYS.len()]) -> String {
    let mut text = format!("{:<28}", "us, socket to close: min/median");
    for (name, _) in WAYS {
        let _ = write!(text, "{name:>20}");
    }
    text += "          more\n";
    let mut bars = String::new();
    for (load, (name, _)) in LOADS.iter().enumerate() {
        let figures = [0, 1, 2].map(|way: usize| min_and_median(&batches[way][load]));
        let more = [0, 1].map(|which| figures[2][which] - figures[1][which]);
        let _ = write!(text, "{name:<31}");
        for [min, median] in figures.iter().chain([&more]) {
            let _ = write!(text, "{:>20}", format!("{min:.1}/{median:.1}"));
        }
        text += "\n";
        bars += &verdict::at_most(&format!("us more, {name}, median"), Some(more[1]), MOST_US);
    }
    text + &bars
}

fn min_and_median(batches: &[f64]) -> [f64; 2] {
    let mut sorted = batches.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    [sorted.first(), sorted.get(sorted.len() / 2)].map(|figure| figure.copied().unwrap_or(f64::NAN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_more_is_told_and_judged() {
        let batches = [1.0, 2.0, 12.5].map(|us: f64| LOADS.map(|_| vec![us + 2.0, us, us + 1.0]));
        let table = table(&batches);
        let lines: Vec<_> =
            table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for line in [
            "UDP, connected 1.0/2.0 2.0/3.0 12.5/13.5 10.5/10.5",
            "MISSED us more, TCP, median: 10.50, at most 10.00",
        ] {
            assert!(lines.iter().any(|one| one == line), "no `{line}` in\n{table}");
        }
    }

    #[test]
    fn every_load_does_what_it_is_called() {
        for (name, load) in LOADS {
            let mut sockets = load().unwrap();
            for _ in 0..3 {
                sockets().unwrap_or_else(|error| panic!("{name}: {error}"));
            }
        }
    }
}
