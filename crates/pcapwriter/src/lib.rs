//! Frames to pcap or pcapng, readable after any failure.
#![forbid(unsafe_code)]
