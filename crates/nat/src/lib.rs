//! Masquerading for one device with an nf_tables table that dies with its owner.
#![forbid(unsafe_code)]
