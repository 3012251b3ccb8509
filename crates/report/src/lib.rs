//! Who was talked to: from packets to a table and to JSON.
//!
//! Two halves, for two threads. [`Census`] sees every packet and is made for speed: it counts by flow and says which packets are
//! worth reading. [`Analysis`] reads those: names, hellos, first lines. At the end [`Report`] is made from both, and from who owns which flow.
//!
//! ```
//! use nsntrace_report::{Analysis, Census, Report, Sight, Terms};
//!
//! let (mut census, mut analysis) = (Census::new(), Analysis::default());
//! # let frames: Vec<Vec<u8>> = Vec::new();
//! for frame in &frames {
//!     let Some(packet) = nsntrace_dissect::dissect(frame) else { continue };
//!     let sight = Sight { timestamp_ns: 0, is_outbound: true, is_loopback: false, len: 60 };
//!     let seen = census.see(&packet, &sight);
//!     if let Some(head) = census.head(&packet, &seen) {
//!         let _found = analysis.take(&head);
//!     }
//! }
//! let report = Report::new(&census, &analysis, &Terms::default(), |_flow| None);
//! assert_eq!(report.table(), "");
//! ```
#![forbid(unsafe_code)]

mod analysis;
mod census;
mod conversation;
mod expectation;
mod json;
mod names;
mod offence;
mod report;
mod table;

pub use analysis::{Analysis, Found, Handshake};
pub use census::{Census, Endpoint, Flow, FlowNumber, Head, Protocol, Seen, Sight, TcpEnd, Volume};
pub use conversation::{Attribution, Conversation, Failure, Keys, Known, Process};
pub use expectation::{Expectation, ExpectationError};
pub use json::Json;
pub use names::Names;
pub use offence::{Objection, Offence};
pub use report::{Report, Terms};
pub use table::amount;
