//! What a link leaves to its device, or to nobody.
//!
//! # Theory of operation
//! Between the ends of a veth pair nothing is ever lost, so the kernel computes no checksums and makes segments of up to 64 KiB. Whoever
//! captures there sees frames as no wire carries them, unless both ends say that they can do neither.

use nsntrace_sys::set_tx_checksum_offload;

use crate::{IfName, LinkError, RouteSocket, Step};

impl RouteSocket {
    /// Makes the kernel compute checksums of what a link of this socket's namespace sends, and cut it into segments, itself.
    ///
    /// # Errors
    /// [`LinkError::Feature`]: `ENODEV`, `EPERM`, `EOPNOTSUPP`.
    pub fn stop_offload(&self, name: &IfName) -> Result<(), LinkError> {
        let failed = |source| LinkError::Feature { step: Step::StopOffload(name.clone()), source };
        set_tx_checksum_offload(self, name.as_str(), false).map_err(failed)
    }
}
