//! The way from the traced program to a proxy, in a network namespace that has nothing else to do:
//!
//! ```text
//! chain prerouting {
//!     type filter hook prerouting priority mangle; policy drop;
//!     iifname DEVICE tcp flags syn / fin,syn,rst,ack drop
//!     iifname DEVICE meta l4proto tcp accept
//!     iifname DEVICE meta l4proto udp tproxy to :UDP accept
//!     iifname "lo" tcp flags syn / fin,syn,rst,ack tproxy to :TCP accept
//! }
//! ```
//!
//! # Theory of operation
//! A SYN that the program sends is seen by a packet socket alone, before these rules. When the proxy has reached the peer it puts the SYN
//! on loopback, and only there a listener answers it; from then on the segments that come in by the device find their connection by
//! its addresses. What is neither TCP nor UDP ends here: where every address is local the kernel would answer each ping itself.
//!
//! The table needs no owner and no clean-up: it ends with the namespace.
//!
//! # Kernel interface
//! `nf_tables` over `NETLINK_NETFILTER`. `CAP_NET_ADMIN` over the network namespace. `tproxy`: Linux 4.19.
//!
//! # References
//! nft(8), "TPROXY STATEMENT"; Documentation/networking/tproxy.rst.

use crate::{
    NatError,
    expr::{Expr, Protocol},
    table::{check_name, open},
    transaction::{BaseChain, Policy, Transaction},
    uapi::{NF_INET_PRE_ROUTING, NF_IP_PRI_MANGLE},
};

/// Where a proxy waits, for both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Its transparent listener.
    pub tcp: u16,
    /// Its transparent UDP socket.
    pub udp: u16,
}

/// Leads to the proxy what comes in by `device`, in the network namespace of the calling thread. The device need not exist yet.
///
/// # Errors
/// [`NatError::Unsupported`] names what the kernel was built without. [`NatError::Refused`]: `EPERM` without
/// `CAP_NET_ADMIN` over the network namespace, `EEXIST` where it was done before. [`NatError::DeviceName`].
pub fn lead_to_proxy(device: &str, ports: Ports) -> Result<(), NatError> {
    check_name(device)?;
    let mut transaction = Transaction::new(TABLE);
    transaction.add_table(0, "nsntrace's way to its proxy");
    transaction.add_chain(PREROUTING);
    let (veth, lo) = (Expr::IifName(device), Expr::IifName("lo"));
    let (tcp, udp) = (Expr::Protocol(Protocol::Tcp), Expr::Protocol(Protocol::Udp));
    transaction.add_rule(PREROUTING, &[veth, tcp, Expr::IsSyn, Expr::Drop]);
    transaction.add_rule(PREROUTING, &[veth, tcp, Expr::Accept]);
    transaction.add_rule(PREROUTING, &[veth, udp, Expr::Tproxy(ports.udp), Expr::Accept]);
    transaction.add_rule(PREROUTING, &[lo, tcp, Expr::IsSyn, Expr::Tproxy(ports.tcp), Expr::Accept]);
    transaction.commit(&mut open()?)
}

const TABLE: &str = "nsntrace";

const PREROUTING: BaseChain = BaseChain {
    name: "prerouting",
    kind: "filter",
    hook: NF_INET_PRE_ROUTING,
    priority: NF_IP_PRI_MANGLE,
    policy: Policy::Drop,
};
