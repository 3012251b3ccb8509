//! What this user may do, or can get.
//!
//! # Kernel interface
//! capget(2), ioctl_nsfs(2) `NS_GET_USERNS`, `unshare(CLONE_NEWUSER)`.

use nsntrace_netns::user;
use rustix::thread::{CapabilitySet, capabilities as capabilities_of};

use crate::doctor::bench::Bench;
use crate::doctor::check::{Answer, Lost, Stop, THERE};
use crate::failure::{Failure, NEEDS_PRIVILEGE};

/// Those that it takes to make namespaces and networks.
pub(super) fn capabilities(_bench: &mut Bench) -> Answer {
    let effective = capabilities_of(None)?.effective;
    let (there, missing): (Vec<_>, Vec<_>) = NEEDED.iter().partition(|(set, _)| effective.contains(*set));
    let names = |which: &[&(CapabilitySet, &'static str)]| {
        which.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
    };
    if missing.is_empty() {
        return Ok(names(&there));
    }
    Err(Failure::new(format!("without {}", names(&missing)))
        .hint(format!("{NEEDS_PRIVILEGE}; {IN_A_CONTAINER}"))
        .into())
}

/// Whether they count in the network namespace that we are in.
pub(super) fn host_network(bench: &mut Bench) -> Answer {
    if !bench.is_privileged {
        return Err(Stop::since("it takes these capabilities to change it"));
    }
    if bench.may_nat {
        return THERE;
    }
    // Without procfs nobody can know.
    nsntrace_netns::current_id()?;
    Err(Failure::new("it belongs to another user namespace, and so the capabilities do not count in it")
        .hint(
            "run nsntrace as root outside of this user namespace, or in a network namespace that is its own",
        )
        .into())
}

/// Where the capabilities come from, for whoever has none. From here on this process is in it.
pub(super) fn user_namespace(bench: &mut Bench) -> Answer {
    if bench.is_privileged {
        return Err(Stop::since("the capabilities are there without one"));
    }
    // NAT is lost already.
    user::enter().map_err(|error| Stop::with(error, Lost::Proxy))?;
    bench.is_capable = true;
    Ok("gives these capabilities over networks of its own".into())
}

const NEEDED: [(CapabilitySet, &str); 3] = [
    (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN"),
    (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"),
    (CapabilitySet::NET_RAW, "CAP_NET_RAW"),
];

const IN_A_CONTAINER: &str = "in a container, --cap-add SYS_ADMIN --cap-add NET_ADMIN --cap-add NET_RAW";
