//! The host's firewall, if it drops what comes by the wire: noticed, and gone past.
//!
//! # Theory of operation
//! [`knock`] looks whether it drops. If it does, [`bypass`] leads the packets of the wire past it, and another knock tells whether
//! that helps: where it does not, somebody drops before the bypass begins or in another hook. If it does not drop, [`vigil`] looks on.
//! docs/firewalls.md has the whole of it.

mod bypass;
mod knock;
mod vigil;

use nsntrace_link::{IpFamily, RouteSocket};
use nsntrace_nat::Nat as Table;

use self::bypass::Bypass;
use self::knock::Knock;
pub(crate) use self::knock::Knocks;
use self::vigil::Vigil;
use crate::failure::Failure;
use crate::plan::Plan;
use crate::worker::wire::Wire;

/// What stands behind packets of the wire that get through.
pub(super) enum Passage {
    /// Nobody drops them, as it seems.
    Open(Vigil),
    /// Somebody does, and they go past him.
    Past(Bypass),
    /// Somebody does or may, and the user has been told.
    Shut,
}

/// Sees to it that packets of the wire get through, and says in `notes` what that took.
///
/// # Errors
/// The firewall drops, and the user has not insisted on NAT, or respects it.
pub(super) fn pass(
    plan: &Plan,
    knocks: Knocks,
    host: &mut RouteSocket,
    table: &mut Table,
    wire: &Wire,
    notes: &mut Vec<String>,
) -> Result<Passage, Failure> {
    let Knocks { before, after } = knocks;
    let Some(obstacle) = look(before, host, table, wire)? else { return Ok(Passage::Open(Vigil::begin())) };
    if plan.options.respect_firewall {
        return Err(Failure::new(obstacle).hint(RESPECTED));
    }
    let failure = match go_past(after, host, table, wire) {
        Ok(bypass) => {
            notes.push(format!("{obstacle}: the program's go past it (not with --respect-firewall)"));
            return Ok(Passage::Past(bypass));
        }
        Err(failure) => failure,
    };
    let message = format!("{obstacle}, and they cannot go past it: {failure}");
    if plan.options.net.is_none() {
        return Err(Failure::new(message));
    }
    notes.push(format!("{message}; --net proxy goes around that"));
    Ok(Passage::Shut)
}

/// Makes a bypass that helps, or none.
fn go_past(knock: Knock, host: &mut RouteSocket, table: &mut Table, wire: &Wire) -> Result<Bypass, Failure> {
    let bypass = Bypass::make(table)?;
    match look(knock, host, table, wire) {
        Ok(None) => Ok(bypass),
        other => {
            table.keep()?;
            other.and(Err(Failure::new("they are dropped elsewhere, too")))
        }
    }
}

/// Says what does not get out of the host, if something does not.
fn look(
    knock: Knock,
    host: &mut RouteSocket,
    table: &mut Table,
    wire: &Wire,
) -> Result<Option<String>, Failure> {
    let v4 = host.default_uplink(IpFamily::V4)?.map(|_exists| (IpFamily::V4, wire.v4.traced.into()));
    let v6 = host.default_uplink(IpFamily::V6)?.and(wire.v6);
    let v6 = v6.map(|block| (IpFamily::V6, block.traced.into()));
    let sources: Vec<_> = v4.into_iter().chain(v6).collect();
    let what = match knock.refused(table, &sources)?[..] {
        [] => return Ok(None),
        [IpFamily::V4] => "IPv4 ",
        [IpFamily::V6] => "IPv6 ",
        _ => "",
    };
    Ok(Some(format!("this host's firewall drops {what}packets that the host is to forward")))
}

const RESPECTED: &str = "--net proxy needs nothing forwarded; without --respect-firewall the program's packets go past the firewall";
