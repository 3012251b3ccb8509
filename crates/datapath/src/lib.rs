//! The data path: what is done for each packet between the ring and the file.
//!
//! Everything that runs once for each packet is here or below; whoever calls it does so once for each block. So this crate is
//! compiled for speed, and its callers may be compiled to be small. Its doors are never inlined: what is, is compiled as its caller.
//!
//! [`Look`] counts frames by flow and says what is worth reading; [`Bounds`] says where a file ends; [`Beside`] knows what is written beside
//! packets; [`fill`] writes a block of them, up to such an end; a [`Copier`] copies beginnings of them for whoever prints.
#![forbid(unsafe_code)]

mod beside;
mod bounds;
mod copies;
mod fill;
mod look;

pub use beside::{Beside, Comments, Found};
pub use bounds::{Bounds, Ends, Next};
pub use copies::{Copied, Copier, Copies, Room};
pub use fill::{Noted, fill, pass};
pub use look::{Look, News};
use nsntrace_pcapwriter::{Output, Writer};

/// A file of any kind.
pub type AnyWriter = Writer<Box<dyn Output + Send>>;

/// Loopback has this number in every namespace: include/net/flow.h.
const LOOPBACK_IFINDEX: u32 = 1;
