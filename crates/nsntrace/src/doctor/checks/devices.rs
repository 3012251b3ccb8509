//! The wire between a program and the host.
//!
//! # Kernel interface
//! `RTM_NEWLINK`, `RTM_NEWADDR`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd as _;

use nsntrace_link::block::{IPV4_PREFIX_LEN, IPV6_PREFIX_LEN};
use nsntrace_link::{IfAddress, IfName, Plan, VethRequest};

use super::packets::DEVICE;
use crate::doctor::bench::Bench;
use crate::doctor::check::{Answer, Stop, THERE};

pub(super) fn veth(bench: &mut Bench) -> Answer {
    let scratch = bench.scratch()?;
    let name = |name| IfName::new(name).expect("a constant, and short");
    let veth = scratch.route.create_veth(&VethRequest {
        name: &name(DEVICE),
        peer_name: &name("eth0"),
        peer_netns: scratch.program.as_fd(),
        mtu: ETHERNET_MTU,
        addresses: &[],
    })?;
    scratch.route.set_up(veth.ifindex)?;
    scratch.veth = Some(veth);
    THERE
}

pub(super) fn ipv4_address(bench: &mut Bench) -> Answer {
    add_address(bench, Ipv4Addr::new(192, 0, 2, 2).into(), IPV4_PREFIX_LEN)
}

pub(super) fn ipv6_address(bench: &mut Bench) -> Answer {
    add_address(bench, Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2).into(), IPV6_PREFIX_LEN)
}

/// Of the ranges for documentation (RFC 5737, RFC 3849), in a namespace where nobody else has any.
fn add_address(bench: &mut Bench, address: IpAddr, prefix_len: u8) -> Answer {
    let scratch = bench.scratch()?;
    let veth = scratch.veth.as_ref().ok_or_else(|| Stop::since("there is no device to give it to"))?;
    let address = IfAddress::new(address, prefix_len).expect("31 and 127 fit their families");
    scratch.route.apply(Plan::new().add_address(veth.ifindex, address))?;
    THERE
}

const ETHERNET_MTU: u32 = 1500;
