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

use nsntrace_lease::{Lease, RunDir};
use nsntrace_link::{IfIndex, IfName, Link, RouteKind, RouteSocket, Veth};
use nsntrace_nat::Nat;

use super::bystanders::Bystanders;
use super::ipv6::Forwarding;
use super::sysctl;
use super::wire::NAME_PREFIX;
use crate::failure::Failure;

/// The forwarding of one run: the flags of its veth, and leases on those of other devices.
pub(crate) struct Uplinks {
    run_dir: RunDir,
    veth: IfName,
    has_ipv6: bool,
    /// Take only this device.
    only: Option<IfIndex>,
    bystanders: Bystanders,
    leases: Vec<(IfName, Vec<Lease>)>,
    guarded: Vec<IfName>,
    /// `ip_forward` as it was when we looked last.
    was_router: bool,
}

impl Uplinks {
    /// Makes the veth forward. To be called before it is up. There is no lease yet.
    pub(crate) fn new(
        run_dir: RunDir,
        veth: &Veth,
        has_ipv6: bool,
        only: Option<IfIndex>,
    ) -> Result<Self, Failure> {
        let was_router = is_router();
        let (leases, guarded) = (Vec::new(), Vec::new());
        let bystanders = Bystanders::new(veth.ifindex, only);
        let veth = veth.name.clone();
        let uplinks = Self { run_dir, veth, has_ipv6, only, bystanders, leases, guarded, was_router };
        uplinks.forward_from_veth()?;
        Ok(uplinks)
    }

    /// Which changes of the host call for [`Self::refresh`].
    pub(crate) fn bystanders(&mut self) -> &mut Bystanders {
        &mut self.bystanders
    }

    /// Takes a lease for every device that routes lead out of, drops those of devices that are no more, and makes flags again that
    /// somebody has overwritten, as a write to `ip_forward` does. Afterwards `nat` guards exactly the devices that were no
    /// routers before.
    pub(crate) fn refresh(&mut self, host: &mut RouteSocket, nat: &mut Nat) -> Result<(), Failure> {
        self.yield_to_a_router()?;
        self.forward_from_veth()?;
        let mut wanted: Vec<_> =
            self.devices(host)?.into_iter().map(|name| (name.clone(), self.keys(&name))).collect();
        self.leases.retain(|(name, leases)| {
            let is_whole = |keys: &Vec<String>| leases.iter().map(Lease::key).eq(keys);
            let is_wanted = wanted.iter().any(|(one, keys)| one == name && is_whole(keys));
            is_wanted && leases.iter().all(is_in_force)
        });
        wanted.retain(|(name, _)| self.leases.iter().all(|(leased, _)| leased != name));
        for (name, keys) in wanted {
            self.leases.push((name, take_leases(&self.run_dir, &keys)?));
        }
        self.leases.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        self.guard(nat)
    }

    /// Leaves the flags of IPv4 to whoever has made this host a router since we looked last: by their value alone one could not
    /// tell that they are not ours any more, and would switch them off under him.
    fn yield_to_a_router(&mut self) -> Result<(), Failure> {
        let is_router = is_router();
        if is_router && !self.was_router {
            let of_ipv4 = |lease: &&mut Lease| lease.key().starts_with(IPV4);
            for lease in self.leases.iter_mut().flat_map(|(_, leases)| leases).filter(of_ipv4) {
                lease.keep()?;
            }
        }
        self.was_router = is_router;
        Ok(())
    }

    /// The flags to lease of a device: those that there are, and that are needed as this host is now.
    fn keys(&self, name: &IfName) -> Vec<String> {
        let v4 = std::iter::once(format!("{IPV4}{name}/forwarding"));
        let v6 = self.needs_forcing().then(|| format!("{IPV6}{name}/force_forwarding"));
        v4.chain(v6).filter(|key| sysctl::exists(key)).collect()
    }

    fn guard(&mut self, nat: &mut Nat) -> Result<(), Failure> {
        let was_off = |(name, leases): &(IfName, Vec<Lease>)| {
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

    /// The devices that routes lead out of, loopback and veths of runs aside. Learns by the way who is there.
    fn devices(&mut self, host: &mut RouteSocket) -> Result<Vec<IfName>, Failure> {
        let routes = host.routes()?;
        let links = host.links()?;
        let leads_out = |link: &&Link| {
            let hops = routes
                .iter()
                .filter(|route| route.kind == RouteKind::Unicast)
                .flat_map(|route| &route.next_hops);
            let is_used = hops.into_iter().any(|hop| hop.oif == link.ifindex);
            let is_allowed = self.only.is_none_or(|only| only == link.ifindex);
            is_used && is_allowed && !link.is_loopback && !link.name.as_str().starts_with(NAME_PREFIX)
        };
        let devices: Vec<_> = links.iter().filter(leads_out).collect();
        self.bystanders.learn(&links, devices.iter().map(|link| link.ifindex));
        Ok(devices.into_iter().map(|link| link.name.clone()).collect())
    }

    /// Makes our veth forward, which takes its flags along when it goes.
    fn forward_from_veth(&self) -> Result<(), Failure> {
        let veth = &self.veth;
        ensure(&format!("{IPV4}{veth}/forwarding"), "1")?;
        if self.has_ipv6 {
            // Of one device this flag only says whether it acts as a router: joins groups and says so on the wire.
            ensure(&format!("{IPV6}{veth}/forwarding"), "0")?;
        }
        if self.needs_forcing() {
            ensure(&format!("{IPV6}{veth}/force_forwarding"), "1")?;
        }
        Ok(())
    }

    /// Whether IPv6 is forwarded only by the devices that are told to.
    fn needs_forcing(&self) -> bool {
        self.has_ipv6 && Forwarding::of_this_host() == Some(Forwarding::PerDevice)
    }
}

/// Takes leases on the flags of a device. The device may vanish at any moment, which is no failure.
fn take_leases(run_dir: &RunDir, keys: &[String]) -> Result<Vec<Lease>, Failure> {
    let mut leases = Vec::new();
    for key in keys {
        match Lease::acquire(run_dir, key, "1") {
            Ok(lease) => leases.push(lease),
            Err(_vanished) if !sysctl::exists(key) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(leases)
}

/// Writes a setting unless it is so already: a write is an announcement, which would bring us here again.
fn ensure(key: &str, value: &str) -> Result<(), Failure> {
    if sysctl::read(key).as_deref() == Some(value) {
        return Ok(());
    }
    sysctl::write(key, value).map_err(|failure| failure.hint("--net proxy needs no setting of this host"))
}

/// Whether the whole host forwards IPv4.
fn is_router() -> bool {
    sysctl::read("net/ipv4/ip_forward").is_some_and(|value| value != "0")
}

/// Whether a leased flag still says what we made it say.
fn is_in_force(lease: &Lease) -> bool {
    sysctl::read(lease.key()).is_none_or(|value| value == "1")
}

const IPV4: &str = "net/ipv4/conf/";
const IPV6: &str = "net/ipv6/conf/";
