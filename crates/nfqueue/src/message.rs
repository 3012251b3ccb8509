//! What is said over the queue's socket, each message behind a `struct nfgenmsg` with the queue's number for `res_id`.
//!
//! ```text
//! struct nfqnl_msg_packet_hdr         struct nfqnl_msg_verdict_hdr       struct nfqnl_msg_config_params
//! +-----------+-------------+------+  +-----------+-----------+         +------------+-----------+
//! | packet_id | hw_protocol | hook |  |  verdict  |    id     |         | copy_range | copy_mode |
//! |  be u32   |   be u16    |  u8  |  |  be u32   |  be u32   |         |   be u32   |    u8     |
//! +-----------+-------------+------+  +-----------+-----------+         +------------+-----------+
//! ```
//!
//! # References
//! include/uapi/linux/netfilter/nfnetlink_queue.h; `nfqnl_recv_config()`, `nfqnl_recv_verdict_batch()` in
//! net/netfilter/nfnetlink_queue.c.

use neli::consts::nl::NlmF;
use nsntrace_netlink::{Batch, Message};

use crate::uapi::{
    NF_STOP, NFNL_SUBSYS_QUEUE, NFQA_CFG_CMD, NFQA_CFG_F_GSO, NFQA_CFG_FLAGS, NFQA_CFG_MASK, NFQA_CFG_PARAMS,
    NFQA_CFG_QUEUE_MAXLEN, NFQA_PACKET_HDR, NFQA_VERDICT_HDR, NFQNL_CFG_CMD_BIND, NFQNL_COPY_META,
    NFQNL_MSG_CONFIG, NFQNL_MSG_PACKET, NFQNL_MSG_VERDICT_BATCH,
};

/// Makes queue `number` the socket's own. Of a packet nothing is copied but its number; `max_len` may wait.
pub(crate) fn bind(number: u16, max_len: u32) -> Batch {
    let mut batch = Batch::new();
    batch.request(queue_type(NFQNL_MSG_CONFIG), NlmF::empty(), &nfgenmsg(number), |a| {
        // struct nfqnl_msg_config_cmd: the command, a byte of nothing, and a protocol family, which is not looked at.
        a.bytes(NFQA_CFG_CMD, &[NFQNL_CFG_CMD_BIND, 0, 0, 0]);
        a.bytes(NFQA_CFG_PARAMS, &[0, 0, 0, 0, NFQNL_COPY_META]);
        a.u32_be(NFQA_CFG_QUEUE_MAXLEN, max_len);
        a.u32_be(NFQA_CFG_FLAGS, NFQA_CFG_F_GSO);
        a.u32_be(NFQA_CFG_MASK, NFQA_CFG_F_GSO);
    });
    batch
}

/// Lets go every packet up to `last`, past the rest of its hook.
pub(crate) fn stop_up_to(number: u16, last: u32) -> Batch {
    let mut batch = Batch::new();
    let verdict = [NF_STOP.to_be_bytes(), last.to_be_bytes()].concat();
    let message = queue_type(NFQNL_MSG_VERDICT_BATCH);
    // Nobody waits for an acknowledgement.
    batch.message(message, NlmF::REQUEST, &nfgenmsg(number), |a| a.bytes(NFQA_VERDICT_HDR, &verdict));
    batch
}

/// The number of the packet that a message is about. They come in the order of their numbers, which wrap.
pub(crate) fn packet_id(message: Message<'_>) -> Option<u32> {
    if message.nlmsg_type() != queue_type(NFQNL_MSG_PACKET) {
        return None;
    }
    let (_, attributes) = message.split_header::<4>()?;
    let header = attributes.get(NFQA_PACKET_HDR)?.bytes();
    header.first_chunk().copied().map(u32::from_be_bytes)
}

/// `nlmsg_type` of a message of nfnetlink_queue.
fn queue_type(message: u16) -> u16 {
    NFNL_SUBSYS_QUEUE << 8 | message
}

/// `struct nfgenmsg`, of no family.
fn nfgenmsg(number: u16) -> [u8; 4] {
    let [high, low] = number.to_be_bytes();
    [0, 0, high, low]
}

#[cfg(test)]
mod tests {
    use nsntrace_netlink::Messages;

    use super::*;

    /// A message as the kernel sends it: 16 bytes of netlink(7), `struct nfgenmsg`, an attribute.
    fn message(nlmsg_type: u16, attribute: &[u8]) -> Vec<u8> {
        let payload = [&[2, 0, 0x80, 1], attribute].concat();
        let len = u32::try_from(16 + payload.len()).unwrap();
        [&len.to_ne_bytes()[..], &nlmsg_type.to_ne_bytes(), &[0; 10], &payload].concat()
    }

    #[track_caller]
    fn check(nlmsg_type: u16, attribute: &[u8], expected: Option<u32>) {
        let bytes = message(nlmsg_type, attribute);
        assert_eq!(packet_id(Messages::new(&bytes).next().unwrap().unwrap()), expected);
    }

    #[test]
    fn a_packets_number_is_found_and_nothing_else_is_taken_for_one() {
        let [len, kind] = [11_u16.to_ne_bytes(), NFQA_PACKET_HDR.to_ne_bytes()];
        let header = [&len[..], &kind, &[0, 1, 2, 3, 8, 0, 2, 0]].concat();
        check(0x0300, &header, Some(0x0001_0203));
        check(0x0301, &header, None);
        check(2, &header, None);
        check(0x0300, &[], None);
        let short = [&7_u16.to_ne_bytes()[..], &kind, &[0, 1, 2, 0]].concat();
        check(0x0300, &short, None);
    }
}
