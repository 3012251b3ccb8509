//! Tests only: the rules that `nsntrace-nat` makes, made again by two other libraries.
//!
//! Each module writes down what `nat` promises in the words of nft(8), in the words of its library. See README.md for why
//! this is no part of the main workspace.
#![forbid(unsafe_code)]

pub mod listing;
pub mod with_nftnl;
pub mod with_rustables;
