//! Namespaces, and whether the settings in them are ours.
//!
//! # Kernel interface
//! `unshare(CLONE_NEWNET)`, `setns(CLONE_NEWNET)`, `unshare(CLONE_NEWNS)`, mount(2); write(2) to `/proc/sys/net`.

use nsntrace_link::{IfIndex, RouteSocket};
use nsntrace_netns::Netns;

use crate::doctor::bench::{Bench, Scratch};
use crate::doctor::check::{Answer, Lost, Stop, THERE};
use crate::failure::Failure;
use crate::nameservice::NameService;
use crate::worker::sysctl;

/// Makes two. From here on this thread is in one of them.
pub(super) fn network(bench: &mut Bench) -> Answer {
    if !bench.is_capable {
        return Err(Stop::since("it takes capabilities, which a user namespace would give"));
    }
    let (program, ()) = Netns::create(|| ())?;
    let (ours, ()) = Netns::create(|| ())?;
    ours.enter()?;
    let mut route = RouteSocket::open()?;
    route.set_up(IfIndex::LOOPBACK)?;
    bench.scratch = Some(Scratch { program, route, veth: None, tap: None, table: None });
    THERE
}

/// Covers what a trace would cover on this host, in mounts of our own.
pub(super) fn mounts(bench: &mut Bench) -> Answer {
    bench.scratch()?;
    let name_service = NameService::find(false)?;
    if name_service.covers_something() {
        name_service.apply()?;
        return THERE;
    }
    NameService::separate_mounts()
        .map_err(|failure| Stop::with(failure, Lost::part("--use-public-dns does not work")))?;
    THERE
}

/// Whether settings of a network namespace can be written, by writing what is there. In many containers they cannot, and need not be
/// if they are right: forwarding for NAT, the filter of reverse paths for the proxy.
pub(super) fn settings(bench: &mut Bench) -> Answer {
    let forwards = bench.host.is_router && !bench.host.nat_has_ipv6;
    bench.scratch()?;
    let value = sysctl::read(RP_FILTERS[0]).ok_or_else(|| Failure::new("there is no /proc/sys/net"))?;
    let is_strict = RP_FILTERS.iter().any(|key| sysctl::read(key).as_deref() == Some(STRICT));
    let Err(failure) = sysctl::write(RP_FILTERS[0], &value) else { return THERE };
    let lost = Lost::of(!forwards, is_strict, "what is set there is right, and cannot be changed");
    Err(Stop::with(failure.hint(READ_ONLY), lost))
}

/// Those that the proxy wants to be off.
const RP_FILTERS: [&str; 3] =
    ["net/ipv4/conf/all/rp_filter", "net/ipv4/conf/default/rp_filter", "net/ipv4/conf/lo/rp_filter"];
/// Documentation/networking/ip-sysctl.rst: `rp_filter`.
const STRICT: &str = "1";
const READ_ONLY: &str =
    "in a container, mount /proc/sys writable: --privileged, or --security-opt systempaths=unconfined";
