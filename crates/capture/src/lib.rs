//! Every frame of a network namespace from a TPACKET_V3 ring.
#![forbid(unsafe_code)]
