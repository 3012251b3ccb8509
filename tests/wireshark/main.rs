//! Wireshark beside a trace: the window that `--wireshark` opens, and the trace that Wireshark starts.
#![forbid(unsafe_code)]

mod extcap;
mod window;
