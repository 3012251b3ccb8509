//! Every kind of file that nsntrace writes, read by everybody: tshark, capinfos, editcap, tcpdump, dumpcap from a pipe, and block by block by
//! blocks.py, which knows the specifications and nothing of us. What they find is held against what was sent.
#![forbid(unsafe_code)]

mod blocks;
mod kinds;
mod owners;
mod pieces;
mod readers;
mod sender;
mod streams;
