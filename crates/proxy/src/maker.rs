//! Sockets made in r on demand, by a thread that stays there.

use crate::ProxyError;

/// Makes sockets in r.
#[derive(Debug)]
pub(crate) struct Maker;

impl Maker {
    /// Starts a thread in the network namespace of the calling thread.
    #[expect(clippy::unnecessary_wraps, reason = "the thread is yet to come")]
    pub(crate) fn start() -> Result<Self, ProxyError> {
        Ok(Self)
    }
}
