//! Policy rules: which table a packet's route is looked up in.
//!
//! # Kernel interface
//! `RTM_GETRULE`, `RTM_NEWRULE`, `RTM_DELRULE` with `struct fib_rule_hdr`; `FRA_PROTOCOL` since Linux 4.17.
//!
//! ```text
//! +--------+---------+---------+-----+-------+------+------+--------+-------+
//! | family | dst_len | src_len | tos | table | res1 | res2 | action | flags |
//! |   u8   |   u8    |   u8    | u8  |  u8   |  u8  |  u8  |   u8   |  u32  |
//! +--------+---------+---------+-----+-------+------+------+--------+-------+
//! ```
//!
//! # References
//! ip-rule(8); include/uapi/linux/fib_rules.h; net/core/fib_rules.c.

use neli::consts::{
    nl::NlmF,
    rtnl::{FrAct, Frattr, RtTable, Rtm},
};
use nsntrace_netlink::{AttributeWriter, Batch, Message};

use crate::{IfName, IpFamily, LinkError, Plan, RouteSocket, Step};

/// Our number in `FRA_PROTOCOL` and `rtm_protocol`: whatever bears it, we put there. (ASCII `n`; no entry of
/// `rt_protos` has it.)
pub const PROTOCOL: u8 = b'n';

/// "Packets that came in by this link, look up in this table."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// IPv4 or IPv6.
    pub family: IpFamily,
    /// Lower numbers are asked first; the main table's rule has 32766.
    pub priority: u32,
    /// The table; 0 for rules that do something else.
    pub table: u32,
    /// The link that a packet came in by; `None` for any.
    pub iif: Option<IfName>,
    /// Who put it there; [`PROTOCOL`] is us.
    pub protocol: u8,
}

/// A rule as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRule {
    /// The rule.
    pub rule: Rule,
    /// No link has the name in `iif` now (`FIB_RULE_IIF_DETACHED`).
    pub is_iif_gone: bool,
}

impl RouteSocket {
    /// The rules of both families, as `ip rule` and `ip -6 rule` list them.
    ///
    /// # Errors
    /// [`LinkError::Netlink`].
    pub fn rules(&mut self) -> Result<Vec<ListedRule>, LinkError> {
        let mut rules = Vec::new();
        for family in IpFamily::ALL {
            let mut request = Batch::new();
            let mut header = [0; HEADER];
            header[0] = family.af();
            request.dump(Rtm::Getrule.into(), &header, |_| {});
            match self.list("rules", &request, parse) {
                Ok(listed) => rules.extend(listed.into_iter().filter(|listed| listed.rule.family == family)),
                // The kernel has no policy routing (CONFIG_IP_MULTIPLE_TABLES) or no IPv6, hence no rules.
                Err(error) if error.errno().is_some() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(rules)
    }

    /// Adds a rule, as `ip rule add iif NAME lookup TABLE priority PRIORITY protocol PROTOCOL` does.
    ///
    /// # Errors
    /// [`LinkError::Refused`]: `EPERM` without `CAP_NET_ADMIN`, `EEXIST` where there is the same rule,
    /// `EOPNOTSUPP` where the kernel lacks `CONFIG_IP_MULTIPLE_TABLES`.
    pub fn add_rule(&mut self, rule: &Rule) -> Result<(), LinkError> {
        self.apply(Plan::new().add_rule(rule))
    }

    /// Deletes a rule, as `ip rule delete` does.
    ///
    /// # Errors
    /// [`LinkError::Refused`]: `EPERM` without `CAP_NET_ADMIN`, `ENOENT` where there is no such rule.
    pub fn delete_rule(&mut self, rule: &Rule) -> Result<(), LinkError> {
        self.apply(Plan::new().delete_rule(rule))
    }
}

impl Plan {
    /// `ip rule add`. Refused with `EEXIST`: see [`RouteSocket::add_rule`].
    pub fn add_rule(&mut self, rule: &Rule) -> &mut Self {
        let step = Step::AddRule(rule.family, rule.priority);
        self.push(step, Rtm::Newrule.into(), NlmF::CREATE | NlmF::EXCL, &header(rule), |a| write(a, rule))
    }

    /// `ip rule delete`. Refused with `ENOENT` where there is no such rule.
    pub fn delete_rule(&mut self, rule: &Rule) -> &mut Self {
        let step = Step::DeleteRule(rule.family, rule.priority);
        self.push(step, Rtm::Delrule.into(), NlmF::empty(), &header(rule), |a| write(a, rule))
    }
}

/// `struct fib_rule_hdr`. The table stands in `FRA_TABLE`, for which this field's byte is too small.
fn header(rule: &Rule) -> [u8; HEADER] {
    let (table, action) = (RtTable::Unspec.into(), FrAct::FrActToTbl.into());
    [rule.family.af(), 0, 0, 0, table, 0, 0, action, 0, 0, 0, 0]
}

fn write(a: &mut AttributeWriter<'_>, rule: &Rule) {
    a.u32(Frattr::Priority.into(), rule.priority);
    a.u32(Frattr::Table.into(), rule.table);
    a.u8(Frattr::Protocol.into(), rule.protocol);
    if let Some(iif) = &rule.iif {
        a.str(Frattr::Iifname.into(), iif.as_str());
    }
}

pub(crate) fn parse(message: Message<'_>) -> Option<ListedRule> {
    if message.nlmsg_type() != u16::from(Rtm::Newrule) {
        return None;
    }
    let (header, attributes) = message.split_header::<HEADER>()?;
    let [af, _, _, _, table, _, _, _, flags @ ..] = *header;
    let number = |frattr: Frattr| attributes.get(frattr.into()).and_then(|attribute| attribute.u32());
    let iif = attributes.get(Frattr::Iifname.into()).and_then(|iif| IfName::new(iif.str()?).ok());
    let rule = Rule {
        family: IpFamily::from_af(af)?,
        priority: number(Frattr::Priority).unwrap_or(0),
        table: number(Frattr::Table).unwrap_or(table.into()),
        iif,
        protocol: attributes.get(Frattr::Protocol.into()).and_then(|protocol| protocol.u8()).unwrap_or(0),
    };
    Some(ListedRule { rule, is_iif_gone: u32::from_ne_bytes(flags) & FIB_RULE_IIF_DETACHED != 0 })
}

/// Bytes of `struct fib_rule_hdr`.
const HEADER: usize = 12;
/// linux/fib_rules.h
const FIB_RULE_IIF_DETACHED: u32 = 8;
