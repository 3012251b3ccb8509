//! `--tls-keys`: what was inside the TLS can be read from the file alone, by a reader that goes through it once.
#![forbid(unsafe_code)]

mod lab;
mod own_log;
mod places;
mod programs;
mod secrecy;
mod told;
