//! Why a capture could not be started or read.

use std::io;

/// Why a capture could not be started or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The packet socket could not be opened: no `CAP_NET_RAW`, or a kernel without `CONFIG_PACKET`.
    #[error("cannot open a packet socket")]
    Open(#[source] io::Error),
    /// The kernel refused the filter program.
    #[error("cannot attach the capture filter")]
    Filter(#[source] io::Error),
    /// A ring of that size cannot be asked for.
    #[error("a ring of {bytes} bytes is not between 1 MiB and {} GiB", crate::geometry::MAX_BUFFER >> 30)]
    BufferSize {
        /// What was asked for.
        bytes: u64,
    },
    /// The ring could not be made or mapped, most often for want of memory.
    #[error("cannot make a ring of {mebibytes} MiB for packets")]
    Ring {
        /// The size that was asked for.
        mebibytes: usize,
        /// `ENOMEM`, or `EINVAL` from a kernel without `TPACKET_V3` (before Linux 3.2).
        #[source]
        source: io::Error,
    },
    /// The socket could not be told to start receiving.
    #[error("cannot start to receive packets")]
    Bind(#[source] io::Error),
    /// The kernel's packet counters could not be read.
    #[error("cannot read the packet counters")]
    Statistics(#[source] io::Error),
}
