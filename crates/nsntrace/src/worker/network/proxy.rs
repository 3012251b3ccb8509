//! The way out by proxy: what the program says is said again by ordinary sockets of the host, which nobody has to allow.
//!
//! # Theory of operation
//! The wire ends in a namespace of our own, the router, in which every address is local. A thread enters it, opens there what must be
//! born inside, and ends; the proxy runs on a thread that stays in the host's namespace. Nothing on the host is changed, so
//! there is nothing to take back: the router goes with its last descriptor. docs/proxy.md has the whole of it.

use std::net::Ipv6Addr;

use nsntrace_link::{IfIndex, IpFamily, Monitor, Plan as LinkPlan, Route, RouteSocket};
use nsntrace_nat::{Ports, lead_to_proxy};
use nsntrace_netns::Netns;
use nsntrace_proxy::{Config, Inside, Limits, Proxy, ProxyError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::CapabilitySet;

use super::attendant::Attendant;
use super::{Network, Uplink, Watched, Way};
use crate::failure::Failure;
use crate::plan::Plan;
use crate::transport::Transport;
use crate::worker::ipv6::Ipv6;
use crate::worker::privilege;
use crate::worker::sysctl;
use crate::worker::wire::{Side, Wire, WireRequest};

/// A proxy that runs. Dropped, it waits for what the program has written to be delivered, which the proxy limits.
struct Proxied {
    thread: Attendant<ProxyError>,
    _router: Netns,
}

/// What was opened in the router.
struct Router {
    route: RouteSocket,
    monitor: Monitor,
    sockets: Inside,
}

/// Makes the network between `netns`, which `inside` is a side of, and sockets of this thread's namespace.
pub(super) fn make(plan: &Plan, netns: &Netns, inside: Side<'_>) -> Result<Network, Failure> {
    let mut host = RouteSocket::open()?;
    let mut notes = Vec::new();
    let uplink = Uplink::find(plan, &mut host, &mut notes)?;
    let only = plan.device.as_ref().map(|device| device.ifindex);
    let destinations = Ipv6::destinations(&host.routes()?, only, uplink.mtu, &mut notes);
    let has_ipv6 = !destinations.is_empty();
    let needed = privilege::needed(Transport::Proxy, plan);
    let (router, opened) = Netns::create(|| privilege::keep(needed).and_then(|()| Router::open(has_ipv6)))?;
    privilege::keep(needed)?;
    let Router { mut route, mut monitor, sockets } = opened?;
    // The program is to reach what the host reaches, so its own network is none of the host's.
    let occupied = host.occupied()?;
    let request = WireRequest { name: DEVICE, mtu: uplink.mtu, has_ipv6, occupied: &occupied };
    let wire = Wire::make(&mut route, netns, &request)?;
    let outside = Side { route: &mut route, monitor: &mut monitor };
    let macs = wire.connect(outside, inside, &destinations, plan.options.no_offload, &mut notes)?;
    raise_descriptor_limit();
    let config = Config {
        ifindex: wire.veth.ifindex.get(),
        mac: macs.near,
        program_mac: macs.far,
        mtu: usize::try_from(uplink.mtu).unwrap_or(usize::MAX),
        router_v4: wire.v4.host,
        router_v6: wire.v6.map_or(Ipv6Addr::UNSPECIFIED, |block| block.host),
        device: plan.device.as_ref().map(|device| device.name.to_string()),
        limits: Limits::default(),
    };
    let way = Box::new(Proxied::start(Proxy::new(sockets, config)?, router, needed)?);
    Ok(Network { way, wire, transport: Transport::Proxy, interface: uplink.name, notes })
}

impl Router {
    /// Prepares the calling thread's namespace, a fresh one, and opens there what must be born inside.
    fn open(has_ipv6: bool) -> Result<Self, Failure> {
        let mut route = RouteSocket::open()?;
        trust_loopback()?;
        let mut plan = LinkPlan::new();
        plan.set_up(IfIndex::LOOPBACK).add_route(&Route::everywhere_is_here(IpFamily::V4));
        if has_ipv6 {
            plan.add_route(&Route::everywhere_is_here(IpFamily::V6));
        }
        route.apply(&plan)?;
        let sockets = Inside::open()?;
        lead_to_proxy(DEVICE, Ports { tcp: sockets.tcp_port(), udp: sockets.udp_port() })?;
        Ok(Self { route, monitor: Monitor::open()?, sockets })
    }
}

/// Lets in by loopback what has the program's address for its source, as a SYN that is let through has: the filter of reverse paths
/// would take it for forged. A new namespace inherits it from the machine's first one (`devinet_init_net()` in net/ipv4/devinet.c), and
/// the greater of a device's and all devices' value counts.
fn trust_loopback() -> Result<(), Failure> {
    for key in
        ["net/ipv4/conf/all/rp_filter", "net/ipv4/conf/default/rp_filter", "net/ipv4/conf/lo/rp_filter"]
    {
        match sysctl::write(key, "0") {
            // A container's /proc/sys may be read-only, and the value right.
            Err(failure) if sysctl::read(key).is_some_and(|value| value == STRICT) => return Err(failure),
            _ => {}
        }
    }
    Ok(())
}

/// Each connection takes two descriptors. The program, which front forks, keeps the limit that we were started with.
fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Refused nowhere; if it were, there would be fewer connections.
    let _as_before = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

impl Proxied {
    fn start(mut proxy: Proxy, router: Netns, needed: CapabilitySet) -> Result<Self, Failure> {
        let thread = Attendant::start("nsntrace-proxy", needed, move |stop| proxy.run(stop))?;
        Ok(Self { thread, _router: router })
    }
}

impl Way for Proxied {
    /// Readable when the proxy has ended though nobody wanted it to.
    fn watched(&self) -> Watched<'_> {
        [self.thread.ended(), None]
    }

    /// Says why the proxy has ended.
    fn follow(&mut self) -> Result<(), Failure> {
        self.thread.outcome()
    }
}

/// The router's end of the wire. There is no other device of this name, for the namespace is ours.
const DEVICE: &str = "nst0";
/// Documentation/networking/ip-sysctl.rst: `rp_filter`.
const STRICT: &str = "1";
