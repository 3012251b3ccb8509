//! Tables that an earlier run could not take back: plain ones, on kernels before Linux 5.12, after SIGKILL.
//!
//! # Kernel interface
//! `NFT_MSG_GETTABLE`, `NFT_MSG_DELTABLE`; `NFTA_TABLE_USERDATA` since Linux 5.10. `CAP_NET_ADMIN`.

use nsntrace_netlink::{Batch, Message};
use rustix::io::Errno;

use crate::{
    NatError, Owner, Step,
    table::{TABLE_PREFIX, delete, open},
    transaction::{comment_in, nfgenmsg, nft_type},
    uapi::{
        NFPROTO_INET, NFT_MSG_GETTABLE, NFT_MSG_NEWTABLE, NFT_TABLE_F_OWNER, NFTA_TABLE_FLAGS,
        NFTA_TABLE_NAME, NFTA_TABLE_USERDATA,
    },
};

/// Deletes our tables whose process is no more, and returns how many that were.
///
/// `is_alive` is told the number and, where the kernel keeps comments, the start time of the process. Tables
/// that a socket owns are none of its business: the kernel removes those.
///
/// # Errors
/// [`NatError::Unsupported`] where the kernel has no `nf_tables`; [`NatError::Refused`]: `EPERM` without
/// `CAP_NET_ADMIN`.
pub fn remove_stale(mut is_alive: impl FnMut(u32, Option<u64>) -> bool) -> Result<usize, NatError> {
    let mut socket = open()?;
    let mut request = Batch::new();
    request.dump(nft_type(NFT_MSG_GETTABLE), &nfgenmsg(NFPROTO_INET, 0), |_| {});
    let ours = socket.dump(&request, parse).map_err(|error| NatError::new(Step::ListTables, error))?;
    let mut count = 0;
    for table in ours.into_iter().filter(|table| !is_alive(table.pid, table.start_time)) {
        match delete(&mut socket, &table.name) {
            Ok(()) => count += 1,
            // Another run is as tidy as we are.
            Err(error) if error.errno() == Some(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

/// A table of ours that no socket owns.
pub(crate) struct PlainTable {
    name: String,
    pid: u32,
    start_time: Option<u64>,
}

pub(crate) fn parse(message: Message<'_>) -> Option<PlainTable> {
    let (header, attributes) = message.split_header::<4>()?;
    if message.nlmsg_type() != nft_type(NFT_MSG_NEWTABLE) || header[0] != NFPROTO_INET {
        return None;
    }
    let name = attributes.get(NFTA_TABLE_NAME)?.str()?;
    let flags = attributes.get(NFTA_TABLE_FLAGS).and_then(|flags| flags.u32_be()).unwrap_or(0);
    if flags & NFT_TABLE_F_OWNER != 0 {
        return None;
    }
    let pid = name.strip_prefix(TABLE_PREFIX)?.split('-').next()?.parse().ok()?;
    let owner = attributes.get(NFTA_TABLE_USERDATA).and_then(|a| Owner::from_comment(comment_in(a.bytes())?));
    let start_time = owner.filter(|owner| owner.pid == pid).map(|owner| owner.start_time);
    Some(PlainTable { name: name.to_owned(), pid, start_time })
}
