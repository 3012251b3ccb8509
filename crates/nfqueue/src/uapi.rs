//! Numbers of the kernel that neither neli nor libc has, each list under the header that it comes from.

/// linux/netfilter.h: the hook ends here, and the packet goes on. Still taken from a queue's reader (`nf_reinject()`).
pub(crate) const NF_STOP: u32 = 5;

/// linux/netfilter/nfnetlink.h
pub(crate) const NFNL_SUBSYS_QUEUE: u16 = 3;

/// linux/netfilter/nfnetlink_queue.h: `enum nfqnl_msg_types`.
pub(crate) const NFQNL_MSG_PACKET: u16 = 0;
pub(crate) const NFQNL_MSG_CONFIG: u16 = 2;
pub(crate) const NFQNL_MSG_VERDICT_BATCH: u16 = 3;

/// linux/netfilter/nfnetlink_queue.h: `enum nfqnl_attr_type`.
pub(crate) const NFQA_PACKET_HDR: u16 = 1;
pub(crate) const NFQA_VERDICT_HDR: u16 = 2;

/// linux/netfilter/nfnetlink_queue.h: `enum nfqnl_attr_config`, `enum nfqnl_msg_config_cmds`, `enum nfqnl_config_mode`.
pub(crate) const NFQA_CFG_CMD: u16 = 1;
pub(crate) const NFQA_CFG_PARAMS: u16 = 2;
pub(crate) const NFQA_CFG_QUEUE_MAXLEN: u16 = 3;
pub(crate) const NFQA_CFG_MASK: u16 = 4;
pub(crate) const NFQA_CFG_FLAGS: u16 = 5;
pub(crate) const NFQNL_CFG_CMD_BIND: u8 = 1;
pub(crate) const NFQNL_COPY_META: u8 = 1;

/// linux/netfilter/nfnetlink_queue.h: super-packets may come whole, with checksums that are still to be computed.
pub(crate) const NFQA_CFG_F_GSO: u32 = 1 << 2;
