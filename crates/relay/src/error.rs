//! Why DNS cannot be relayed.

use std::net::SocketAddr;

use rustix::io::Errno;

/// Why DNS cannot be relayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// A listening socket could not be had. `EADDRNOTAVAIL`: the device with the address is down, `EADDRINUSE`: somebody
    /// in the namespace answers there already, `EACCES`: no right to ports below 1024, `EAFNOSUPPORT`: the kernel has no IPv6.
    #[error("cannot {step} {transport} {address}")]
    Listen {
        /// What was tried, as a verb.
        step: &'static str,
        /// `UDP` or `TCP`.
        transport: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// The event loop failed. `EMFILE`: no descriptors are left, `ENOSPC`: /proc/sys/fs/epoll/max_user_watches.
    #[error("cannot {step} for the DNS relay")]
    Events {
        /// What was tried, as a verb.
        step: &'static str,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
}

impl RelayError {
    /// Turns an errno from `step` into an error.
    pub(crate) fn events(step: &'static str) -> impl FnOnce(Errno) -> Self {
        move |source| Self::Events { step, source }
    }
}
