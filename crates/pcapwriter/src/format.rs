//! What a capture file says about itself: its format, its section and interfaces, its closing counts.

use std::path::Path;

/// The longest captured part of a packet that libpcap and Wireshark read, in bytes.
///
/// `MAXIMUM_SNAPLEN` in libpcap's pcap-int.h; `WTAP_MAX_PACKET_SIZE_STANDARD` in Wireshark's wiretap/wtap.h.
pub const MAX_SNAPLEN: u32 = 262_144;

/// The file formats that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Classic pcap with nanoseconds, draft-ietf-opsawg-pcap.
    Pcap,
    /// pcapng, draft-ietf-opsawg-pcapng: interfaces, directions and counts are in the file.
    PcapNg,
}

impl Format {
    /// The format that a file name asks for: pcapng when it ends in `.pcapng` or `.pcapng.gz`, else pcap.
    pub fn of_path(path: &Path) -> Self {
        let name = name(path);
        let name = name.strip_suffix(GZIP_EXTENSION).unwrap_or(name);
        if name.ends_with(b".pcapng") { Self::PcapNg } else { Self::Pcap }
    }
}

/// Whether a file is compressed, whatever its [`Format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// It is not: [`OutputFile`](crate::OutputFile) alone.
    None,
    /// As gzip(1) does, RFC 1952: [`Gzip`](crate::Gzip) in front.
    Gzip,
}

impl Compression {
    /// What a file name asks for: gzip when it ends in `.gz`.
    pub fn of_path(path: &Path) -> Self {
        if name(path).ends_with(GZIP_EXTENSION) { Self::Gzip } else { Self::None }
    }
}

fn name(path: &Path) -> &[u8] {
    path.file_name().unwrap_or_default().as_encoded_bytes()
}

const GZIP_EXTENSION: &[u8] = b".gz";

/// What the head of a file says. Classic pcap has room for the snapshot length only.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    /// The operating system, as `uname -sr` says it.
    pub os: &'a str,
    /// The program that writes, with its version.
    pub application: &'a str,
    /// The machine, as `uname -m` says it.
    pub hardware: Option<&'a str>,
    /// For whoever opens the file.
    pub comment: Option<&'a str>,
    /// The capture filter, in the language of pcap-filter(7).
    pub filter: Option<&'a str>,
    /// What is captured of a packet at most, in bytes: one for all interfaces, since libpcap refuses files with two.
    pub snaplen: u32,
    /// Where packets come from; [`Packet::interface`](crate::Packet::interface) is an index of this.
    pub interfaces: &'a [Interface<'a>],
}

/// An Ethernet interface.
#[derive(Clone, Copy, Debug)]
pub struct Interface<'a> {
    /// Its name in its network namespace.
    pub name: &'a str,
    /// What it is to the user.
    pub description: &'a str,
}

/// What the kernel counts for the end of a pcapng file, for all its interfaces together. How many packets each interface gave us, the writer counts
/// itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Statistics {
    /// Packets that passed the filter, dropped ones included: `tp_packets` of packet(7), summed up.
    pub received: u64,
    /// Packets of these that the kernel had no room for: `tp_drops`, summed up.
    pub dropped_by_kernel: u64,
    /// When the capture began, in nanoseconds since the epoch.
    pub started_ns: u64,
    /// When it ended, in nanoseconds since the epoch.
    pub ended_ns: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, format: Format, compression: Compression) {
        let path = Path::new(path);
        assert_eq!((Format::of_path(path), Compression::of_path(path)), (format, compression), "{path:?}");
    }

    #[test]
    fn the_name_chooses_format_and_compression() {
        check("a.pcapng", Format::PcapNg, Compression::None);
        check("dir/a.b.pcapng", Format::PcapNg, Compression::None);
        check(".pcapng", Format::PcapNg, Compression::None);
        check("a.pcap", Format::Pcap, Compression::None);
        check("a", Format::Pcap, Compression::None);
        check("dir.pcapng/a", Format::Pcap, Compression::None);
        check("dir.gz/a", Format::Pcap, Compression::None);
        check("-", Format::Pcap, Compression::None);
        check("", Format::Pcap, Compression::None);
        check("a.pcapng.gz", Format::PcapNg, Compression::Gzip);
        check("a.pcap.gz", Format::Pcap, Compression::Gzip);
        check("a.gz", Format::Pcap, Compression::Gzip);
        check("a.pcapng.gz.gz", Format::Pcap, Compression::Gzip);
        check("a.gzip", Format::Pcap, Compression::None);
    }
}
