//! What was not to be, and why.

use std::fmt;

use crate::census::Volume;
use crate::conversation::{Conversation, Process};
use crate::expectation::Expectation;
use crate::report::Terms;
use crate::table;

/// A conversation that was not to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offence {
    /// Who.
    pub process: Option<Process>,
    /// With whom, as the table has it.
    pub peer: String,
    /// Why it was not to be.
    pub objection: Objection,
}

/// What is said against a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objection {
    /// It was denied, by this.
    Denied(String),
    /// Nobody expected it.
    Unexpected,
    /// Nobody can tell: there were too many to look at each.
    Unjudged,
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some(process) => write!(f, "{} {}", table::safe(&process.name), process.pid)?,
            None => f.write_str("the program")?,
        }
        write!(f, " talked to {}, ", self.peer)?;
        match &self.objection {
            Objection::Denied(rule) => write!(f, "which --deny {rule} forbids"),
            Objection::Unexpected => f.write_str("which no --expect names"),
            Objection::Unjudged => f.write_str("and who they are was not looked at"),
        }
    }
}

/// Everything that there is to object to.
pub(crate) fn offences(conversations: &[Conversation], unlisted: Volume, terms: &Terms) -> Vec<Offence> {
    let judged = conversations.iter().filter_map(|one| judge(one, terms));
    judged.chain(too_many(unlisted, terms)).collect()
}

/// Who asks for a name that is denied has begun to talk to it. Loopback is the program itself, and name servers are the way to whoever is expected.
fn judge(one: &Conversation, terms: &Terms) -> Option<Offence> {
    let mut names = one.names();
    let (address, port) = (one.peer.address, if one.is_outgoing { one.peer.port } else { 0 });
    let is_denied_name =
        |rule: &&Expectation| one.questions.iter().any(|question| rule.matches(NOWHERE, 0, &[question]));
    names.sort_unstable();
    let denied_by =
        terms.denied.iter().find(|rule| rule.matches(address, port, &names) || is_denied_name(rule));
    let is_unexpected = !terms.expected.is_empty()
        && !one.is_loopback
        && one.question.is_none()
        && !terms.expected.iter().any(|rule| rule.matches(address, port, &names));
    let objection = match denied_by {
        Some(rule) => Objection::Denied(rule.to_string()),
        None if is_unexpected => Objection::Unexpected,
        None => return None,
    };
    Some(Offence { process: one.process.clone(), peer: table::peer(one), objection })
}

/// Whoever hides in a crowd is not let through.
fn too_many(overflow: Volume, terms: &Terms) -> Option<Offence> {
    let is_judged = !terms.expected.is_empty() || !terms.denied.is_empty();
    let peer = format!("others in {} packets of further flows", overflow.packets);
    (is_judged && overflow.packets > 0).then_some(Offence {
        process: None,
        peer,
        objection: Objection::Unjudged,
    })
}

/// No network but that of everything contains it, and of that nobody asks names.
const NOWHERE: std::net::IpAddr = std::net::IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED);
