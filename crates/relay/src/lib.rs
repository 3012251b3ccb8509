//! DNS relayed from listeners in one network namespace to servers of another.
//!
//! Many hosts name a server of their own in `/etc/resolv.conf`: 127.0.0.53 of systemd-resolved, 127.0.0.1 of dnsmasq or
//! unbound. Nobody answers there in a new network namespace. So we listen on those very addresses inside, and ask the same
//! addresses outside: a socket stays in the namespace that it was made in, and the process that serves it may live in
//! another.
//!
//! - [`nameservers`] reads resolv.conf as glibc does; [`loopback_nameservers`] says where to listen.
//! - [`Unbound`] sockets are opened inside, by a thread that is there for a moment; [`Listener`] is what they become once
//!   the namespace's loopback device is up.
//! - [`Relay`] serves listeners from outside, in its owner's event loop.
//!
//! It is not a resolver: it caches nothing, changes nothing and understands of DNS only what a refusal must repeat.
#![forbid(unsafe_code)]

mod error;
mod failure;
mod limits;
mod listener;
mod pipe;
mod relay;
mod resolv_conf;
mod tcp;
mod token;
mod udp;

pub use error::RelayError;
pub use limits::Limits;
pub use listener::{Listener, Unbound};
pub use relay::Relay;
pub use resolv_conf::{Nameserver, loopback_nameservers, nameservers};
