//! The pcap-filter language, compiled to classic BPF in pure Rust.
//!
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod arith;
mod assemble;
mod ast;
mod compile;
mod error;
mod graph;
mod interpret;
mod keywords;
mod lexer;
mod listing;
mod lower;
mod names;
mod optimise;
mod options;
mod parser;
mod program;
mod stream;
mod value;

pub use compile::compile;
pub use error::{ErrorKind, Excerpt, FilterError, Span};
pub use interpret::{Ancillary, Packet};
pub use lower::{MAX_DEPTH, MAX_HEADERS_IP, MAX_HEADERS_IP6};
pub use names::{Names, NoNames, Tables};
pub use options::{LinkType, Options, Source, UnknownLinkType};
pub use program::{Insn, Program};
