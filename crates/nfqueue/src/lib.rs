//! A netfilter queue whose packets are let past everybody else's rules of their hook.
//!
//! [`Queue::bind`] takes a number that nobody has; a rule (`queue num N`) hands packets over to it; [`Queue::serve`], on a thread
//! of its own, gives each back with the verdict `NF_STOP`.
//!
//! ```no_run
//! use nsntrace_nfqueue::Queue;
//!
//! let (stopped, stop) = rustix::pipe::pipe()?;
//! let mut queue = Queue::bind()?;
//! println!("nft add rule inet t c queue num {}", queue.number());
//! std::thread::spawn(move || queue.serve(stopped));
//! // Until this:
//! drop(stop);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it is not
//! A way to look into packets, or to change or drop one: it sees no byte of them.
#![forbid(unsafe_code)]

mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
mod message;
mod queue;
mod uapi;

pub use error::QueueError;
pub use queue::Queue;
