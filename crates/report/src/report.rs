//! The report: conversations, and whether they were to be.

use std::fmt::Write as _;

use crate::analysis::Analysis;
use crate::census::{Census, FlowNumber, Volume};
use crate::conversation::{Conversation, Known, Process, conversations};
use crate::expectation::Expectation;
use crate::json::Json;
use crate::offence::{Objection, Offence, offences};
use crate::table;

/// What a report is measured against.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// When the program began, in nanoseconds since the epoch.
    pub started_ns: u64,
    /// Whom it may talk to; with none, anybody.
    pub expected: Vec<Expectation>,
    /// Whom it may not.
    pub denied: Vec<Expectation>,
    /// Some packets were counted and not read.
    pub is_sampled: bool,
    /// Sockets went of which nobody heard: owners may be missing, or be those before.
    pub is_unheard: bool,
}

/// Who was talked to.
#[derive(Clone, Debug)]
pub struct Report {
    conversations: Vec<Conversation>,
    offences: Vec<Offence>,
    overflow: Volume,
    started_ns: u64,
    is_sampled: bool,
    is_unheard: bool,
}

impl Report {
    /// Puts together what was counted, what was read, and what else is known of each flow.
    pub fn new(
        census: &Census,
        analysis: &Analysis,
        terms: &Terms,
        known: impl Fn(FlowNumber) -> Option<Known>,
    ) -> Self {
        let mut conversations = conversations(census.flows(), analysis, known);
        // Stable: among equals, the order of processes and peers stays.
        conversations.sort_by_key(|one| std::cmp::Reverse(one.sent.bytes + one.received.bytes));
        let offences = offences(&conversations, census.overflow(), terms);
        Self {
            conversations,
            offences,
            overflow: census.overflow(),
            started_ns: terms.started_ns,
            is_sampled: terms.is_sampled,
            is_unheard: terms.is_unheard,
        }
    }

    /// Most bytes first.
    pub fn conversations(&self) -> &[Conversation] {
        &self.conversations
    }

    /// Those that were not to be.
    pub fn offences(&self) -> &[Offence] {
        &self.offences
    }

    /// When the program began, in nanoseconds since the epoch.
    pub(crate) fn started_ns(&self) -> u64 {
        self.started_ns
    }

    /// Lines for people, the first of them a heading.
    pub fn table(&self) -> String {
        let mut text = table::table(self);
        if self.overflow.packets > 0 {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {} packets of further flows are not listed", self.overflow.packets);
        }
        if self.is_sampled {
            text.push_str("  packets came too fast to read them all: names may be missing\n");
        }
        if self.is_unheard && !self.conversations.is_empty() {
            text.push_str("  sockets went too fast to hear of them all: processes may be missing, or those of a port's last user\n");
        }
        text
    }

