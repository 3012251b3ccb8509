//! Why something about a network namespace failed.

use std::io;
use std::path::PathBuf;

use crate::barrier::Barrier;

/// Why something about a network namespace failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetnsError {
    /// unshare(2) refused: `EPERM` without `CAP_SYS_ADMIN`, `ENOSPC` at `user.max_net_namespaces`.
    #[error("cannot make a network namespace")]
    Unshare(#[source] io::Error),
    /// The thread that makes the namespace could not be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// procfs is not mounted, or shows another kernel's processes.
    #[error("cannot open {}", path.display())]
    Proc {
        /// The file of procfs.
        path: PathBuf,
        /// Why it could not be opened.
        #[source]
        source: io::Error,
    },
    /// This user cannot have a user namespace.
    #[error("cannot {step}{}", barrier.map_or_else(String::new, |barrier| format!(", since {barrier}")))]
    User {
        /// What was tried.
        step: &'static str,
        /// What is known to stand in the way.
        barrier: Option<Barrier>,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The program could not be kept to the capabilities that it would have without us.
    #[error("cannot limit the program's capabilities")]
    Bounds(#[source] io::Error),
    /// setns(2) refused: `EPERM` without `CAP_SYS_ADMIN`.
    #[error("cannot enter the network namespace")]
    Enter(#[source] io::Error),
    /// The namespace could not be shown under a name.
    #[error("cannot {step} {}", path.display())]
    Name {
        /// What was tried.
        step: &'static str,
        /// The name's path.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}
