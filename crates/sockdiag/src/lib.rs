//! The sockets of a network namespace, asked of the kernel over sock_diag.
#![forbid(unsafe_code)]
