//! Why a capture, or one packet of it, was not written.

use std::io;

use crate::format::MAX_SNAPLEN;

/// Why a capture, or one packet of it, was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriterError {
    /// A section describes no interface, so that no packet could belong to it.
    #[error("a capture needs at least one interface")]
    NoInterface,

    /// Readers refuse a file with packets longer than [`MAX_SNAPLEN`]; 0 would mean "no limit".
    #[error("snapshot length {snaplen} is not between 1 and {MAX_SNAPLEN} bytes")]
    Snaplen {
        /// What was asked for, in bytes.
        snaplen: u32,
    },

    /// A pcapng option holds at most 65535 bytes.
    #[error("{field} is {length} bytes long, and a pcapng option holds at most 65535")]
    TextTooLong {
        /// Which text of the [`Section`](crate::Section) it is.
        field: &'static str,
        /// Its length in bytes.
        length: usize,
    },

    /// A packet names an interface that the section does not describe.
    #[error("packet of interface {interface}, but the capture has {count}")]
    UnknownInterface {
        /// The index that the packet carries.
        interface: usize,
        /// How many interfaces the section describes.
        count: usize,
    },

    /// Classic pcap counts seconds in 32 bits, which end on 2106-02-07.
    #[error("timestamp {timestamp_ns} ns is after 2106, which classic pcap cannot hold")]
    TimestampTooLate {
        /// Nanoseconds since the epoch.
        timestamp_ns: u64,
    },

    /// A packet claims to have been shorter on the wire than what was captured of it.
    #[error("packet of {original} bytes with {captured} bytes captured")]
    OriginalTooShort {
        /// Length on the wire, in bytes.
        original: u32,
        /// Bytes captured, before the cut at the snapshot length.
        captured: usize,
    },

    /// The output took no more: `ENOSPC`, `EDQUOT`, `EFBIG`, `EIO`, `EPIPE`. It ends with a whole record.
    #[error("cannot write the capture")]
    Output {
        /// What write(2) answered.
        source: io::Error,
    },

    /// The output took no more, and kept a part of the last record: the end of the file is unreadable.
    #[error("cannot write the capture, nor cut off its last, incomplete record ({cut})")]
    Torn {
        /// What write(2) answered.
        source: io::Error,
        /// Why the part could not be taken back.
        cut: io::Error,
    },
}
