//! A reader of gzip that knows members: which are whole, and how each was made. RFC 1952, section 2.3.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

/// A whole member.
pub(crate) struct Member {
    pub(crate) is_stored: bool,
    pub(crate) bytes: Vec<u8>,
}

/// The whole members at the beginning of `file`, and how many bytes follow them.
pub(crate) fn members(mut file: &[u8]) -> (Vec<Member>, usize) {
    let mut members = Vec::new();
    while let Some((member, rest)) = member(file) {
        members.push(member);
        file = rest;
    }
    (members, file.len())
}

/// What a reader gets of the whole members.
pub(crate) fn content(file: &[u8]) -> Vec<u8> {
    members(file).0.iter().flat_map(|member| member.bytes.iter().copied()).collect()
}

/// The first member if all of it is there. Whatever is wrong with it panics.
fn member(file: &[u8]) -> Option<(Member, &[u8])> {
    let (header, blocks) = file.split_first_chunk::<10>()?;
    assert_eq!(header, &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 3]);
    let (bytes, consumed) = inflate(blocks)?;
    let (trailer, rest) = blocks[consumed..].split_first_chunk::<8>()?;
    assert_eq!(trailer[..4], crc32fast::hash(&bytes).to_le_bytes());
    assert_eq!(trailer[4..], u32::try_from(bytes.len()).unwrap().to_le_bytes());
    Some((Member { is_stored: blocks[0] & 0b110 == 0, bytes }, rest))
}

/// Blocks up to the final one, and how long they are; none if some are missing.
fn inflate(blocks: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let (status, consumed, len) = decompress(&mut DecompressorOxide::new(), blocks, &mut bytes, 0, flags);
        match status {
            TINFLStatus::Done => {
                bytes.truncate(len);
                return Some((bytes, consumed));
            }
            TINFLStatus::HasMoreOutput => bytes.resize(2 * bytes.len(), 0),
            TINFLStatus::FailedCannotMakeProgress | TINFLStatus::NeedsMoreInput => return None,
            wrong => panic!("{wrong:?}"),
        }
    }
}
