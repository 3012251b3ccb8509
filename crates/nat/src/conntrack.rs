//! What connection tracking remembers: entries outlive table, device and namespace, an established TCP
//! connection's by 5 days.
//!
//! # Theory of operation
//! List the entries whose first packet came from an address, then delete them one by one, each by its tuple
//! and its number, so that an entry which took the place of a listed one is left alone.
//!
//! # Kernel interface
//! `IPCTNL_MSG_CT_GET` with `CTA_FILTER` (IPv4, Linux 5.8; else the kernel lists all and we pick),
//! `IPCTNL_MSG_CT_DELETE`. `CAP_NET_ADMIN` over the network namespace.
//!
//! # References
//! conntrack(8); `include/uapi/linux/netfilter/nfnetlink_conntrack.h`;
//! `net/netfilter/nf_conntrack_netlink.c`.

use std::net::IpAddr;

use neli::consts::nl::NlmF;
use nsntrace_netlink::{AttributeWriter, Batch, Message, RequestError, Socket};
use rustix::io::Errno;

use crate::{
    NatError, Step,
    table::open,
    transaction::nfgenmsg,
    uapi::{
        CTA_FILTER, CTA_FILTER_F_CTA_IP_SRC, CTA_FILTER_ORIG_FLAGS, CTA_ID, CTA_IP_V4_SRC, CTA_IP_V6_SRC,
        CTA_TUPLE_IP, CTA_TUPLE_ORIG, CTA_ZONE, IPCTNL_MSG_CT_DELETE, IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_NEW,
        NFNL_SUBSYS_CTNETLINK, NFPROTO_IPV4, NFPROTO_IPV6,
    },
};

/// Deletes every entry of a connection that `source` began, as `conntrack -D -s SOURCE` does, and returns how
/// many that were. It works on the network namespace of the calling thread.
///
/// # Errors
/// [`NatError::Unsupported`] where the kernel has no way to list them; [`NatError::Refused`]: `EPERM` without
/// `CAP_NET_ADMIN`.
pub fn forget(source: IpAddr) -> Result<usize, NatError> {
    let mut socket = open()?;
    let mut count = 0;
    for entry in list(&mut socket, source)? {
        match socket.transact(&entry.deletion(source)) {
            Ok(()) => count += 1,
            // It ended by itself meanwhile.
            Err(RequestError::Refused(refusal)) if refusal.errno == Errno::NOENT => {}
            Err(error) => return Err(NatError::new(Step::ForgetConnection, error)),
        }
    }
    Ok(count)
}

/// What names an entry, in the kernel's own bytes.
pub(crate) struct Entry {
    tuple: Vec<u8>,
    zone: Option<Vec<u8>>,
    id: Option<Vec<u8>>,
}

impl Entry {
    fn deletion(&self, source: IpAddr) -> Batch {
        let mut batch = Batch::new();
        batch.request(ct_type(IPCTNL_MSG_CT_DELETE), NlmF::empty(), &nfgenmsg(nfproto(source), 0), |a| {
            a.nested_after(CTA_TUPLE_ORIG, &self.tuple, |_| {});
            for (nla_type, value) in [(CTA_ZONE, &self.zone), (CTA_ID, &self.id)] {
                if let Some(value) = value {
                    a.bytes(nla_type, value);
                }
            }
        });
        batch
    }
}

fn list(socket: &mut Socket, source: IpAddr) -> Result<Vec<Entry>, NatError> {
    let mut request = Batch::new();
    request.dump(ct_type(IPCTNL_MSG_CT_GET), &nfgenmsg(nfproto(source), 0), |a| write_filter(a, source));
    let entries = socket.dump(&request, |message| parse(message, source));
    entries.map_err(|error| match error {
        // That is what nfnetlink says of a subsystem that it does not have.
        RequestError::Refused(mut refusal) if refusal.errno == Errno::INVAL => {
            refusal.errno = Errno::OPNOTSUPP;
            NatError::new(Step::ListConnections, RequestError::Refused(refusal))
        }
        error => NatError::new(Step::ListConnections, error),
    })
}

/// Lets the kernel pick, of IPv4. Of IPv6 it would list exactly the others: `ctnetlink_filter_match_tuple()` has
/// its comparison of IPv6 addresses the wrong way round, at least up to Linux 6.18.
fn write_filter(a: &mut AttributeWriter<'_>, source: IpAddr) {
    let IpAddr::V4(v4) = source else { return };
    a.nested(CTA_TUPLE_ORIG, |a| {
        a.nested(CTA_TUPLE_IP, |a| a.bytes(CTA_IP_V4_SRC, &v4.octets()));
    });
    a.nested(CTA_FILTER, |a| a.u32(CTA_FILTER_ORIG_FLAGS, CTA_FILTER_F_CTA_IP_SRC));
}

pub(crate) fn parse(message: Message<'_>, source: IpAddr) -> Option<Entry> {
    if message.nlmsg_type() != ct_type(IPCTNL_MSG_CT_NEW) {
        return None;
    }
    let (_, attributes) = message.split_header::<4>()?;
    let tuple = attributes.get(CTA_TUPLE_ORIG)?;
    let addresses = tuple.nested().get(CTA_TUPLE_IP)?.nested();
    let found = match source {
        IpAddr::V4(_) => addresses.get(CTA_IP_V4_SRC)?.array::<4>().map(IpAddr::from),
        IpAddr::V6(_) => addresses.get(CTA_IP_V6_SRC)?.array::<16>().map(IpAddr::from),
    };
    let bytes = |nla_type| attributes.get(nla_type).map(|attribute| attribute.bytes().to_vec());
    (found == Some(source)).then(|| Entry {
        tuple: tuple.bytes().to_vec(),
        zone: bytes(CTA_ZONE),
        id: bytes(CTA_ID),
    })
}

fn nfproto(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => NFPROTO_IPV4,
        IpAddr::V6(_) => NFPROTO_IPV6,
    }
}

/// `nlmsg_type` of a message of ctnetlink.
fn ct_type(message: u16) -> u16 {
    NFNL_SUBSYS_CTNETLINK << 8 | message
}
