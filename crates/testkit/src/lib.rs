//! Tests only: a host and an internet made of namespaces, and foreign tools as oracles.
#![forbid(unsafe_code)]
