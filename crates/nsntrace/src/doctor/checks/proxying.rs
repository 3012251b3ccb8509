//! What the proxy needs in a namespace of its own.
//!
//! # Kernel interface
//! `tproxy` of nf_tables, `IP_TRANSPARENT`, `IPV6_TRANSPARENT`, routes of type `local`.

use nsntrace_link::{IpFamily, Plan, Route};
use nsntrace_nat::{Ports, lead_to_proxy};
use nsntrace_proxy::Inside;

use super::packets::DEVICE;
use super::rules::NO_NF_TABLES;
use crate::doctor::bench::Bench;
use crate::doctor::check::{Answer, Stop, THERE};

/// The rules that lead to the proxy.
pub(super) fn tproxy(bench: &mut Bench) -> Answer {
    if bench.scratch()?.table.is_none() {
        return Err(Stop::since(NO_NF_TABLES));
    }
    let anywhere = Ports { tcp: 1, udp: 1 };
    lead_to_proxy(DEVICE, anywhere)?;
    THERE
}

/// The proxy's sockets. They end with this process.
pub(super) fn transparent_sockets(bench: &mut Bench) -> Answer {
    bench.scratch()?;
    Inside::open()?;
    THERE
}

/// Every address made local.
pub(super) fn local_routes(bench: &mut Bench) -> Answer {
    let has_ipv6 = bench.host.has_ipv6;
    let scratch = bench.scratch()?;
    let mut plan = Plan::new();
    plan.add_route(&Route::everywhere_is_here(IpFamily::V4));
    if has_ipv6 {
        plan.add_route(&Route::everywhere_is_here(IpFamily::V6));
    }
    scratch.route.apply(&plan)?;
    THERE
}
