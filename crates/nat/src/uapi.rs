//! Numbers of the kernel that neither neli nor libc has, each list under the header that it comes from.

/// linux/netfilter.h: families and hooks of netfilter.
pub(crate) const NFPROTO_UNSPEC: u8 = 0;
pub(crate) const NFPROTO_INET: u8 = 1;
pub(crate) const NFPROTO_IPV4: u8 = 2;
pub(crate) const NFPROTO_IPV6: u8 = 10;
pub(crate) const NF_INET_PRE_ROUTING: u32 = 0;
pub(crate) const NF_INET_FORWARD: u32 = 2;
pub(crate) const NF_INET_POST_ROUTING: u32 = 4;
pub(crate) const NF_DROP: u32 = 0;
pub(crate) const NF_ACCEPT: u32 = 1;

/// linux/netfilter_ipv4.h: `enum nf_ip_hook_priorities`.
pub(crate) const NF_IP_PRI_MANGLE: i32 = -150;
pub(crate) const NF_IP_PRI_RAW: i32 = -300;
pub(crate) const NF_IP_PRI_FILTER: i32 = 0;
pub(crate) const NF_IP_PRI_NAT_SRC: i32 = 100;
pub(crate) const NF_IP_PRI_LAST: i32 = i32::MAX;

/// linux/netfilter/nfnetlink.h
pub(crate) const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
pub(crate) const NFNL_MSG_BATCH_END: u16 = 0x11;
pub(crate) const NFNL_SUBSYS_CTNETLINK: u16 = 1;
pub(crate) const NFNL_SUBSYS_NFTABLES: u16 = 10;

/// linux/netfilter/nf_tables.h: `enum nf_tables_msg_types`.
pub(crate) const NFT_MSG_NEWTABLE: u16 = 0;
pub(crate) const NFT_MSG_GETTABLE: u16 = 1;
pub(crate) const NFT_MSG_DELTABLE: u16 = 2;
pub(crate) const NFT_MSG_NEWCHAIN: u16 = 3;
pub(crate) const NFT_MSG_DELCHAIN: u16 = 5;
pub(crate) const NFT_MSG_NEWRULE: u16 = 6;
pub(crate) const NFT_MSG_GETRULE: u16 = 7;
pub(crate) const NFT_MSG_DELRULE: u16 = 8;

/// linux/netfilter/nf_tables.h: `enum nft_table_flags`, `enum nft_table_attributes`.
pub(crate) const NFT_TABLE_F_OWNER: u32 = 2;
pub(crate) const NFTA_TABLE_NAME: u16 = 1;
pub(crate) const NFTA_TABLE_FLAGS: u16 = 2;
pub(crate) const NFTA_TABLE_USERDATA: u16 = 6;

/// linux/netfilter/nf_tables.h: `enum nft_chain_attributes`, `enum nft_hook_attributes`.
pub(crate) const NFTA_CHAIN_TABLE: u16 = 1;
pub(crate) const NFTA_CHAIN_NAME: u16 = 3;
pub(crate) const NFTA_CHAIN_HOOK: u16 = 4;
pub(crate) const NFTA_CHAIN_POLICY: u16 = 5;
pub(crate) const NFTA_CHAIN_TYPE: u16 = 7;
pub(crate) const NFTA_HOOK_HOOKNUM: u16 = 1;
pub(crate) const NFTA_HOOK_PRIORITY: u16 = 2;

/// linux/netfilter/nf_tables.h: `enum nft_rule_attributes`, `enum nft_list_attributes`, `enum
/// nft_expr_attributes`.
pub(crate) const NFTA_RULE_TABLE: u16 = 1;
pub(crate) const NFTA_RULE_CHAIN: u16 = 2;
pub(crate) const NFTA_RULE_EXPRESSIONS: u16 = 4;
pub(crate) const NFTA_LIST_ELEM: u16 = 1;
pub(crate) const NFTA_EXPR_NAME: u16 = 1;
pub(crate) const NFTA_EXPR_DATA: u16 = 2;

/// linux/netfilter/nf_tables.h: `enum nft_registers`, `enum nft_data_attributes`, `enum
/// nft_verdict_attributes`.
pub(crate) const NFT_REG_VERDICT: u32 = 0;
pub(crate) const NFT_REG_1: u32 = 1;
pub(crate) const NFTA_DATA_VALUE: u16 = 1;
pub(crate) const NFTA_DATA_VERDICT: u16 = 2;
pub(crate) const NFTA_VERDICT_CODE: u16 = 1;
pub(crate) const NFTA_IMMEDIATE_DREG: u16 = 1;
pub(crate) const NFTA_IMMEDIATE_DATA: u16 = 2;

