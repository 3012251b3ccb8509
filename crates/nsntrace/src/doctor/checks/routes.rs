//! Where packets leave the host.
//!
//! # Kernel interface
//! `RTM_GETROUTE`, `RTM_GETLINK`. No privilege.

use nsntrace_link::{IpFamily, RouteSocket};

use crate::doctor::bench::Bench;
use crate::doctor::check::{Answer, Lost, Stop};
use crate::failure::Failure;
use crate::worker::Ipv6;

pub(super) fn ipv4(_bench: &mut Bench) -> Answer {
    let mut host = RouteSocket::open()?;
    match default_device(&mut host, IpFamily::V4)? {
        Some(words) => Ok(words),
        None => Err(Failure::new("there is none").into()),
    }
}

pub(super) fn ipv6(bench: &mut Bench) -> Answer {
    let mut host = RouteSocket::open()?;
    bench.host.has_ipv6 = !Ipv6::destinations(&host.routes()?, None, u32::MAX, &mut Vec::new()).is_empty();
    match default_device(&mut host, IpFamily::V6)? {
        Some(words) => Ok(words),
        None if bench.host.has_ipv6 => Err(Stop::with(Failure::new("there is none"), NARROW)),
        None => Err(Failure::new("there is none, and no IPv6 network either").into()),
    }
}

fn default_device(host: &mut RouteSocket, family: IpFamily) -> Result<Option<String>, Failure> {
    let Some(uplink) = host.default_uplink(family)? else { return Ok(None) };
    Ok(Some(format!("by {}", host.link(uplink.ifindex)?.name)))
}

const NARROW: Lost = Lost::part("over IPv6 a program reaches the host's own networks alone");
