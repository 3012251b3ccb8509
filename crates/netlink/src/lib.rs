//! One netlink request, one acknowledgement: framing and attributes over neli's socket.
#![forbid(unsafe_code)]
