//! Masquerading for one device with an `nf_tables` table that dies with its owner, and what connection
//! tracking remembers of it; or, in a namespace of our own, the way to a proxy.
//!
//! [`Nat::install`] makes the table, and the kernel removes it when the [`Nat`] is dropped or its process
//! killed. [`conntrack`] makes the kernel forget the connections. [`lead_to_proxy`] is for a namespace that is
//! nobody else's.
//!
//! ```no_run
//! use nsntrace_nat::{Nat, Owner, Spec};
//!
//! let nat = Nat::install(&Spec {
//!     owner: Owner { pid: 1234, start_time: 56789 },
//!     device: 7,
//!     device_prefix: "nst",
//!     ipv4: Some("10.1.2.3".parse()?),
//!     ipv6: None,
//!     only_via: None,
//!     guarded: &["eth0"],
//! })?;
//! assert!(nat.is_owned(), "Linux 5.12 or later");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it is not
//! A firewall. Where another table drops what we forward, it stays dropped, unless what the table stands before was handed over to a
//! queue ([`Nat::hand_over`]) whose reader lets it past.
#![forbid(unsafe_code)]

pub mod conntrack;
mod error;
mod expr;
#[cfg(fuzzing)]
pub mod fuzzing;
mod handover;
mod probe;
mod rules;
mod stale;
mod table;
mod tproxy;
mod transaction;
mod uapi;
mod watch;

pub use error::{NatError, Step};
pub use handover::HandedOver;
pub use stale::remove_stale;
pub use table::{Nat, Owner, Spec};
pub use tproxy::{Ports, lead_to_proxy};
pub use watch::Begun;
