//! The kernel calls that need `unsafe`, each behind a safe function.
//!
//! rustix covers most of what nsntrace asks of the kernel. What is here is the rest: fork, signal masks and signalfd,
//! the options of packet sockets, the memory of their ring and other shared memory, and local time. No other crate of nsntrace contains `unsafe`.

mod credentials;
mod datagram;
mod descriptors;
mod device;
pub mod failing;
mod handover;
mod netns;
mod notify;
mod packet;
mod process;
mod ring;
mod seccomp;
mod shared;
mod signals;
#[cfg(target_env = "musl")]
mod thread_name;
mod time;
mod transparent;

pub use credentials::{Credentials, as_file_user, open_thread};
pub use datagram::{
    Datagram, DeliveryError, Detail, Family, Origin, receive_datagram, receive_error, send_datagrams, tell,
};
pub use descriptors::Inherited;
pub use device::set_tx_checksum_offload;
pub use netns::{
    is_unshare_filtered, netns_cookie, owner_of_netns, unshare_mounts, unshare_netns, unshare_user,
};
pub use notify::{Held, Wish, give, hold_sockets, is_held, let_go, next_held, take_turns};
pub use packet::{Insn, PacketSocket, PacketStatistics, attach_filter};
pub use process::{Fork, become_on_files, exec, exit_now, fork, is_in_our_process_group};
pub use ring::{Block, Geometry, Ring};
pub use seccomp::{confine, confine_but_for_descriptors};
pub use shared::SharedNumbers;
pub use signals::{Received, SignalFd, SignalMask, die_by, ignore_ends_of_children, keep_ends_of_children};
pub use time::format_local_time;
pub use transparent::{bind_to_device, is_at_mark, set_transparent_v4, set_transparent_v6, unacknowledged};
