//! Rules of nf_tables, and what connection tracking remembers of them.
//!
//! # Theory of operation
//! The table is that of a trace by NAT, made as a whole: the kernel says which part it does not know. So the first check makes it, and those
//! that follow tell of it.
//!
//! # Kernel interface
//! `nf_tables`, `nfnetlink_queue` and `ctnetlink` over `NETLINK_NETFILTER`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nsntrace_nat::{HandedOver, Nat, NatError, Owner, Spec, Step, conntrack};

use nsntrace_nfqueue::Queue;

use crate::doctor::bench::Bench;
use crate::doctor::check::{Answer, Stop, THERE};
use crate::failure::Failure;

pub(super) fn nf_tables(bench: &mut Bench) -> Answer {
    let scratch = bench.scratch()?;
    scratch.table = match Nat::install(&SPEC) {
        Ok(table) => Some(Ok(table)),
        Err(error) if is_about_nat(&error) => Some(Err(error.into())),
        Err(error) => return Err(error.into()),
    };
    THERE
}

pub(super) fn masquerading(bench: &mut Bench) -> Answer {
    match &bench.scratch()?.table {
        Some(Ok(_table)) => THERE,
        Some(Err(failure)) => Err(failure.clone().into()),
        None => Err(Stop::since(NO_NF_TABLES)),
    }
}

/// Those by which a trace finds out whether the host's firewall lets it pass.
pub(super) fn counters(bench: &mut Bench) -> Answer {
    let table = table(bench)?;
    table.begin_probe(&[PROGRAM_V4.into(), PROGRAM_V6.into()])?;
    let counted = table.probed()?;
    table.end_probe(true)?;
    if counted.len() == 2 {
        return THERE;
    }
    Err(Failure::new("the kernel does not tell what its counters count").into())
}

/// The way past a firewall that drops.
pub(super) fn queue(bench: &mut Bench) -> Answer {
    let table = table(bench)?;
    let queue = Queue::bind()?;
    let how = table.hand_over(queue.number())?;
    table.keep()?;
    match how {
        HandedOver::Natively => THERE,
        HandedOver::ByXtables => {
            Ok("by xtables: this kernel lacks CONFIG_NFT_QUEUE (module nft_queue)".into())
        }
    }
}

/// Whether the kernel removes the table of a process that was killed.
pub(super) fn owner(bench: &mut Bench) -> Answer {
    if table(bench)?.is_owned() {
        return THERE;
    }
    Err(Failure::new("this kernel ties no table to the process that made it").hint("Linux 5.12 does").into())
}

pub(super) fn connection_tracking(bench: &mut Bench) -> Answer {
    table(bench)?;
    conntrack::forget(IpAddr::V4(PROGRAM_V4))?;
    THERE
}

fn table(bench: &mut Bench) -> Result<&mut Nat, Stop> {
    match &mut bench.scratch()?.table {
        Some(Ok(table)) => Ok(table),
        Some(Err(_no_nat)) => Err(Stop::since("there is no masquerading")),
        None => Err(Stop::since(NO_NF_TABLES)),
    }
}

/// Whether nf_tables themselves are there, and something is missing that NAT alone needs.
fn is_about_nat(error: &NatError) -> bool {
    matches!(error.step(), Some(Step::AddChain("nat") | Step::AddMasquerade | Step::AddStateMatch))
}

const PROGRAM_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 3);
const PROGRAM_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 3);

/// As a trace has it, in a namespace where nobody else has a table.
const SPEC: Spec<'_> = Spec {
    owner: Owner { pid: 0, start_time: 0 },
    device: 2, // of nobody, as the rules are tried without packets
    device_prefix: "nst",
    ipv4: Some(PROGRAM_V4),
    ipv6: Some(PROGRAM_V6),
    only_via: None,
    guarded: &["eth0"],
};
pub(super) const NO_NF_TABLES: &str = "there are no nf_tables";
