//! Why packets are not translated.

use std::fmt;

use nsntrace_netlink::{Refusal, RequestError, SocketError};
use rustix::io::Errno;

/// Why a table was not made, changed or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NatError {
    /// The kernel was built without something, or its module is not there to be loaded.
    #[error("this kernel cannot {step}: it lacks {needs}")]
    Unsupported {
        /// What we asked for.
        step: Step,
        /// The build options that it takes.
        needs: &'static str,
        /// What the kernel said.
        #[source]
        refusal: Refusal,
    },
    /// The kernel said no.
    #[error("cannot {step}")]
    Refused {
        /// What we asked for.
        step: Step,
        /// Its errno, and its words where it had any.
        #[source]
        refusal: Refusal,
    },
    /// The netfilter socket could not be opened, or failed.
    #[error("cannot {step}, because nfnetlink failed")]
    Netlink {
        /// What we asked for.
        step: Step,
        /// What failed.
        #[source]
        source: SocketError,
    },
    /// A device has a name that no device can have.
    #[error("no network device has the name '{name}': 1 to 15 bytes are possible")]
    DeviceName {
        /// The name.
        name: String,
    },
}

impl NatError {
    pub(crate) fn new(step: Step, error: RequestError) -> Self {
        let refusal = match error {
            RequestError::Refused(refusal) => refusal,
            RequestError::Socket(source) => return Self::Netlink { step, source },
            _ => return Self::Netlink { step, source: SocketError::Unanswered },
        };
        match step.needs().filter(|_| is_lack(refusal.errno)) {
            Some(needs) => Self::Unsupported { step, needs, refusal },
            None => Self::Refused { step, refusal },
        }
    }

    /// What was asked of the kernel; `None` if it was not asked.
    pub fn step(&self) -> Option<Step> {
        match self {
            Self::Unsupported { step, .. } | Self::Refused { step, .. } | Self::Netlink { step, .. } => {
                Some(*step)
            }
            Self::DeviceName { .. } => None,
        }
    }

    /// Whether the kernel's lists changed all the while they were written: another time they may be had.
    pub fn is_restless(&self) -> bool {
        matches!(self, Self::Netlink { source: SocketError::Restless { .. }, .. })
    }

    /// The errno that the kernel refused with.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { refusal, .. } | Self::Unsupported { refusal, .. } => Some(refusal.errno),
            _ => None,
        }
    }
}

/// What the kernel says to what it does not know: of a subsystem, a table flag, a chain type, an expression.
fn is_lack(errno: Errno) -> bool {
    matches!(errno, Errno::OPNOTSUPP | Errno::NOENT | Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT)
}

/// One thing that is asked of the kernel, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Open a netfilter socket.
    Open,
    /// Begin a transaction of `nf_tables`, or end one.
    Begin,
    /// `nft add table`.
    AddTable,
    /// `nft add chain`, of a type of chain.
    AddChain(&'static str),
    /// `nft add rule ... masquerade`.
    AddMasquerade,
    /// `nft add rule ... ct state`.
    AddStateMatch,
    /// `nft add rule ... tproxy`.
    AddTproxy,
    /// `nft add rule ... counter`.
    AddCounter,
    /// `nft add rule ... queue`.
    AddQueue,
    /// `nft add rule`.
    AddRule,
    /// `nft flush chain`.
    FlushChain,
    /// `nft delete chain`.
    DeleteChain,
    /// `nft list chain`.
    ReadCounters,
    /// `nft delete table`.
    DeleteTable,
    /// `nft list tables`.
    ListTables,
    /// `conntrack -L`.
    ListConnections,
    /// `conntrack -D`.
    ForgetConnection,
}

