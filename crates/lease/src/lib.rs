//! Settings of the host on loan: recorded, shared between runs, given back.
#![forbid(unsafe_code)]
