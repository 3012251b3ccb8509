//! How many packets a pcap file has, without a look at them: files of some gigabytes are counted between two runs.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read as _};
use std::path::Path;

use crate::process::Result;

/// Counts the records of a pcap file of this machine's byte order.
///
/// # Errors
/// It is no such file, or ends in mid-record.
pub(super) fn count(path: &Path) -> Result<u64> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(BUFFER_LEN, file);
    let mut header = [0; FILE_HEADER_LEN];
    reader.read_exact(&mut header)?;
    let magic = u32::from_ne_bytes(header[..4].try_into().expect("four bytes are four bytes"));
    if !MAGICS.contains(&magic) {
        return Err(format!("{} is no pcap file of this machine", path.display()).into());
    }
    let (mut count, mut end) = (0, header.len() as u64);
    let mut record = [0; RECORD_HEADER_LEN];
    loop {
        match reader.read_exact(&mut record) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof && end == len => return Ok(count),
            Err(error) => return Err(error.into()),
        }
        let captured_len = u32::from_ne_bytes(record[8..12].try_into().expect("four bytes are four bytes"));
        reader.seek_relative(captured_len.into())?;
        end += record.len() as u64 + u64::from(captured_len);
        if end > len {
            return Err(format!("{} ends in mid-record", path.display()).into());
        }
        count += 1;
    }
}

/// Time stamps in microseconds, in nanoseconds (draft-ietf-opsawg-pcap, section 4).
const MAGICS: [u32; 2] = [0xa1b2_c3d4, 0xa1b2_3c4d];
const FILE_HEADER_LEN: usize = 24;
const RECORD_HEADER_LEN: usize = 16;
/// A few small records, or the header of a large one.
const BUFFER_LEN: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: std::result::Result<u64, &str>) {
        let line = std::panic::Location::caller().line();
        let path = std::env::temp_dir().join(format!("nsntrace-records-{}-{line}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        let counted = count(&path);
        std::fs::remove_file(&path).unwrap();
        match expected {
            Ok(count) => assert_eq!(counted.unwrap(), count),
            Err(part) => assert!(counted.unwrap_err().to_string().contains(part)),
        }
    }

    fn file(lens: &[u32]) -> Vec<u8> {
        let mut bytes = 0xa1b2_3c4d_u32.to_ne_bytes().to_vec();
        bytes.resize(FILE_HEADER_LEN, 0);
        for &len in lens {
            bytes.extend([0; 8]);
            bytes.extend(len.to_ne_bytes());
            bytes.extend(70_000_u32.to_ne_bytes());
            bytes.resize(bytes.len() + len as usize, 0xa5);
        }
        bytes
    }

    #[test]
    fn records_of_all_sizes_are_counted() {
        check(&file(&[]), Ok(0));
        check(&file(&[60, 0, 65_226, 60, 9000]), Ok(5));
    }

    #[test]
    fn what_is_not_whole_is_no_count() {
        let whole = file(&[60, 61]);
        check(&whole[..whole.len() - 1], Err("mid-record"));
        check(&whole[..whole.len() - 62], Err("fill whole buffer"));
        check(&[0; 24], Err("no pcap file"));
        check(&whole[..10], Err("fill whole buffer"));
    }
}