impl Step {
    /// What a kernel must have been built with, where the step can fail for that.
    fn needs(self) -> Option<&'static str> {
        match self {
            Self::Open => Some("CONFIG_NETFILTER_NETLINK (module nfnetlink)"),
            Self::Begin | Self::ListTables => Some("CONFIG_NF_TABLES (module nf_tables)"),
            Self::AddTable | Self::AddChain("filter") => Some("CONFIG_NF_TABLES_INET"),
            Self::AddChain(_) => Some("CONFIG_NFT_NAT (module nft_chain_nat) of Linux 5.2 or later"),
            Self::AddMasquerade => Some("CONFIG_NFT_MASQ (module nft_masq)"),
            Self::AddStateMatch => Some("CONFIG_NFT_CT (module nft_ct)"),
            Self::AddTproxy => Some("CONFIG_NFT_TPROXY (module nft_tproxy)"),
            // Part of nf_tables since Linux 5.17.
            Self::AddCounter => Some("CONFIG_NFT_COUNTER (module nft_counter)"),
            Self::AddQueue => Some(QUEUES),
            Self::ListConnections => Some("CONFIG_NF_CT_NETLINK (module nf_conntrack_netlink)"),
            Self::AddRule
            | Self::FlushChain
            | Self::DeleteChain
            | Self::ReadCounters
            | Self::DeleteTable
            | Self::ForgetConnection => None,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("open a netfilter socket"),
            Self::Begin => f.write_str("use nf_tables"),
            Self::AddTable => f.write_str("add an nf_tables table"),
            Self::AddChain(kind) => write!(f, "add a {kind} chain"),
            Self::AddMasquerade => f.write_str("masquerade"),
            Self::AddStateMatch => f.write_str("match the state of a connection"),
            Self::AddTproxy => f.write_str("lead connections to a proxy"),
            Self::AddCounter => f.write_str("count packets"),
            Self::AddQueue => f.write_str("hand packets over to a queue"),
            Self::AddRule => f.write_str("add a rule"),
            Self::FlushChain => f.write_str("replace the rules of a chain"),
            Self::DeleteChain => f.write_str("delete a chain"),
            Self::ReadCounters => f.write_str("read the counters of a chain"),
            Self::DeleteTable => f.write_str("delete an nf_tables table"),
            Self::ListTables => f.write_str("list the tables of nf_tables"),
            Self::ListConnections => f.write_str("list tracked connections"),
            Self::ForgetConnection => f.write_str("forget a tracked connection"),
        }
    }
}

/// Either of the two that the rule can be written with.
const QUEUES: &str =
    "CONFIG_NFT_QUEUE (module nft_queue), or CONFIG_NFT_COMPAT and CONFIG_NETFILTER_XT_TARGET_NFQUEUE";

#[cfg(test)]
mod tests {
    use super::*;

    fn error(step: Step, errno: Errno) -> String {
        NatError::new(step, RequestError::Refused(Refusal { index: 0, errno, extack: None })).to_string()
    }

    #[test]
    fn only_what_was_disturbed_may_be_had_another_time() {
        let error = |source: SocketError| NatError::new(Step::Begin, source.into());
        assert!(error(SocketError::Restless { attempts: 8 }).is_restless());
        assert!(!error(SocketError::Unanswered).is_restless());
    }

    #[test]
    fn an_error_names_what_the_kernel_lacks() {
        let check = |step, errno, text: &str| assert_eq!(error(step, errno), text);
        check(
            Step::Begin,
            Errno::OPNOTSUPP,
            "this kernel cannot use nf_tables: it lacks CONFIG_NF_TABLES (module nf_tables)",
        );
        check(
            Step::AddChain("nat"),
            Errno::NOENT,
            "this kernel cannot add a nat chain: it lacks CONFIG_NFT_NAT (module nft_chain_nat) of Linux 5.2 or later",
        );
        check(
            Step::AddMasquerade,
            Errno::NOENT,
            "this kernel cannot masquerade: it lacks CONFIG_NFT_MASQ (module nft_masq)",
        );
        check(
            Step::AddStateMatch,
            Errno::NOENT,
            "this kernel cannot match the state of a connection: it lacks CONFIG_NFT_CT (module nft_ct)",
        );
        check(
            Step::AddTproxy,
            Errno::NOENT,
            "this kernel cannot lead connections to a proxy: it lacks CONFIG_NFT_TPROXY (module nft_tproxy)",
        );
        check(
            Step::AddCounter,
            Errno::NOENT,
            "this kernel cannot count packets: it lacks CONFIG_NFT_COUNTER (module nft_counter)",
        );
    }

    #[test]
    fn a_plain_refusal_is_not_a_lack() {
        assert_eq!(error(Step::Begin, Errno::PERM), "cannot use nf_tables");
        assert_eq!(error(Step::DeleteTable, Errno::NOENT), "cannot delete an nf_tables table");
    }
}
