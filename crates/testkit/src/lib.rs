//! Tests only: a host and an internet made of namespaces, and foreign tools as oracles.
//!
//! # Theory of operation
//! A [`Lab`] is two [`Machine`]s joined by a veth pair, with no link to anywhere else, so that no packet of
//! a test can leave it. A machine is a thread that has unshared its network, mount and pid namespaces: whatever it
//! starts is born inside and is nevertheless our own child, with a pid that `kill` takes and a status that `wait` returns. The
//! machine's pid 1 reads a pipe that only this process holds: when the test ends, however it ends, the kernel
//! ends every process of the machine with it.
//!
//! What nsntrace says is read by [`Report`], what it writes by tshark, tcpdump and capinfos through [`CaptureFile`], and what
//! it leaves behind by `ip`, `nft`, `conntrack` and procfs through [`Residue`].
#![forbid(unsafe_code)]
#![expect(clippy::missing_panics_doc, reason = "a panic is how a test says that something is wrong")]

mod binary;
mod capture_file;
mod isolation;
mod lab;
mod machine;
mod process;
mod report;
mod residue;
mod servers;
mod tree;
mod wait;
mod work_dir;

pub use binary::nsntrace;
pub use capture_file::CaptureFile;
pub use isolation::{Netns, eventually, isolated, isolated_by, sh};
pub use lab::{HOST4, HOST6, NEUTRAL4, NEUTRAL6, PUBLIC_DNS, SECOND4, WAN4, WAN6};
pub use lab::{Lab, Plan};
pub use machine::Machine;
pub use process::{Finished, Process};
pub use report::Report;
pub use residue::Residue;
pub use tree::{Member, becoming_program_of, program_of, witness_of, worker_of};
pub use wait::{until, within};
pub use work_dir::WorkDir;
