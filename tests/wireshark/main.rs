//! Wireshark beside a trace: the window that `--wireshark` opens.
#![forbid(unsafe_code)]

mod window;
