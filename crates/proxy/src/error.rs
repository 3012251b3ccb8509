//! Why there is no proxy.

use std::io;

use rustix::io::Errno;

/// Why there is no proxy, or why it had to end. What keeps one connection from being made is the program's to know, and
/// no error here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// A socket in the router's namespace could not be had. `EPERM`: no `CAP_NET_ADMIN` or `CAP_NET_RAW` over it, `ENODEV`: no
    /// such link, `EAFNOSUPPORT`: the kernel has no packet sockets.
    #[error("cannot {step} for the proxy")]
    Inside {
        /// What was tried, as a verb.
        step: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The event loop failed. `EMFILE`: no descriptors are left, `ENOSPC`: /proc/sys/fs/epoll/max_user_watches.
    #[error("cannot {step} in the proxy")]
    Events {
        /// What was tried, as a verb.
        step: &'static str,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
}

impl ProxyError {
    /// Turns what a socket in r could not do into an error.
    pub(crate) fn inside<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Inside { step, source: source.into() }
    }

    /// Turns an errno of the event loop into an error.
    pub(crate) fn events(step: &'static str) -> impl FnOnce(Errno) -> Self {
        move |source| Self::Events { step, source }
    }
}
