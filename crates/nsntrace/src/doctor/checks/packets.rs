//! The recording of packets.
//!
//! # Kernel interface
//! `socket(AF_PACKET)`, `PACKET_RX_RING` with `TPACKET_V3`, mmap(2), `SO_ATTACH_FILTER`, bind(2).

use nsntrace_capture::{CaptureError, DEFAULT_BUFFER, MIN_BUFFER, Tap, everything, ring_geometry};
use nsntrace_pcapwriter::MAX_SNAPLEN;

use crate::doctor::bench::Bench;
use crate::doctor::check::{Answer, Lost, Stop, THERE};
use crate::failure::Failure;

pub(super) fn socket(bench: &mut Bench) -> Answer {
    let scratch = bench.scratch()?;
    scratch.tap = Some(Tap::open()?);
    THERE
}

/// Of the size that a trace takes if not told otherwise; else the largest that there is memory for.
pub(super) fn ring(bench: &mut Bench) -> Answer {
    let scratch = bench.scratch()?;
    let ifindex = scratch.veth.as_ref().map_or(1, |veth| veth.ifindex.get());
    let tap = scratch.tap.take().ok_or_else(|| Stop::since("there is no packet socket to receive with"))?;
    let failure: Failure = match start(tap, DEFAULT_BUFFER, ifindex) {
        Ok(()) => return Ok(mebibytes(DEFAULT_BUFFER)),
        Err(error) => error.into(),
    };
    let smaller = std::iter::successors(Some(DEFAULT_BUFFER / 2), |size| Some(size / 2));
    let mut smaller = smaller.take_while(|&size| size >= MIN_BUFFER);
    match smaller.find(|&size| Tap::open().and_then(|tap| start(tap, size, ifindex)).is_ok()) {
        Some(size) => Err(Stop::with(failure.hint(format!("--buffer {}M works", size >> 20)), NEEDS_BUFFER)),
        None => Err(failure.into()),
    }
}

/// Receives for a moment what there is in a namespace of our own: nothing.
fn start(tap: Tap, bytes: u64, ifindex: u32) -> Result<(), CaptureError> {
    let ring = tap.make_ring(ring_geometry(bytes, RETIRE_TIMEOUT_MS)?)?;
    ring.start(ifindex, &everything(MAX_SNAPLEN)).map(|_capture| ())
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// Our end of the wire.
pub(super) const DEVICE: &str = "nst0";
const RETIRE_TIMEOUT_MS: u32 = 100;
const NEEDS_BUFFER: Lost = Lost::part("traces need --buffer with a smaller size");
