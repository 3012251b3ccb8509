//! Run a program in a network namespace of its own and record its packets.
#![forbid(unsafe_code)]
fn main() {}