/// linux/netfilter/nf_tables.h: `enum nft_meta_keys`, `enum nft_meta_attributes`.
pub(crate) const NFT_META_IIF: u32 = 4;
pub(crate) const NFT_META_OIF: u32 = 5;
pub(crate) const NFT_META_IIFNAME: u32 = 6;
pub(crate) const NFT_META_OIFNAME: u32 = 7;
pub(crate) const NFT_META_NFPROTO: u32 = 15;
pub(crate) const NFT_META_L4PROTO: u32 = 16;
pub(crate) const NFTA_META_DREG: u16 = 1;
pub(crate) const NFTA_META_KEY: u16 = 2;

/// linux/netfilter/nf_tables.h: `enum nft_cmp_ops`, `enum nft_cmp_attributes`.
pub(crate) const NFT_CMP_EQ: u32 = 0;
pub(crate) const NFT_CMP_NEQ: u32 = 1;
pub(crate) const NFTA_CMP_SREG: u16 = 1;
pub(crate) const NFTA_CMP_OP: u16 = 2;
pub(crate) const NFTA_CMP_DATA: u16 = 3;

/// linux/netfilter/nf_tables.h: `enum nft_payload_bases`, `enum nft_payload_attributes`.
pub(crate) const NFT_PAYLOAD_NETWORK_HEADER: u32 = 1;
pub(crate) const NFT_PAYLOAD_TRANSPORT_HEADER: u32 = 2;
pub(crate) const NFTA_PAYLOAD_DREG: u16 = 1;
pub(crate) const NFTA_PAYLOAD_BASE: u16 = 2;
pub(crate) const NFTA_PAYLOAD_OFFSET: u16 = 3;
pub(crate) const NFTA_PAYLOAD_LEN: u16 = 4;

/// linux/netfilter/nf_tables.h: `enum nft_bitwise_attributes`.
pub(crate) const NFTA_BITWISE_SREG: u16 = 1;
pub(crate) const NFTA_BITWISE_DREG: u16 = 2;
pub(crate) const NFTA_BITWISE_LEN: u16 = 3;
pub(crate) const NFTA_BITWISE_MASK: u16 = 4;
pub(crate) const NFTA_BITWISE_XOR: u16 = 5;

/// linux/netfilter/nf_tables.h: `enum nft_tproxy_attributes`.
pub(crate) const NFTA_TPROXY_FAMILY: u16 = 1;
pub(crate) const NFTA_TPROXY_REG_PORT: u16 = 3;

/// linux/netfilter/nf_tables.h: `enum nft_queue_attributes`.
pub(crate) const NFTA_QUEUE_NUM: u16 = 1;

/// `linux/netfilter/nf_tables_compat.h`: `enum nft_target_attributes`.
pub(crate) const NFTA_TARGET_NAME: u16 = 1;
pub(crate) const NFTA_TARGET_REV: u16 = 2;
pub(crate) const NFTA_TARGET_INFO: u16 = 3;

/// linux/netfilter/nf_tables.h: `enum nft_counter_attributes`.
pub(crate) const NFTA_COUNTER_PACKETS: u16 = 2;

/// linux/netfilter/nf_tables.h: `enum nft_ct_keys`, `enum nft_ct_attributes`.
pub(crate) const NFT_CT_STATE: u32 = 0;
pub(crate) const NFTA_CT_DREG: u16 = 1;
pub(crate) const NFTA_CT_KEY: u16 = 2;

/// `linux/netfilter/nf_conntrack_common.h`: `NF_CT_STATE_BIT(IP_CT_ESTABLISHED)`,
/// `NF_CT_STATE_BIT(IP_CT_RELATED)`, `NF_CT_STATE_BIT(IP_CT_NEW)`.
pub(crate) const CT_STATE_ESTABLISHED: u32 = 1 << 1;
pub(crate) const CT_STATE_RELATED: u32 = 1 << 2;
pub(crate) const CT_STATE_NEW: u32 = 1 << 3;

/// `linux/netfilter/nfnetlink_conntrack.h`: `enum cntl_msg_types`, `enum ctattr_type`, `enum ctattr_tuple`,
/// `enum ctattr_ip`, `enum ctattr_filter`.
pub(crate) const IPCTNL_MSG_CT_NEW: u16 = 0;
pub(crate) const IPCTNL_MSG_CT_GET: u16 = 1;
pub(crate) const IPCTNL_MSG_CT_DELETE: u16 = 2;
pub(crate) const CTA_TUPLE_ORIG: u16 = 1;
pub(crate) const CTA_ID: u16 = 12;
pub(crate) const CTA_ZONE: u16 = 18;
pub(crate) const CTA_FILTER: u16 = 25;
pub(crate) const CTA_TUPLE_IP: u16 = 1;
pub(crate) const CTA_IP_V4_SRC: u16 = 1;
pub(crate) const CTA_IP_V6_SRC: u16 = 3;
pub(crate) const CTA_FILTER_ORIG_FLAGS: u16 = 1;

/// net/netfilter/nf_internals.h: `CTA_FILTER_FLAG(CTA_IP_SRC)`, part of the interface without being in its
/// header.
pub(crate) const CTA_FILTER_F_CTA_IP_SRC: u32 = 1 << 0;
