//! Taking back what an earlier run could not: both of its processes were killed.

use std::error::Error;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::str::FromStr;

use nsntrace_lease::RunDir;
use nsntrace_link::{IfIndex, RouteSocket, Veth};
use nsntrace_nat::conntrack;
use nsntrace_netns::name;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, socket};

use crate::failure::Failure;

/// Opens the directory in which the runs of this network namespace meet.
pub(crate) fn run_dir() -> Result<RunDir, Failure> {
    // A cookie is never used twice; before Linux 5.14 the inode has to do.
    let any = socket(AddressFamily::UNIX, SocketType::DGRAM, None)
        .map_err(|errno| Failure::of("cannot open a socket", &errno))?;
    let scope = match nsntrace_sys::netns_cookie(any.as_fd()) {
        Ok(cookie) => format!("net-{cookie}"),
        Err(_unknown) => format!("net-i{}", nsntrace_netns::current_id()?),
    };
    Ok(RunDir::open(Path::new(RUN_DIR), &scope)?)
}

/// Takes back what killed runs left. What cannot be taken back now is left for the next run; it harms nobody.
pub(crate) fn heal(run_dir: &RunDir, host: &mut RouteSocket) {
    for stale in run_dir.stale().unwrap_or_default() {
        if undo(&stale.notes, host) {
            let _left = stale.forget();
        }
    }
    let _left = run_dir.heal_leases();
    let _left = host.remove_stale_rules();
    let _left = nsntrace_nat::remove_stale(|pid, start| {
        start_time(pid).is_some_and(|now| start.is_none_or(|start| start == now))
    });
}

/// Heals at once: worker of this very run was killed.
pub(crate) fn clean_up_after() {
    let healed = || -> Result<(), Failure> {
        let mut host = RouteSocket::open()?;
        heal(&run_dir()?, &mut host);
        Ok(())
    };
    // The next run tries again.
    let _left = healed();
}

/// What a run notes before it shows its namespace under a name.
pub(crate) fn name_note(name: &str) -> String {
    format!("{NETNS_NAME} {name}")
}

/// What a run notes of its wire before packets go by it: the near end, and what the program's packets come from.
///
/// The wire goes with the namespace, but a connection that still closes keeps that alive, and nobody answers it any more.
pub(crate) fn wire_note(veth: &Veth, addresses: impl Iterator<Item = IpAddr>) -> String {
    addresses
        .fold(format!("{WIRE} {} {}", veth.name, veth.ifindex), |note, address| format!("{note} {address}"))
}

/// What a run notes before it makes a detour.
pub(crate) fn table_note(table: u32) -> String {
    format!("{TABLE} {table}")
}

/// Undoes what was noted, the latest first, and goes on past what fails. True if nothing failed.
///
/// So the wire goes last: as soon as it is gone, its name is the next run's, whom rules of ours by that name must not concern.
pub(crate) fn undo(notes: &[String], host: &mut RouteSocket) -> bool {
    notes.iter().rev().filter(|note| undo_one(note, host).is_err()).count() == 0
}

fn undo_one(note: &str, host: &mut RouteSocket) -> Result<(), Failure> {
    match note.split_once(' ') {
        Some((NETNS_NAME, name)) => Ok(name::hide(name)?),
        Some((TABLE, table)) => Ok(host.remove_table(parse(table)?)?),
        Some((WIRE, wire)) => remove_wire(wire, host),
        // A later version's note: not ours to understand, hence not ours to forget.
        _ => Err(Failure::of("cannot undo", &io::Error::from(ErrorKind::Unsupported))),
    }
}

/// Goes on past what fails, and gives the first failure.
fn remove_wire(note: &str, host: &mut RouteSocket) -> Result<(), Failure> {
    let mut words = note.split(' ');
    let (name, number) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let removed = remove_link(name, number, host);
    let forgotten = words.map(|address| Ok(conntrack::forget(parse(address)?).map(drop)?));
    forgotten.fold(removed, Result::and)
}

fn remove_link(name: &str, number: &str, host: &mut RouteSocket) -> Result<(), Failure> {
    let Some(ifindex) = IfIndex::new(parse(number)?) else { return Ok(()) };
    match host.link(ifindex) {
        Ok(link) if link.name.as_str() == name => Ok(host.delete_link(ifindex)?),
        // Somebody else's by now.
        Ok(_) => Ok(()),
        Err(error) if error.errno() == Some(Errno::NODEV) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn parse<T: FromStr<Err: Error + 'static>>(text: &str) -> Result<T, Failure> {
    text.parse().map_err(|error| Failure::of("cannot undo", &error))
}

/// When a process started, in clock ticks after boot: field 22 of proc(5)'s `stat`. `None` for no such process.
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field, the name, is in parentheses and may hold anything.
    let (_, from_third) = stat.rsplit_once(')')?;
    from_third.split_whitespace().nth(22 - 3)?.parse().ok()
}

const TABLE: &str = "table";
const NETNS_NAME: &str = "netns-name";
const WIRE: &str = "wire";
/// Where runs of all network namespaces meet.
pub(crate) const RUN_DIR: &str = "/run/nsntrace";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_has_started_and_nobody_has_pid_0() {
        let boot_ticks = start_time(std::process::id()).unwrap();
        assert!(boot_ticks > 0);
        assert_eq!(start_time(0), None);
    }
}
