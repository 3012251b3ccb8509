//! Who was talked to, as it is said at the end, written as JSON, judged, and told in the file: real programs, by NAT and by proxy.
#![forbid(unsafe_code)]

mod checks;
mod failures;
mod files;
mod names;
mod trace;
