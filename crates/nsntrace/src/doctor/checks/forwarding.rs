//! What NAT asks of the host, besides the rules that are tried elsewhere. Here one only looks.
//!
//! # Kernel interface
//! `/proc/sys/net/ipv4/ip_forward`, `/proc/sys/net/ipv6/conf/all/forwarding`; access(2).

use std::path::Path;

use rustix::fs::{Access, access};

use crate::doctor::bench::Bench;
use crate::doctor::check::{Answer, Stop, THERE};
use crate::failure::Failure;
use crate::worker::{Forwarding, RUN_DIR, sysctl};

pub(super) fn ipv4(bench: &mut Bench) -> Answer {
    bench.demand_nat()?;
    let value = sysctl::read("net/ipv4/ip_forward")
        .ok_or_else(|| Failure::new("/proc/sys has no net/ipv4/ip_forward"))?;
    bench.host.is_router = value != "0";
    Ok(if bench.host.is_router { "on".into() } else { BORROWED.into() })
}

pub(super) fn ipv6(bench: &mut Bench) -> Answer {
    bench.demand_nat()?;
    if !bench.host.has_ipv6 {
        return Err(Stop::since("this host has no IPv6"));
    }
    let forwarding = Forwarding::of_this_host();
    bench.host.nat_has_ipv6 = forwarding.is_some();
    match forwarding {
        Some(Forwarding::On) => Ok("on".into()),
        Some(Forwarding::PerDevice) => Ok(BORROWED.into()),
        None => Err(Failure::new(
            "it is off, and this kernel cannot switch it on for one device (Linux 6.17 can)",
        )
        .hint("--net proxy needs none")
        .into()),
    }
}

/// Where traces that run at the same time meet. They make it if it is not there.
pub(super) fn run_directory(bench: &mut Bench) -> Answer {
    bench.demand_nat()?;
    let ours = Path::new(RUN_DIR);
    let path = if ours.exists() { ours } else { ours.parent().unwrap_or(ours) };
    access(path, Access::WRITE_OK | Access::EXEC_OK).map_err(|errno| {
        Failure::of(&format!("cannot write to {}", path.display()), &errno).hint("--net proxy needs none")
    })?;
    THERE
}

/// Other people's rules cannot be understood in general, and to be tried they would need one of ours on the host.
pub(super) fn firewall(bench: &mut Bench) -> Answer {
    bench.demand_nat()?;
    Err(Stop::since(
        "that takes a rule on this host: each trace looks by itself, and goes past it or by proxy if need be",
    ))
}

const BORROWED: &str = "off; borrowed by a trace for the devices that it uses";
