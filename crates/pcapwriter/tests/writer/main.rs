//! The writer from outside, against pcap-file, against foreign tools, and against outputs that fail.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

mod blocks;
mod direct;
mod failures;
mod files;
mod foreign;
mod gunzip;
mod gzip;
mod oracle;
mod room;
mod support;
