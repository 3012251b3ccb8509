//! Why packets do not get past.

use nsntrace_netlink::{Refusal, RequestError, SocketError};
use rustix::io::Errno;

/// Why there is no queue, or why it had to end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The kernel was built without queues, or the module is not there to be loaded.
    #[error(
        "this kernel has no queues for packets: it lacks CONFIG_NETFILTER_NETLINK_QUEUE (module nfnetlink_queue)"
    )]
    Unsupported {
        /// What the kernel said.
        #[source]
        refusal: Refusal,
    },
    /// The kernel said no. `EPERM`: without `CAP_NET_ADMIN` over the network namespace, or where every number that was tried is
    /// somebody's.
    #[error("cannot bind a queue for packets")]
    Refused {
        /// Its errno, and its words where it had any.
        #[source]
        refusal: Refusal,
    },
    /// The netfilter socket could not be opened, or failed.
    #[error("cannot serve a queue for packets, because nfnetlink failed")]
    Netlink(#[source] SocketError),
    /// poll(2) failed. `ENOMEM`.
    #[error("cannot wait for packets in a queue")]
    Wait(#[source] Errno),
}

impl QueueError {
    /// What the kernel says to a subsystem that nfnetlink does not have is `EINVAL`.
    pub(crate) fn binding(error: RequestError) -> Self {
        match error {
            RequestError::Refused(refusal) if matches!(refusal.errno, Errno::INVAL | Errno::OPNOTSUPP) => {
                Self::Unsupported { refusal }
            }
            RequestError::Refused(refusal) => Self::Refused { refusal },
            RequestError::Socket(source) => Self::Netlink(source),
            _ => Self::Netlink(SocketError::Unanswered),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_lacks_is_named() {
        let of = |errno| {
            QueueError::binding(RequestError::Refused(Refusal { index: 0, errno, extack: None })).to_string()
        };
        assert!(
            of(Errno::INVAL).ends_with("it lacks CONFIG_NETFILTER_NETLINK_QUEUE (module nfnetlink_queue)")
        );
        assert_eq!(of(Errno::PERM), "cannot bind a queue for packets");
    }
}
