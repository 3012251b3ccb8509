//! The sockets of a network namespace, asked of the kernel over `sock_diag`.
//!
//! A program that has ended may have connections that have not: what it wrote is still to be sent, the last
//! segments still to be acknowledged. [`Orphans::count`] counts them, so that a recording can wait for
//! their last packets.
//!
//! ```no_run
//! let mut orphans = nsntrace_sockdiag::Orphans::open()?;
//! let closing = orphans.count()?;
//! println!("{} connections still have something to say", closing.talking);
//! # Ok::<(), nsntrace_sockdiag::SockDiagError>(())
//! ```
//!
//! [`SockDiag::find`] asks for the one socket that has some addresses, and [`Departures`] hears of each that goes: both tell its cookie, by
//! which the kernel tells sockets apart for ever.
#![forbid(unsafe_code)]

mod closing;
mod departures;
mod error;
mod find;
#[cfg(fuzzing)]
pub mod fuzzing;
mod mib;
mod sockid;
mod table;

pub use closing::{Closing, Orphans};
pub use departures::{Departure, Departures};
pub use error::SockDiagError;
pub use find::{Found, SockDiag};
pub use nsntrace_netlink::Heard;
pub use sockid::Protocol;
