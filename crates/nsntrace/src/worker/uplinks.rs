//! Forwarding on the devices that the program's packets leave and come back by.
//!
//! # Theory of operation
//! The kernel forwards a packet if the device that it came in by says `forwarding`. The host's routes decide on the device, and may
//! change: so every device that a route leads out of gets a lease on its flag, now and whenever the routes change. Where the
//! flag was off, the host was no router on that device and shall be none for anybody but us: our table drops what came in there and
//! does not go to a traced namespace. When somebody makes the whole host a router meanwhile (as Docker does when it starts), the flags
//! are theirs from then on.
//!
//! # References
//! Documentation/networking/ip-sysctl.rst: `conf/interface/forwarding`, `force_forwarding` (Linux 6.17).

use std::collections::BTreeMap;

use nsntrace_lease::{Lease, RunDir};
use nsntrace_link::{IfIndex, IfName, Link, RouteKind, RouteSocket};
use nsntrace_nat::Nat;

use super::ipv6::Forwarding;
use super::sysctl;
use super::wire::NAME_PREFIX;
use crate::failure::Failure;

/// The leases of one run, by device.
pub(crate) struct Uplinks {
    run_dir: RunDir,
    leases: BTreeMap<IfName, Vec<Lease>>,
    /// The flag to lease for IPv6, if there is IPv6 and it needs one.
    ipv6_key: Option<&'static str>,
    /// Take only this device.
    only: Option<IfIndex>,
    guarded: Vec<IfName>,
    /// `ip_forward` as it was when we looked last.
    was_router: bool,
}

impl Uplinks {
    /// No lease yet.
    pub(crate) fn new(run_dir: RunDir, ipv6: Option<Forwarding>, only: Option<IfIndex>) -> Self {
        let ipv6_key = (ipv6 == Some(Forwarding::PerDevice)).then_some("force_forwarding");
        Self {
            run_dir,
            leases: BTreeMap::new(),
            ipv6_key,
            only,
            guarded: Vec::new(),
            was_router: is_router(),
        }
    }

    /// Takes a lease for every device that routes lead out of, drops those of devices that are no more, and takes those again that
    /// somebody has overwritten. Afterwards `nat` guards exactly the devices that were no routers before.
    pub(crate) fn refresh(&mut self, host: &mut RouteSocket, nat: &mut Nat) -> Result<(), Failure> {
        self.yield_to_a_router()?;
        let wanted = self.devices(host)?;
        self.leases.retain(|name, leases| wanted.contains(name) && leases.iter().all(is_in_force));
        for name in wanted {
            if !self.leases.contains_key(&name) {
                let leases = self.lease(&name)?;
                self.leases.insert(name, leases);
            }
        }
        self.guard(nat)
    }

    /// Leaves the flags to whoever has made this host a router since we looked last: by their value alone one could not tell
    /// that they are not ours any more, and would switch them off under him.
    fn yield_to_a_router(&mut self) -> Result<(), Failure> {
        let is_router = is_router();
        if is_router && !self.was_router {
            for lease in self.leases.values_mut().flatten() {
                lease.keep()?;
            }
        }
        self.was_router = is_router;
        Ok(())
    }

    /// Leases the flags of a device. The device may vanish at any moment, which is no failure.
    fn lease(&self, name: &IfName) -> Result<Vec<Lease>, Failure> {
        let v4 = std::iter::once(format!("net/ipv4/conf/{name}/forwarding"));
        let v6 = self.ipv6_key.map(|key| format!("net/ipv6/conf/{name}/{key}"));
        let keys = v4.chain(v6).filter(|key| sysctl::exists(key));
        keys.map(|key| Ok(Lease::acquire(&self.run_dir, &key, "1")?)).collect()
    }

    fn guard(&mut self, nat: &mut Nat) -> Result<(), Failure> {
        let was_off = |(name, leases): (&IfName, &Vec<Lease>)| {
            leases.iter().any(|lease| lease.original() == "0").then(|| name.clone())
        };
        let guarded: Vec<_> = self.leases.iter().filter_map(was_off).collect();
        if guarded != self.guarded {
            let names: Vec<_> = guarded.iter().map(IfName::as_str).collect();
            nat.set_guarded(&names)?;
            self.guarded = guarded;
        }
        Ok(())
    }

    /// The devices that routes lead out of, loopback and our own aside.
    fn devices(&self, host: &mut RouteSocket) -> Result<Vec<IfName>, Failure> {
        let routes = host.routes()?;
        let leads_out = |link: &Link| {
            let hops = routes
                .iter()
                .filter(|route| route.kind == RouteKind::Unicast)
                .flat_map(|route| &route.next_hops);
            let is_used = hops.into_iter().any(|hop| hop.oif == link.ifindex);
            let is_allowed = self.only.is_none_or(|only| only == link.ifindex);
            is_used && is_allowed && !link.is_loopback && !link.name.as_str().starts_with(NAME_PREFIX)
        };
        Ok(host.links()?.into_iter().filter(leads_out).map(|link| link.name).collect())
    }
}

/// Whether the whole host forwards IPv4.
fn is_router() -> bool {
    sysctl::read("net/ipv4/ip_forward").is_some_and(|value| value != "0")
}

/// Whether a leased flag still says what we made it say. Writing `net.ipv4.ip_forward` overwrites those of all devices.
fn is_in_force(lease: &Lease) -> bool {
    sysctl::read(lease.key()).is_none_or(|value| value == "1")
}

/// Makes the veth of this run forward; it takes the flags along when it goes. To be called before it is up.
pub(crate) fn forward_from(veth: &IfName, ipv6: Option<Forwarding>) -> Result<(), Failure> {
    sysctl::write(&format!("net/ipv4/conf/{veth}/forwarding"), "1")?;
    if ipv6.is_some() {
        // Of one device this flag only says whether it acts as a router: joins groups and says so on the wire.
        sysctl::write(&format!("net/ipv6/conf/{veth}/forwarding"), "0")?;
    }
    if ipv6 == Some(Forwarding::PerDevice) {
        sysctl::write(&format!("net/ipv6/conf/{veth}/force_forwarding"), "1")?;
    }
    Ok(())
}
