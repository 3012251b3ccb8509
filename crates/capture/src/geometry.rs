//! How a ring of so many bytes is divided into blocks.

use nsntrace_sys::Geometry;

use crate::error::CaptureError;

/// Divides a ring of `bytes` into blocks of 1 MiB; a small one into eight smaller blocks, so that the kernel can fill some while we read
/// others. What does not make a whole block is left away.
///
/// `retire_timeout_ms` is how long a packet waits in a block that does not fill: longer means fewer wake-ups, shorter that a reader of
/// a pipe sees packets sooner. Times the number of blocks it is how long nobody may read at a low rate.
///
/// # Errors
/// [`CaptureError::BufferSize`]: less than [`MIN_BUFFER`], or more than can be said in `struct tpacket_req3`.
pub fn ring_geometry(bytes: u64, retire_timeout_ms: u32) -> Result<Geometry, CaptureError> {
    let refused = CaptureError::BufferSize { bytes };
    let size = usize::try_from(bytes).ok().filter(|_| (MIN_BUFFER..=MAX_BUFFER).contains(&bytes));
    let size = size.ok_or(refused)?;
    let block_bytes = (size / MIN_BLOCK_COUNT).min(MAX_BLOCK);
    // The kernel allocates a block as one piece, of a power of two of pages.
    let block_bytes = 1 << block_bytes.ilog2();
    Ok(Geometry { block_bytes, block_count: size / block_bytes, retire_timeout_ms })
}

/// The smallest ring, in bytes. Its blocks hold a segment of 64 KiB, header and all.
pub const MIN_BUFFER: u64 = 1 << 20;
/// The largest ring, in bytes: `tp_frame_nr` has 32 bits, and some machines have 32 of address.
pub const MAX_BUFFER: u64 = if usize::BITS < 64 { 1 << 30 } else { 1 << 40 };
/// The ring unless told otherwise, in bytes.
pub const DEFAULT_BUFFER: u64 = 16 << 20;
const MIN_BLOCK_COUNT: usize = 8;
/// Larger blocks are not filled before their time at any rate that was measured, and hold every frame that there can be.
const MAX_BLOCK: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: u64, block_bytes: usize, block_count: usize) {
        let geometry = ring_geometry(bytes, 7).unwrap();
        assert_eq!(geometry, Geometry { block_bytes, block_count, retire_timeout_ms: 7 }, "{bytes}");
    }

    #[test]
    fn blocks_are_of_a_mebibyte_where_there_is_room_for_eight() {
        check(DEFAULT_BUFFER, 1 << 20, 16);
        check(100 << 20, 1 << 20, 100);
        check((8 << 20) + 77, 1 << 20, 8);
        check(8_000_000, 1 << 19, 15);
        check(4 << 20, 1 << 19, 8);
        check(MIN_BUFFER, 1 << 17, 8);
    }

    #[test]
    fn what_no_kernel_takes_is_refused() {
        for bytes in [0, MIN_BUFFER - 1, MAX_BUFFER + 1, u64::MAX] {
            assert!(ring_geometry(bytes, 7).is_err(), "{bytes}");
        }
    }
}