    /// Everything, schema 1 of docs/report.md, `head` in front.
    pub fn json(&self, head: Vec<(&'static str, Json)>) -> Json {
        let conversations = self.conversations.iter().map(|one| self.conversation_json(one)).collect();
        let offences = self.offences.iter().map(offence_json).collect();
        let mut members = vec![("schema", Json::text("nsntrace-report")), ("version", Json::Count(1))];
        members.extend(head);
        members.extend([
            ("sampled", self.is_sampled.into()),
            ("unheard", self.is_unheard.into()),
            ("unlisted_packets", self.overflow.packets.into()),
            ("conversations", Json::Array(conversations)),
            ("offences", Json::Array(offences)),
        ]);
        Json::Object(members)
    }

    fn conversation_json(&self, one: &Conversation) -> Json {
        let peer = vec![
            ("address", Json::text(one.peer.address.to_string())),
            (
                "port",
                Json::or_null(Some(u64::from(one.peer.port)).filter(|port| *port > 0 && one.is_outgoing)),
            ),
            ("name", Json::or_null(one.name.as_deref())),
        ];
        let failures = one.failures.iter();
        let failures = failures.map(|(failure, flows)| (failure.word(), Json::Count(*flows))).collect();
        let mut members = vec![
            ("process", Json::or_null(one.process.as_ref().map(|process| owner_json(process, one)))),
            ("peer", Json::Object(peer)),
            ("protocol", Json::text(&one.protocol)),
            ("outgoing", one.is_outgoing.into()),
            ("local_port", Json::or_null(Some(u64::from(one.peer.port)).filter(|_| !one.is_outgoing))),
            ("loopback", one.is_loopback.into()),
            ("flows", one.flows.into()),
            ("sent", volume_json(one.sent)),
            ("received", volume_json(one.received)),
            ("first_seconds", self.seconds(one.first_ns)),
            ("last_seconds", self.seconds(one.last_ns)),
            ("failures", Json::Object(failures)),
            ("retransmissions", one.retransmissions.into()),
        ];
        members.extend(one.question.as_ref().map(|name| ("dns", dns_json(name, one))));
        members.extend((one.protocol == "TLS").then(|| ("tls", tls_json(one))));
        Json::Object(members)
    }

    /// Since the program began; milliseconds are as exact as anybody needs.
    fn seconds(&self, ns: u64) -> Json {
        Json::Seconds { milliseconds: ns.saturating_sub(self.started_ns) / 1_000_000 }
    }
}

/// A process, and what is known of the flows of a conversation.
fn owner_json(process: &Process, one: &Conversation) -> Json {
    let Process { pid, name, path, command_line, parent, uid, user, started_ns } = process;
    let words = |line: &Vec<String>| Json::Array(line.iter().map(Json::text).collect());
    let certainties = one.certainties.iter().map(|(word, flows)| (*word, Json::Count(*flows))).collect();
    let threads = one.threads.iter().map(|tid| u64::from(*tid).into()).collect();
    let started = Json::Seconds { milliseconds: started_ns / 1_000_000 };
    let mut members = vec![
        ("pid", u64::from(*pid).into()),
        ("name", Json::text(name)),
        ("path", Json::or_null(path.as_deref())),
        ("parent", u64::from(*parent).into()),
        ("uid", u64::from(*uid).into()),
        ("user", Json::or_null(user.as_deref())),
        ("started", started),
        ("threads", Json::Array(threads)),
        ("certainty", Json::Object(certainties)),
    ];
    members.extend(command_line.as_ref().map(|line| ("command_line", words(line))));
    Json::Object(members)
}

fn process_json(process: &Process) -> Json {
    Json::Object(vec![("pid", u64::from(process.pid).into()), ("name", Json::text(&process.name))])
}

fn volume_json(volume: Volume) -> Json {
    Json::Object(vec![("packets", volume.packets.into()), ("bytes", volume.bytes.into())])
}

fn dns_json(name: &str, one: &Conversation) -> Json {
    let names = one.questions.iter().map(Json::text).collect();
    let types = one.qtypes.iter().map(Json::text).collect();
    Json::Object(vec![
        ("name", Json::text(name)),
        ("names", Json::Array(names)),
        ("types", Json::Array(types)),
    ])
}

fn tls_json(one: &Conversation) -> Json {
    let protocols = one.protocols.iter().map(Json::text).collect();
    let keys = one.keys.iter();
    let keys: Vec<_> = keys.map(|(keys, flows)| (keys.name(), Json::Count(*flows))).collect();
    Json::Object(vec![
        ("server_name", Json::or_null(one.server_name.as_deref())),
        ("version", Json::or_null(one.version.map(|version| version.to_string()))),
        ("offered_protocols", Json::Array(protocols)),
        ("keys", Json::Object(keys)),
    ])
}

fn offence_json(offence: &Offence) -> Json {
    let denied_by = match &offence.objection {
        Objection::Denied(rule) => Some(rule.as_str()),
        Objection::Unexpected | Objection::Unjudged => None,
    };
    Json::Object(vec![
        ("process", Json::or_null(offence.process.as_ref().map(process_json))),
        ("peer", Json::text(&offence.peer)),
        ("denied_by", Json::or_null(denied_by)),
    ])
}
