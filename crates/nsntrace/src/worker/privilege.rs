//! What worker may do, and nothing more.
//!
//! # Theory of operation
//! Worker reads what the program sends. Whoever found a way into it should not find much there: it cannot gain privilege from a file,
//! from the moment at which the network stands it has the few capabilities that its end takes, and no system call works that starts a
//! program, looks into another process or changes mounts, namespaces or the kernel. Capabilities belong to threads, and a thread is
//! born with those of the one that starts it, so they are given up before the threads that stay are started.
//!
//! # Kernel interface
//! prctl(2) `PR_SET_NO_NEW_PRIVS`, `PR_SET_DUMPABLE`; capset(2); seccomp(2).
//!
//! # References
//! capabilities(7); ptrace(2), "Ptrace access mode checking"; docs/SECURITY.md.

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, geteuid, set_dumpable_behavior};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs};

use crate::failure::Failure;
use crate::plan::Plan;
use crate::transport::Transport;

/// What is given up at once, by every thread to be.
///
/// In a user namespace worker has its user's uid, as the program has: no process of that user may look into it.
pub(super) fn begin(plan: &Plan) -> Result<(), Failure> {
    set_no_new_privs(true).map_err(cannot_give_up)?;
    if plan.needs_user_namespace {
        set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(cannot_give_up)?;
    }
    Ok(())
}

/// What a trace over `transport` has a use for once its namespaces are made.
pub(super) fn needed(transport: Transport, plan: &Plan) -> CapabilitySet {
    needed_for_network(transport) | needed_for_files(plan)
}

/// Gives up every other capability, in the calling thread.
pub(super) fn keep(needed: CapabilitySet) -> Result<(), Failure> {
    let had = capabilities(None).map_err(cannot_give_up)?.permitted;
    let kept = had & needed;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(cannot_give_up)
}

/// Takes from the whole process the system calls that nothing here needs any more. A kernel without seccomp goes without.
pub(super) fn confine() {
    let _unsupported = nsntrace_sys::confine();
}

/// The same for the witness, which takes descriptors of sockets to see which they are.
pub(super) fn confine_witness() {
    let _unsupported = nsntrace_sys::confine_but_for_descriptors();
}

fn needed_for_network(transport: Transport) -> CapabilitySet {
    match transport {
        // Links, rules and settings are taken back; what is left of the program is ended.
        Transport::Nat => CapabilitySet::NET_ADMIN | CapabilitySet::KILL,
        // Sockets stand in for others' addresses, at any port, and go out by a device before Linux 5.7.
        Transport::Proxy => {
            CapabilitySet::NET_ADMIN
                | CapabilitySet::NET_RAW
                | CapabilitySet::NET_BIND_SERVICE
                | CapabilitySet::KILL
        }
    }
}

/// Further files may be begun in a directory of somebody else's, and what is below /run may be taken back without being root. A file that keys go into is
/// made private, whoever owns it.
fn needed_for_files(plan: &Plan) -> CapabilitySet {
    let is_needed = plan.options.rotation.is_on() || !geteuid().is_root();
    let for_names = if is_needed { CapabilitySet::DAC_OVERRIDE } else { CapabilitySet::empty() };
    let for_modes = if plan.keylog.is_some() { CapabilitySet::FOWNER } else { CapabilitySet::empty() };
    for_names | for_modes
}

fn cannot_give_up(errno: Errno) -> Failure {
    Failure::of("cannot give up privileges", &errno)
}
