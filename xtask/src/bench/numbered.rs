//! Numbered packets: what tells one from the next, and the proof that a capture file has each of them once.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::Path;

use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};

use crate::process::Result;

/// What a packet carries: who sent it, and its number, both big-endian.
pub(super) fn mark(number: u64) -> [u8; MARK_LEN] {
    let mut mark = [0; MARK_LEN];
    mark[..8].copy_from_slice(&MAGIC.to_be_bytes());
    mark[8..].copy_from_slice(&number.to_be_bytes());
    mark
}

/// Packets that were sent, with numbers from 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) count: u64,
    /// Bytes of each frame, Ethernet header included.
    pub(super) frame_len: usize,
    /// Where in the frame its mark is.
    pub(super) mark_at: usize,
}

/// What a capture file has of packets that were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Census {
    /// Numbers that are there. Each is there once, and its frame is whole.
    pub(super) found: u64,
    /// Numbers that are not.
    pub(super) missing: u64,
    /// Whether number 0 is one of them.
    pub(super) is_first_missing: bool,
    /// Packets of others: neighbour and router solicitations and the like.
    pub(super) others: u64,
}

impl Census {
    /// All packets of the file.
    pub(super) fn total(&self) -> u64 {
        self.found + self.others
    }
}

/// Counts what the file has, be it pcap or pcapng.
///
/// # Errors
/// It is no such file, ends in mid-record, or has a number twice, one that nobody sent, or a frame that is not whole.
pub(super) fn count(path: &Path, sent: Sent) -> Result<Census> {
    let mut seen = vec![false; usize::try_from(sent.count)?];
    let (mut found, mut others) = (0, 0);
    each_frame(path, |frame| {
        let Some(number) = number(frame, sent.mark_at) else {
            others += 1;
            return Ok(());
        };
        let place = usize::try_from(number).ok().and_then(|index| seen.get_mut(index));
        let place = place.ok_or_else(|| format!("the file has number {number}, which nobody sent"))?;
        if std::mem::replace(place, true) {
            return Err(format!("the file has number {number} twice").into());
        }
        if frame.len() != sent.frame_len {
            return Err(format!("the file has {} bytes of {}", frame.len(), sent.frame_len).into());
        }
        found += 1;
        Ok(())
    })?;
    let is_first_missing = seen.first().is_some_and(|seen| !seen);
    Ok(Census { found, missing: sent.count - found, is_first_missing, others })
}

fn number(frame: &[u8], mark_at: usize) -> Option<u64> {
    let mark = frame.get(mark_at..mark_at + MARK_LEN)?;
    let number = mark.strip_prefix(&MAGIC.to_be_bytes())?;
    Some(u64::from_be_bytes(number.try_into().ok()?))
}

fn each_frame(path: &Path, visit: impl FnMut(&[u8]) -> Result) -> Result {
    let mut file = File::open(path).map_err(|error| format!("cannot open {}: {error}", path.display()))?;
    let mut magic = [0; 4];
    file.read_exact(&mut magic).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    file.rewind()?;
    if u32::from_ne_bytes(magic) == SECTION_HEADER {
        each_of_pcapng(file, visit)
    } else {
        each_of_pcap(file, visit)
    }
}

fn each_of_pcap(file: File, mut visit: impl FnMut(&[u8]) -> Result) -> Result {
    let mut reader = PcapReader::new(file)?;
    while let Some(packet) = reader.next_packet() {
        visit(packet?.data())?;
    }
    Ok(())
}

fn each_of_pcapng(file: File, mut visit: impl FnMut(&[u8]) -> Result) -> Result {
    let mut reader = PcapNgReader::new(file)?;
    while let Some(block) = reader.next_block() {
        if let (Block::EnhancedPacket(packet), _) = block? {
            visit(&packet.data)?;
        }
    }
    Ok(())
}

/// Bytes of a mark.
pub(super) const MARK_LEN: usize = 16;
/// "nsntrace".
const MAGIC: u64 = 0x6e73_6e74_7261_6365;
/// Block type of the Section Header Block, the same in either byte order (draft-ietf-opsawg-pcapng, section 4.1).
const SECTION_HEADER: u32 = 0x0a0d_0d0a;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pcap_file::DataLink;
    use pcap_file::pcap::{PcapPacket, PcapWriter};
    use pcap_file::pcapng::PcapNgWriter;
    use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
    use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionBlock;

    use super::*;

    const SENT: Sent = Sent { count: 3, frame_len: 20, mark_at: 4 };

    fn frame(number: u64) -> Vec<u8> {
        [&[0; 4], mark(number).as_slice()].concat()
    }

    fn path(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("xtask-numbered-{}-{name}", std::process::id()))
    }

    /// What a census of these frames says, in the one form and in the other.
    #[track_caller]
    fn check(name: &str, frames: &[Vec<u8>], expected: std::result::Result<Census, &str>) {
        for (form, write) in [("pcap", pcap as fn(&Path, &[Vec<u8>])), ("pcapng", pcapng)] {
            let path = path(&format!("{name}.{form}"));
            write(&path, frames);
            let census = count(&path, SENT).map_err(|error| error.to_string());
            std::fs::remove_file(&path).unwrap();
            assert_eq!(census, expected.map_err(str::to_owned), "{form}");
        }
    }

    fn pcap(path: &Path, frames: &[Vec<u8>]) {
        let mut writer = PcapWriter::new(File::create(path).unwrap()).unwrap();
        for frame in frames {
            let len = u32::try_from(frame.len()).unwrap();
            let packet = PcapPacket::new(Duration::from_secs(1), len, frame).unwrap();
            writer.write_packet(&packet).unwrap();
        }
    }

    fn pcapng(path: &Path, frames: &[Vec<u8>]) {
        let mut writer = PcapNgWriter::new(File::create(path).unwrap()).unwrap();
        let interface = InterfaceDescriptionBlock::new(DataLink::ETHERNET, 0);
        writer.write_block(&Block::InterfaceDescription(interface)).unwrap();
        for frame in frames {
            let original_len = u32::try_from(frame.len()).unwrap();
            let packet = EnhancedPacketBlock { original_len, data: frame.into(), ..Default::default() };
            writer.write_block(&Block::EnhancedPacket(packet)).unwrap();
        }
    }

    #[test]
    fn each_number_is_there_once_in_any_order() {
        let all = Census { found: 3, missing: 0, is_first_missing: false, others: 1 };
        check("all", &[frame(2), frame(0), vec![0; 60], frame(1)], Ok(all));
        assert_eq!(all.total(), 4);
    }

    #[test]
    fn what_is_missing_is_counted_and_the_first_is_told() {
        let missing = Census { found: 2, missing: 1, is_first_missing: false, others: 0 };
        check("middle", &[frame(0), frame(2)], Ok(missing));
        let first = Census { found: 1, missing: 2, is_first_missing: true, others: 0 };
        check("first", &[frame(1)], Ok(first));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        check("twice", &[frame(1), frame(1)], Err("the file has number 1 twice"));
        check("invented", &[frame(3)], Err("the file has number 3, which nobody sent"));
        check("longer", &[[frame(0), vec![0]].concat()], Err("the file has 21 bytes of 20"));
    }

    #[test]
    fn a_file_that_ends_in_mid_record_is_refused() {
        let path = path("cut.pcap");
        pcap(&path, &[frame(0), frame(1)]);
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(file.metadata().unwrap().len() - 1).unwrap();
        let census = count(&path, SENT);
        std::fs::remove_file(&path).unwrap();
        assert!(census.is_err(), "{census:?}");
    }
}
