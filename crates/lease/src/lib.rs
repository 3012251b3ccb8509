//! Settings of the host on loan: recorded, shared between runs, given back.
//!
//! Several runs of nsntrace may want the same setting of the host changed, and any of them may be killed at any time. So
//! nothing here relies on a process having the last word: who is alive is told by `flock(2)`, which ends with its holder
//! whatever ended it, and what was changed is written down before it is changed. A run that starts heals what dead ones
//! left.
//!
//! - [`RunDir`] is the directory in which the runs of one network namespace meet.
//! - [`Guard`] is a mutex between runs.
//! - [`Presence`] says that a run is alive, and what to undo once it no longer is ([`Stale`]).
//! - [`Lease`] is one setting under `/proc/sys` that keeps a value for as long as somebody leases it.
//!
//! It is not a store of state: nothing survives the last run but what that run could not give back.
#![forbid(unsafe_code)]

mod error;
mod held_dir;
mod lease;
mod lease_file;
mod lock;
mod presence;
mod record;
mod run_dir;
mod setting;

pub use error::LeaseError;
pub use lease::{Healed, Lease, Outcome};
pub use presence::{Presence, Stale};
pub use run_dir::{Guard, RunDir};
