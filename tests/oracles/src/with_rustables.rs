//! The rules in the words of `rustables`, whose constants are generated from the kernel's own headers.

use std::net::IpAddr;

use nsntrace_nat::Spec;
use rustables::expr::ct::{ConnTrackState, Conntrack, ConntrackKey};
use rustables::expr::{Bitwise, Cmp, CmpOp, Meta, MetaType};
use rustables::{Batch, Chain, ChainPolicy, ChainType, Hook, HookClass, ProtocolFamily, Rule, Table};

/// Makes the table in the calling thread's network namespace.
///
/// # Panics
/// If the kernel refuses it.
pub fn install(name: &str, spec: &Spec<'_>) {
    let mut batch = Batch::new();
    let table = Table::new(ProtocolFamily::Inet).with_name(name).add_to_batch(&mut batch);
    let mut chain = |name, kind, hook, priority| {
        Chain::new(&table)
            .with_name(name)
            .with_type(kind)
            .with_hook(Hook::new(hook, priority))
            .with_policy(ChainPolicy::Accept)
            .add_to_batch(&mut batch)
    };
    let postrouting = chain("postrouting", ChainType::Nat, HookClass::PostRouting, 100);
    let forward = chain("forward", ChainType::Filter, HookClass::Forward, 0);
    let guard = chain("guard", ChainType::Filter, HookClass::Forward, 0);
    add_masquerade(&mut batch, &postrouting, spec);
    add_forward(&mut batch, &forward, spec);
    for device in spec.guarded {
        let outside = rule(&guard)
            .iiface(device)
            .expect("the name fits")
            .with_expr(Meta::new(MetaType::OifName))
            .with_expr(Cmp::new(CmpOp::Neq, spec.device_prefix.as_bytes()));
        outside.drop().add_to_batch(&mut batch);
    }
    batch.send().expect("the rules are taken");
}

fn add_masquerade(batch: &mut Batch, chain: &Chain, spec: &Spec<'_>) {
    for source in [spec.ipv4.map(IpAddr::V4), spec.ipv6.map(IpAddr::V6)].into_iter().flatten() {
        let from_us = rule(chain).saddr(source);
        let rule = match spec.only_via {
            Some(via) => from_us.oiface(via).expect("the name fits"),
            None => from_us,
        };
        rule.masquerade().add_to_batch(batch);
    }
}

fn add_forward(batch: &mut Batch, chain: &Chain, spec: &Spec<'_>) {
    if let Some(via) = spec.only_via {
        let elsewhere = comes_by(chain, spec.device)
            .with_expr(Meta::new(MetaType::OifName))
            .with_expr(Cmp::new(CmpOp::Neq, [via.as_bytes(), b"\0"].concat()));
        elsewhere.drop().add_to_batch(batch);
    }
    comes_by(chain, spec.device).accept().add_to_batch(batch);
    // `Rule::established` knows no `related`, and swaps its bytes on big-endian machines.
    let states = ConnTrackState::ESTABLISHED | ConnTrackState::RELATED;
    let masked = Bitwise::new(states.bits().to_ne_bytes(), [0; 4]).expect("mask and xor are equally long");
    goes_by(chain, spec.device)
        .with_expr(Conntrack::new(ConntrackKey::State))
        .with_expr(masked)
        .with_expr(Cmp::new(CmpOp::Neq, [0; 4]))
        .accept()
        .add_to_batch(batch);
    goes_by(chain, spec.device).drop().add_to_batch(batch);
}

fn rule(chain: &Chain) -> Rule {
    Rule::new(chain).expect("the chain has a name and a table")
}

fn comes_by(chain: &Chain, device: u32) -> Rule {
    by(chain, MetaType::Iif, device)
}

fn goes_by(chain: &Chain, device: u32) -> Rule {
    by(chain, MetaType::Oif, device)
}

fn by(chain: &Chain, which: MetaType, device: u32) -> Rule {
    rule(chain).with_expr(Meta::new(which)).with_expr(Cmp::new(CmpOp::Eq, device.to_ne_bytes()))
}
