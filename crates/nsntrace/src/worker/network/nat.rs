//! The way out by NAT: the host forwards and masquerades what comes by the wire.
//!
//! # Theory of operation
//! Each part is made by the crate or module of its object; what is decided here is their order, and the order in which they go.

use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::time::Instant;

use nsntrace_lease::Presence;
use nsntrace_link::{Monitor, RouteSocket};
use nsntrace_nat::{Nat as Table, Owner, Spec};
use nsntrace_netns::{Netns, name};
use rustix::process::Pid;

use super::firewall::{self, Passage};
use super::{Knocks, Network, Uplink, Watched, Way};
use crate::failure::{Failure, chain};
use crate::plan::Plan;
use crate::transport::Transport;
use crate::worker::detour::Detour;
use crate::worker::heal;
use crate::worker::ipv6::Ipv6;
use crate::worker::uplinks::Uplinks;
use crate::worker::wire::{NAME_PREFIX, Side, Wire, WireRequest};

/// What the host does for one trace. Dropped, what was noted is undone, and the rest goes in the order of its fields.
struct Nat {
    detour: Option<Detour>,
    uplinks: Uplinks,
    table: Table,
    /// Behind the table, which hands packets over to it.
    passage: Passage,
    host: RouteSocket,
    monitor: Monitor,
    /// Last: as long as it stands, nobody heals what is still to be taken back.
    presence: Presence,
}

/// Makes the network between `netns`, which `inside` is a side of, and the namespace of this thread.
///
/// # Errors
/// Also where the host's firewall would drop the program's packets and they may not or cannot go past it, unless the user insists on NAT
/// and hence is told only.
pub(super) fn make(
    plan: &Plan,
    netns: &Netns,
    inside: Side<'_>,
    knocks: Knocks,
    front: Pid,
) -> Result<Network, Failure> {
    let mut host = RouteSocket::open()?;
    let run_dir = heal::run_dir()?;
    heal::heal(&run_dir, &mut host);
    let mut presence = Presence::register(&run_dir, number(front))?;
    // Before the routes are read: no change of them is missed.
    let mut monitor = Monitor::open()?;
    let mut notes = Vec::new();
    let only = plan.device.as_ref().map(|device| device.ifindex);
    let uplink = Uplink::find(plan, &mut host, &mut notes)?;
    let ipv6 = Ipv6::find(&host.routes()?, only, uplink.mtu, &mut notes);
    let has_ipv6 = ipv6.forwarding.is_some();
    let wire = {
        // Each run sees the addresses of the others among the host's.
        let _alone = run_dir.exclusive()?;
        let occupied = host.occupied()?;
        Wire::make(
            &mut host,
            netns,
            &WireRequest { name: NAME_TEMPLATE, mtu: uplink.mtu, has_ipv6, occupied: &occupied },
        )?
    };
    presence.note(&heal::wire_note(&wire.veth, addresses(&wire)))?;
    let detour = make_detour(plan, &wire, &mut presence)?;
    let mut table = install(plan, front, &wire, &mut notes)?;
    let mut uplinks = Uplinks::new(run_dir, &wire.veth, has_ipv6, only)?;
    let outside = Side { route: &mut host, monitor: &mut monitor };
    wire.connect(outside, inside, &ipv6.destinations, plan.options.no_offload, &mut notes)?;
    uplinks.refresh(&mut host, &mut table)?;
    let passage = firewall::pass(plan, knocks, &mut host, &mut table, &wire, &mut notes)?;
    show(netns, front, &mut presence, &mut notes)?;
    let nat = Nat { detour, uplinks, table, passage, host, monitor, presence };
    Ok(Network { way: Box::new(nat), wire, transport: Transport::Nat, interface: uplink.name, notes })
}

impl Way for Nat {
    /// Readable when links, routes or forwarding of the host have changed, and when the way past its firewall has closed.
    fn watched(&self) -> Watched<'_> {
        let closed = if let Passage::Past(bypass) = &self.passage { bypass.closed() } else { None };
        [Some(self.monitor.as_fd()), closed]
    }

    /// Follows what has changed on the host, but for what other runs do.
    fn follow(&mut self) -> Result<(), Failure> {
        if let Passage::Past(bypass) = &mut self.passage {
            bypass.outcome()?;
        }
        let (mut is_ours, bystanders) = (false, self.uplinks.bystanders());
        self.monitor.drain(|change| is_ours |= bystanders.is_ours(&change))?;
        if !is_ours {
            return Ok(());
        }
        if let Some(detour) = &mut self.detour {
            detour.follow()?;
        }
        self.uplinks.refresh(&mut self.host, &mut self.table)
    }

    fn due(&self) -> Option<Instant> {
        if let Passage::Open(vigil) = &self.passage { Some(vigil.due()) } else { None }
    }

    fn look(&mut self, is_last: bool) -> Result<(), Failure> {
        let Passage::Open(vigil) = &mut self.passage else { return Ok(()) };
        // Said once.
        vigil.look(&mut self.table, is_last).inspect_err(|_| self.passage = Passage::Shut)
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        if !heal::undo(self.presence.notes(), &mut self.host) {
            self.presence.leave();
        }
    }
}

/// What the program's packets come from.
fn addresses(wire: &Wire) -> impl Iterator<Item = IpAddr> {
    [Some(wire.v4.traced.into()), wire.v6.map(|block| block.traced.into())].into_iter().flatten()
}

fn make_detour(plan: &Plan, wire: &Wire, presence: &mut Presence) -> Result<Option<Detour>, Failure> {
    let Some(device) = &plan.device else { return Ok(None) };
    presence.note(&heal::table_note(Detour::table_of(&wire.veth)))?;
    Detour::make(&wire.veth, device).map(Some)
}

fn install(plan: &Plan, front: Pid, wire: &Wire, notes: &mut Vec<String>) -> Result<Table, Failure> {
    let pid = number(front);
    let table = Table::install(&Spec {
        owner: Owner { pid, start_time: heal::start_time(pid).unwrap_or(0) },
        device: wire.veth.ifindex.get(),
        device_prefix: NAME_PREFIX,
        ipv4: Some(wire.v4.traced),
        ipv6: wire.v6.map(|block| block.traced),
        only_via: plan.device.as_ref().map(|device| device.name.as_str()),
        guarded: &[],
    })?;
    if !table.is_owned() {
        notes.push(NOT_OWNED.into());
    }
    Ok(table)
}

/// Lets `ip netns exec nsntrace-PID` look inside. A machine where that is not possible is no reason not to trace.
fn show(netns: &Netns, front: Pid, presence: &mut Presence, notes: &mut Vec<String>) -> Result<(), Failure> {
    let name = format!("nsntrace-{front}");
    presence.note(&heal::name_note(&name))?;
    if let Err(error) = name::show(netns, &name) {
        notes.push(format!("ip netns will not know this trace: {}", chain(&error)));
    }
    Ok(())
}

fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().cast_unsigned()
}

/// The kernel puts the lowest number that is free.
const NAME_TEMPLATE: &str = "nst%d";

const NOT_OWNED: &str = "this kernel (before 5.12) does not remove the nftables table by itself if nsntrace is killed; \
    the next run does";
