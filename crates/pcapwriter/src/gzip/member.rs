//! One gzip member, compressed or stored.
//!
//! ```text
//! +---+---+---+---+---+---+---+---+---+---+=======================+---+---+---+---+---+---+---+---+
//! |ID1|ID2|CM |FLG|     MTIME     |XFL|OS |  blocks of RFC 1951   |     CRC32     |     ISIZE     |
//! +---+---+---+---+---+---+---+---+---+---+=======================+---+---+---+---+---+---+---+---+
//! ```
//!
//! # References
//! RFC 1952, sections 2.3 and 2.3.1; RFC 1951, section 3.2.4.

use std::io::IoSlice;

use miniz_oxide::DataFormat;
use miniz_oxide::deflate::CompressionLevel;
use miniz_oxide::deflate::core::{CompressorOxide, TDEFLFlush, TDEFLStatus, compress};

/// Makes members. It keeps its memory from one to the next.
pub(super) struct Encoder {
    compressor: CompressorOxide,
    compressed: Vec<u8>,
    stored: Vec<StoredHead>,
    trailer: [u8; 8],
}

/// The head of a stored block, byte-aligned: `BFINAL` and `BTYPE`, `LEN`, `NLEN`.
type StoredHead = [u8; 5];

impl Encoder {
    pub(super) fn new() -> Self {
        let compressor = CompressorOxide::with_format_and_level(DataFormat::Raw, CompressionLevel::BestSpeed);
        Self { compressor, compressed: Vec::new(), stored: Vec::new(), trailer: [0; 8] }
    }

    /// A member of `bytes`, compressed; none if that is not shorter than `bytes` are.
    pub(super) fn compress(&mut self, bytes: &[u8]) -> Option<[IoSlice<'_>; 3]> {
        if self.compressed.len() < bytes.len() {
            self.compressed.resize(bytes.len(), 0);
        }
        self.compressor.reset();
        let room = &mut self.compressed[..bytes.len()];
        let (status, _, len) = compress(&mut self.compressor, bytes, room, TDEFLFlush::Finish);
        if !matches!(status, TDEFLStatus::Done) {
            return None;
        }
        self.trailer = trailer(bytes);
        Some([&HEADER, &self.compressed[..len], &self.trailer].map(IoSlice::new))
    }

    /// A member of `bytes` as they are, without a copy. 18 bytes longer, and 5 for each 64 KiB.
    pub(super) fn store<'a>(&'a mut self, bytes: &'a [u8]) -> Vec<IoSlice<'a>> {
        self.trailer = trailer(bytes);
        self.stored.clear();
        self.stored.extend(bytes.chunks(MAX_STORED_LEN).map(stored_head));
        if let Some(last) = self.stored.last_mut() {
            last[0] = BFINAL;
        }
        let mut slices = vec![IoSlice::new(&HEADER)];
        for (head, block) in self.stored.iter().zip(bytes.chunks(MAX_STORED_LEN)) {
            slices.extend([IoSlice::new(head), IoSlice::new(block)]);
        }
        slices.push(IoSlice::new(&self.trailer));
        slices
    }
}

fn trailer(bytes: &[u8]) -> [u8; 8] {
    let mut trailer = [0; 8];
    trailer[..4].copy_from_slice(&crc32fast::hash(bytes).to_le_bytes());
    // ISIZE is the length modulo 2^32.
    trailer[4..].copy_from_slice(&(bytes.len() as u64).to_le_bytes()[..4]);
    trailer
}

fn stored_head(block: &[u8]) -> StoredHead {
    let len = u16::try_from(block.len()).expect("chunks are no longer than LEN can say");
    let ([a, b], [c, d]) = (len.to_le_bytes(), (!len).to_le_bytes());
    [0, a, b, c, d]
}

/// No name and no time, XFL 4 ("fastest algorithm"), OS 3 (Unix).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 3];
const BFINAL: u8 = 1;
const MAX_STORED_LEN: usize = u16::MAX as usize;

#[cfg(test)]
mod tests {
    use super::*;

    fn concat(slices: &[IoSlice<'_>]) -> Vec<u8> {
        slices.iter().flat_map(|slice| slice.to_vec()).collect()
    }

    /// `printf hello | gzip | tail -c 8 | xxd` has the same trailer.
    #[test]
    fn a_stored_member_is_what_the_rfcs_say() {
        let member = concat(&Encoder::new().store(b"hello"));
        let expected =
            [HEADER.as_slice(), &[1, 5, 0, 0xfa, 0xff], b"hello", &[0x86, 0xa6, 0x10, 0x36, 5, 0, 0, 0]];
        assert_eq!(member, expected.concat());
    }

    #[test]
    fn only_the_last_block_is_final() {
        let bytes = vec![1; 2 * MAX_STORED_LEN + 1];
        let member = concat(&Encoder::new().store(&bytes));
        let block_len = 5 + MAX_STORED_LEN;
        assert_eq!([10, 10 + block_len, 10 + 2 * block_len].map(|at| member[at]), [0, 0, 1]);
        assert_eq!(member.len(), bytes.len() + 18 + 3 * 5);
    }

    #[test]
    fn what_does_not_shrink_is_not_compressed() {
        let mut encoder = Encoder::new();
        let sevens = vec![7; 100_000];
        assert!(encoder.compress(b"hello").is_none());
        let first = concat(&encoder.compress(&sevens).expect("it shrinks"));
        assert!(encoder.compress(b"olleh").is_none());
        assert!(concat(&encoder.compress(&sevens).expect("it shrinks")) == first);
        assert!(first.len() < 1000);
    }
}
