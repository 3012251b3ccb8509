//! Why the sockets are not known.

use std::io;

use nsntrace_netlink::{Refusal, RequestError, SocketError};
use rustix::io::Errno;

/// Why a question about sockets was not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SockDiagError {
    /// The kernel has no answer to such questions.
    #[error("this kernel cannot list TCP sockets: it lacks CONFIG_INET_DIAG (modules inet_diag, tcp_diag)")]
    Unsupported(#[source] Refusal),
    /// The kernel said no.
    #[error("cannot list TCP sockets")]
    Refused(#[source] Refusal),
    /// The socket could not be opened, or failed.
    #[error("cannot ask for TCP sockets, because sock_diag failed")]
    Netlink(#[source] SocketError),
    /// procfs' table could not be read.
    #[error("cannot read the table of TCP sockets")]
    Table(#[source] io::Error),
}

impl SockDiagError {
    pub(crate) fn new(error: RequestError) -> Self {
        match error {
            RequestError::Refused(refusal) if is_lack(refusal.errno) => Self::Unsupported(refusal),
            RequestError::Refused(refusal) => Self::Refused(refusal),
            RequestError::Socket(source) => Self::Netlink(source),
            _ => Self::Netlink(SocketError::Unanswered),
        }
    }
}

/// What `sock_diag_rcv_msg()` and `inet_diag_lock_handler()` say where a module is missing.
fn is_lack(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::OPNOTSUPP)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(errno: Errno) -> String {
        SockDiagError::new(RequestError::Refused(Refusal { index: 0, errno, extack: None })).to_string()
    }

    #[test]
    fn an_error_names_what_the_kernel_lacks() {
        let text =
            "this kernel cannot list TCP sockets: it lacks CONFIG_INET_DIAG (modules inet_diag, tcp_diag)";
        assert_eq!(error(Errno::NOENT), text);
        assert_eq!(error(Errno::INVAL), "cannot list TCP sockets");
    }
}
