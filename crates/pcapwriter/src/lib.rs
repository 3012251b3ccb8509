//! Frames to pcap or pcapng, readable after any failure.
//!
//! A [`Writer`] makes records of a [`Batch`] of packets and hands them to an [`Output`] in large pieces, large packets without a copy. When the output refuses one,
//! the writer takes back the record that was cut in two, never writes again, and goes on counting, so that
//! [`Summary::written`] is the number of packets that a reader of the output finds.
//!
//! ```
//! use nsntrace_pcapwriter::{Direction, Format, Interface, Output, Packet, Section, Statistics, Writer};
//!
//! struct Memory(Vec<u8>);
//!
//! impl Output for Memory {
//!     fn write(&mut self, slices: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
//!         self.0.extend_from_slice(&slices[0]);
//!         Ok(slices[0].len())
//!     }
//!
//!     fn take_back(&mut self, bytes: u64) -> std::io::Result<()> {
//!         self.0.truncate(self.0.len() - usize::try_from(bytes).expect("it is in memory"));
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> Result<(), nsntrace_pcapwriter::WriterError> {
//! let section = Section {
//!     os: "Linux 6.1",
//!     application: "nsntrace 0.1",
//!     hardware: None,
//!     comment: None,
//!     filter: Some("tcp"),
//!     snaplen: 262_144,
//!     interfaces: &[Interface { name: "eth0", description: "the traced program's uplink" }],
//! };
//! let mut memory = Memory(Vec::new());
//! let mut writer = Writer::new(&mut memory, Format::PcapNg, &section)?;
//! writer.batch().push(&Packet {
//!     interface: 0,
//!     timestamp_ns: 1_700_000_000_000_000_000,
//!     original_len: 60,
//!     bytes: &[0xff; 60],
//!     vlan: None,
//!     direction: Direction::Outbound,
//!     dropped_before: 0,
//!     process: None,
//!     comment: None,
//! })?;
//! let statistics = Statistics { received: 1, ..Statistics::default() };
//! let summary = writer.finish(&statistics);
//! assert_eq!((summary.written, summary.lost), (1, 0));
//! assert_eq!(memory.0[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod arena;
mod copy;
mod direct;
mod error;
mod format;
mod gzip;
mod ledger;
mod metadata;
mod output;
mod record;
mod writer;

pub use direct::{DirectFile, PastCache};
pub use error::WriterError;
pub use format::{Compression, Format, Interface, MAX_SNAPLEN, Section, Statistics};
pub use gzip::Gzip;
pub use output::{Memory, Output, OutputFile};
pub use record::{Direction, Packet, ProcessRef};
pub use writer::{Batch, Summary, Writer};
