//! A network namespace that lives as file descriptors.
#![forbid(unsafe_code)]
