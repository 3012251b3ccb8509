//! The beginning of TLS: who is asked for, what is spoken, and the number that keys are logged under.
//!
//! # References
//! RFC 8446, sections 4.1 and 5.1; RFC 6066, section 3 (names); RFC 7301 (protocols); RFC 5246 for TLS 1.2.

mod hello;
mod stream;

pub use hello::{ClientHello, Hello, ServerHello, Version};
pub use stream::{Progress, Stream};

/// 32 bytes that a client has chosen: the second word of a line of a key log.
pub type Random = [u8; 32];
