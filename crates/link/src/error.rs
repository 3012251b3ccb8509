//! Why something about links, addresses, routes or rules was not learned or not changed.

use std::{fmt, net::IpAddr};

use nsntrace_netlink::{Refusal, RequestError, SocketError};
use rustix::io::Errno;

use crate::{IfAddress, IfIndex, IfName, IpFamily, Prefix};

/// Why a change was not made or a question not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The kernel said no.
    #[error("cannot {step}")]
    Refused {
        /// What we asked for.
        step: Step,
        /// Its errno, and its words where it had any.
        #[source]
        refusal: Refusal,
    },
    /// The rtnetlink socket failed, or a reply broke the format in netlink(7).
    #[error("cannot {step}, because rtnetlink failed")]
    Netlink {
        /// What we asked for.
        step: Step,
        /// What failed.
        #[source]
        source: SocketError,
    },
    /// A feature of a device could not be set.
    #[error("cannot {step}")]
    Feature {
        /// What we asked for.
        step: Step,
        /// `EOPNOTSUPP` where the device has no such feature.
        #[source]
        source: std::io::Error,
    },
    /// No link has this name.
    #[error("there is no network device {name}")]
    NoSuchName {
        /// The name.
        name: IfName,
    },
    /// The kernel accepted a request, and its answer lacks what it always has.
    #[error("cannot {step}, because the kernel's answer lacks a part")]
    Incomplete {
        /// What we asked for.
        step: Step,
    },
}

impl LinkError {
    pub(crate) fn new(step: Step, error: RequestError) -> Self {
        match error {
            RequestError::Refused(refusal) => Self::Refused { step, refusal },
            RequestError::Socket(source) => Self::Netlink { step, source },
            _ => Self::Incomplete { step },
        }
    }

    /// The errno that the kernel refused with.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal.errno),
            _ => None,
        }
    }

    /// What the kernel was built without, if it refused for that.
    pub fn missing(&self) -> Option<&'static str> {
        match self {
            // rtnl_newlink(): "Unknown device type".
            Self::Refused { step: Step::CreateVeth, refusal } if refusal.errno == Errno::OPNOTSUPP => {
                Some("CONFIG_VETH (module veth)")
            }
            _ => None,
        }
    }
}

/// One thing that is asked of the kernel, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Open the socket.
    Open,
    /// `ip link`, `ip address`, `ip route`, `ip rule`.
    List(&'static str),
    /// `ip link show`.
    Show(IfIndex),
    /// `ip link add type veth`.
    CreateVeth,
    /// `ip link set up`.
    SetUp(IfIndex),
    /// `ip link set down`.
    SetDown(IfIndex),
    /// `ip link delete`.
    DeleteLink(IfIndex),
    /// `ip link set addrgenmode none`.
    StopAddressGeneration(IfIndex),
    /// `ip link set arp off`.
    StopArp(IfIndex),
    /// `ip address add`.
    AddAddress(IfAddress, IfIndex),
    /// `ip neighbour add`.
    AddNeighbour(IpAddr, IfIndex),
    /// `ip route add`.
    AddRoute(Prefix, u32),
    /// `ip route delete`.
    DeleteRoute(Prefix, u32),
    /// `ip rule add`.
    AddRule(IpFamily, u32),
    /// `ip rule delete`.
    DeleteRule(IpFamily, u32),
    /// `sysctl net.ipv4.conf.DEV.forwarding`.
    ReadForwarding(IfIndex),
    /// `sysctl net.ipv4.conf.DEV.forwarding=`.
    SetForwarding(IfIndex),
    /// `ethtool -K NAME tx off`.
    StopOffload(IfName),
    /// Listen to changes, or hear them.
    Monitor,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => write!(f, "open an rtnetlink socket"),
            Self::List(what) => write!(f, "list the {what}"),
            Self::Show(ifindex) => write!(f, "look at the device with ifindex {ifindex}"),
            Self::CreateVeth => write!(f, "create a veth pair"),
            Self::SetUp(ifindex) => write!(f, "bring up the device with ifindex {ifindex}"),
            Self::SetDown(ifindex) => write!(f, "take down the device with ifindex {ifindex}"),
            Self::DeleteLink(ifindex) => write!(f, "delete the device with ifindex {ifindex}"),
            Self::StopAddressGeneration(ifindex) => {
                write!(f, "stop link-local addresses on the device with ifindex {ifindex}")
            }
            Self::StopArp(ifindex) => write!(f, "stop ARP on the device with ifindex {ifindex}"),
            Self::AddAddress(address, ifindex) => {
                write!(f, "add address {address} to the device with ifindex {ifindex}")
            }
            Self::AddNeighbour(address, ifindex) => {
                write!(f, "add neighbour {address} to the device with ifindex {ifindex}")
            }
            Self::AddRoute(destination, table) => write!(f, "add a route to {destination} in table {table}"),
            Self::DeleteRoute(destination, table) => {
                write!(f, "delete the route to {destination} in table {table}")
            }
            Self::AddRule(family, priority) => write!(f, "add IP{family} rule {priority}"),
            Self::DeleteRule(family, priority) => write!(f, "delete IP{family} rule {priority}"),
            Self::ReadForwarding(ifindex) => {
                write!(f, "read forwarding of the device with ifindex {ifindex}")
            }
            Self::SetForwarding(ifindex) => write!(f, "set forwarding of the device with ifindex {ifindex}"),
            Self::StopOffload(name) => write!(f, "switch off checksum offload of {name}"),
            Self::Monitor => write!(f, "watch links and routes"),
        }
    }
}

impl fmt::Display for IpFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "v4",
            Self::V6 => "v6",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_step_and_its_operands() {
        let address = IfAddress::new("10.1.2.3".parse().unwrap(), 31).unwrap();
        let check = |step: Step, text: &str| assert_eq!(step.to_string(), text);
        check(Step::Open, "open an rtnetlink socket");
        check(Step::List("routes"), "list the routes");
        check(Step::CreateVeth, "create a veth pair");
        check(Step::SetUp(IfIndex::LOOPBACK), "bring up the device with ifindex 1");
        check(
            Step::AddAddress(address, IfIndex::LOOPBACK),
            "add address 10.1.2.3/31 to the device with ifindex 1",
        );
        check(Step::AddRoute(address.prefix(), 254), "add a route to 10.1.2.2/31 in table 254");
        check(Step::DeleteRule(IpFamily::V6, 7), "delete IPv6 rule 7");
    }

    #[test]
    fn a_refusal_is_the_source_and_not_repeated() {
        let refusal = Refusal { index: 0, errno: Errno::PERM, extack: None };
        let error = LinkError::new(Step::SetUp(IfIndex::LOOPBACK), RequestError::Refused(refusal));
        assert_eq!(error.errno(), Some(Errno::PERM));
        assert_eq!(error.to_string(), "cannot bring up the device with ifindex 1");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(source, "Operation not permitted (os error 1)");
    }

    #[test]
    fn a_kernel_without_veth_is_known_by_its_answer() {
        let error = |step, errno| {
            LinkError::new(step, RequestError::Refused(Refusal { index: 0, errno, extack: None }))
        };
        let missing = error(Step::CreateVeth, Errno::OPNOTSUPP).missing();
        assert_eq!(missing, Some("CONFIG_VETH (module veth)"));
        assert_eq!(error(Step::CreateVeth, Errno::PERM).missing(), None);
        assert_eq!(error(Step::SetUp(IfIndex::LOOPBACK), Errno::OPNOTSUPP).missing(), None);
    }
}
