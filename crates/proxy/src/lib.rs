//! A network namespace's connections, flows and pings, carried out by ordinary sockets of another.
//!
//! The program is in namespace t, behind a veth pair whose other end is in r, where every address is local. [`Inside`] is what
//! is opened in r; [`Proxy`] serves it from a thread in the host's namespace, where its sockets to the world are made, without
//! any privilege.
//!
//! Both ends of every connection are the kernel's own TCP: there is no network stack in here.
#![forbid(unsafe_code)]

mod config;
mod engine;
mod error;
mod families;
mod gate;
mod inside;
mod maker;
mod outside;
mod ping;
mod reach;
mod tcp;
mod udp;
mod wire;

pub use config::{Config, Limits};
pub use engine::Proxy;
pub use error::ProxyError;
pub use inside::Inside;
