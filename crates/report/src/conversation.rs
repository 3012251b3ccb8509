//! What a process said to a peer, all flows of it together.

use std::net::IpAddr;
use std::rc::Rc;

use nsntrace_dissect::IcmpError;
use nsntrace_dissect::dns::NXDOMAIN;
use nsntrace_dissect::tls::Version;

use crate::analysis::{Analysis, Facts};
use crate::census::{Endpoint, Flow, FlowNumber, Protocol, TcpEnd, Volume};
use crate::names::Names;

/// A process, as it was when its socket was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// What the kernel calls it.
    pub name: String,
    /// The file that it executes.
    pub path: Option<String>,
    /// Its arguments, if they were asked for.
    pub command_line: Option<Vec<String>>,
    /// Its parent's number.
    pub parent: u32,
    /// Its user.
    pub uid: u32,
    /// The user's name.
    pub user: Option<String>,
    /// When it began, in nanoseconds since the epoch.
    pub started_ns: u64,
}

/// How it is known whose a flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribution {
    /// In a word.
    pub certainty: &'static str,
    /// The thread that made the socket.
    pub tid: Option<u32>,
}

/// What else is known of a flow.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Whose it is.
    pub process: Option<Process>,
    /// How that is known.
    pub attribution: Option<Attribution>,
    /// Of TLS, if keys were asked for: whether there are any.
    pub keys: Option<Keys>,
}

/// Whether there are keys for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keys {
    /// All that it takes to read it.
    Present,
    /// Some.
    Partial,
    /// They stand behind packets that they open: only a reader that is given them beforehand can use them.
    Late,
    /// The process has logged keys, and none of this connection.
    Missing,
    /// The process has logged no keys at all.
    NeverLogged,
    /// What keys are logged under was not recorded.
    HandshakeUnseen,
}

impl Keys {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Partial => "partial",
            Self::Late => "late",
            Self::Missing => "missing",
            Self::NeverLogged => "never logged",
            Self::HandshakeUnseen => "handshake unseen",
        }
    }
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// Nobody listens there.
    Refused,
    /// The connection was cut off.
    Reset,
    /// Nobody answered.
    Timeout,
    /// There is no way there.
    Unreachable,
    /// Somebody on the way does not want it.
    Prohibited,
    /// There is no such name.
    NoSuchName,
    /// The name server could not, or would not, answer.
    LookupFailed,
}

impl Failure {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Prohibited => "prohibited",
            Self::NoSuchName => "NXDOMAIN",
            Self::LookupFailed => "lookup failed",
        }
    }
}

/// All flows of a process with a peer by a protocol.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// Whose.
    pub process: Option<Process>,
    /// How that is known, and of how many flows; in order, as all of these.
    pub certainties: Vec<(&'static str, u64)>,
    /// The threads that made the sockets.
    pub threads: Vec<u32>,
    /// The other end. Of one who began, without a port: that says nothing.
    pub peer: Endpoint,
    /// Its name.
    pub name: Option<String>,
    /// What is spoken: `TLS`, `HTTP`, `DNS`, else what carries it.
    pub protocol: String,
    /// The process began. Else the port is the process's own.
    pub is_outgoing: bool,
    /// Both ends are inside.
    pub is_loopback: bool,
    /// How many flows.
    pub flows: u64,
    /// From the process.
    pub sent: Volume,
    /// To it.
    pub received: Volume,
    /// Its first packet, in nanoseconds since the epoch.
    pub first_ns: u64,
    /// Its last.
    pub last_ns: u64,
    /// What went wrong, and in how many flows.
    pub failures: Vec<(Failure, u64)>,
    /// Segments of TCP that were sent again.
    pub retransmissions: u64,
    /// Of DNS: which records were asked for.
    pub qtypes: Vec<String>,
    /// Of DNS: the name that was asked for.
    pub question: Option<String>,
    /// Of DNS: all names that were asked for.
    pub questions: Vec<String>,
    /// Every name that the peer's address has had.
    pub aliases: Vec<String>,
    /// Of TLS: the name that was asked for, versions, protocols inside.
    pub server_name: Option<String>,
    /// The version that was spoken.
    pub version: Option<Version>,
    /// Protocols that were offered.
    pub protocols: Vec<String>,
    /// Of TLS, if keys were asked for: in how many flows which.
    pub keys: Vec<(Keys, u64)>,
}

/// What tells conversations apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Topic {
    process: Option<Rc<Process>>,
    peer: Endpoint,
    is_outgoing: bool,
    protocol: String,
    question: Option<String>,
    name: Option<String>,
    server_name: Option<String>,
}

impl Topic {
    fn of(flow: &Flow, facts: &Facts, names: &Names, process: Option<Rc<Process>>) -> Self {
        let (address, port) = match (flow.protocol, flow.is_outgoing) {
            (Protocol::Icmp, _) => (flow.remote.address, 0),
            (_, true) => (flow.remote.address, flow.remote.port),
            (_, false) => (flow.remote.address, flow.local.port),
        };
        let hello = facts.client_hello.as_ref();
        let server_name = hello.and_then(|hello| hello.server_name.clone()).or_else(|| http_name(facts));
        let name = names.of(address, flow.first_ns, server_name.as_deref());
        Self {
            process,
            peer: Endpoint { address, port },
            is_outgoing: flow.is_outgoing,
            protocol: label(flow, facts),
            question: question(facts),
            name: name.filter(|_| !address.is_loopback()).map(str::to_owned),
            server_name,
        }
    }
}

/// The conversations of a trace.
pub(crate) fn conversations<'a>(
    flows: impl Iterator<Item = (FlowNumber, &'a Flow)>,
    analysis: &Analysis,
    known: impl Fn(FlowNumber) -> Option<Known>,
) -> Vec<Conversation> {
    let no_facts = Facts::default();
    let mut processes = Vec::new();
    let about = |(number, flow)| {
        let mut known = known(number).unwrap_or_default();
        let process = known.process.take().map(|process| only_one(&mut processes, process));
        let facts = analysis.facts(number).unwrap_or(&no_facts);
        (Topic::of(flow, facts, analysis.names(), process), number, flow, facts, known)
    };
    let mut all: Vec<_> = flows.filter(|(_, flow)| is_somebodys(flow)).map(about).collect();
    all.sort_unstable_by(|one, other| (&one.0, one.1).cmp(&(&other.0, other.1)));
    let of_one = all.chunk_by(|one, other| one.0 == other.0);
    let conversation = |flows: &[(Topic, FlowNumber, &Flow, &Facts, Known)]| {
        let (topic, _, first, ..) = flows.first()?;
        let mut conversation = Conversation::begin(topic, first, analysis);
        for (_, _, flow, facts, known) in flows {
            conversation.add(flow, facts, known);
        }
        Some(conversation)
    };
    of_one.filter_map(conversation).collect()
}

/// The process that all its flows share: there may be many, and its command line may be long.
fn only_one(processes: &mut Vec<Rc<Process>>, process: Process) -> Rc<Process> {
    let at = processes.binary_search_by(|one| (**one).cmp(&process)).unwrap_or_else(|at| {
        processes.insert(at, Rc::new(process));
        at
    });
    Rc::clone(&processes[at])
}

/// Not what the kernel says to routers, neighbours and groups of its own accord.
fn is_somebodys(flow: &Flow) -> bool {
    match flow.protocol {
        Protocol::Icmp => flow.local.port != 0,
        Protocol::Other(_) => !flow.remote.address.is_multicast(),
        Protocol::Tcp | Protocol::Udp => true,
    }
}

fn label(flow: &Flow, facts: &Facts) -> String {
    let carrier = match flow.protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Icmp => "ICMP",
        Protocol::Other(number) => return format!("IP {number}"),
    };
    let spoken = match facts {
        Facts { lookups, .. } if !lookups.is_empty() => "DNS",
        Facts { client_hello: Some(_), .. } | Facts { server_hello: Some(_), .. } => "TLS",
        Facts { is_http: true, .. } => "HTTP",
        _ => carrier,
    };
    spoken.to_owned()
}

/// The name that a request is for, if it is one.
fn http_name(facts: &Facts) -> Option<String> {
    let host = without_port(facts.http_host.as_deref()?);
    let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    (!is_address).then(|| host.to_owned())
}

/// The name that was asked for, and how many others by the same socket.
fn question(facts: &Facts) -> Option<String> {
    let first = &facts.lookups.first()?.name;
    let mut others: Vec<_> =
        facts.lookups.iter().map(|lookup| &lookup.name).filter(|name| *name != first).collect();
    others.sort_unstable();
    others.dedup();
    let shown = if first.is_empty() { "." } else { first };
    Some(if others.is_empty() { shown.to_owned() } else { format!("{shown} and {} more", others.len()) })
}

impl Conversation {
    fn begin(topic: &Topic, flow: &Flow, analysis: &Analysis) -> Self {
        let aliases = analysis.names().all(flow.remote.address);
        Self {
            process: topic.process.as_deref().cloned(),
            certainties: Vec::new(),
            threads: Vec::new(),
            peer: topic.peer,
            name: topic.name.clone(),
            protocol: topic.protocol.clone(),
            is_outgoing: topic.is_outgoing,
            is_loopback: flow.is_loopback,
            flows: 0,
            sent: Volume::default(),
            received: Volume::default(),
            first_ns: flow.first_ns,
            last_ns: flow.last_ns,
            failures: Vec::new(),
            retransmissions: 0,
            qtypes: Vec::new(),
            question: topic.question.clone(),
            questions: Vec::new(),
            aliases: aliases.into_iter().map(str::to_owned).collect(),
            server_name: topic.server_name.clone(),
            version: None,
            protocols: Vec::new(),
            keys: Vec::new(),
        }
    }

    fn add(&mut self, flow: &Flow, facts: &Facts, known: &Known) {
        self.flows += 1;
        if let Some(Attribution { certainty, tid }) = known.attribution {
            count(&mut self.certainties, certainty);
            if let Some(tid) = tid {
                insert(&mut self.threads, tid);
            }
        }
        for (sum, volume) in [(&mut self.sent, flow.sent), (&mut self.received, flow.received)] {
            sum.packets += volume.packets;
            sum.bytes += volume.bytes;
        }
        self.first_ns = self.first_ns.min(flow.first_ns);
        self.last_ns = self.last_ns.max(flow.last_ns);
        self.retransmissions += flow.retransmissions();
        for failure in failures(flow, facts) {
            count(&mut self.failures, failure);
        }
        for lookup in &facts.lookups {
            add_once(&mut self.qtypes, lookup.qtype.to_string());
            insert(&mut self.questions, lookup.name.clone());
        }
        if let Some(hello) = &facts.client_hello {
            for protocol in &hello.protocols {
                add_once(&mut self.protocols, protocol.clone());
            }
            self.version = facts.server_hello.as_ref().map(|hello| hello.version).or(self.version);
        }
        if let Some(keys) = known.keys.filter(|_| self.protocol == "TLS") {
            count(&mut self.keys, keys);
        }
    }

    /// Every name that the peer goes by, in this conversation. TLS and HTTP say which it is of those that share an address.
    pub(crate) fn names(&self) -> Vec<&str> {
        let aliases = self.aliases.iter().map(String::as_str);
        let Some(said) = self.server_name.as_deref() else { return aliases.collect() };
        let is_alias = aliases.clone().any(|name| name.eq_ignore_ascii_case(said));
        if is_alias { vec![said] } else { aliases.chain([said]).collect() }
    }
}

/// Counts one more of a kind, in order of kinds.
fn count<T: Ord>(kinds: &mut Vec<(T, u64)>, kind: T) {
    match kinds.binary_search_by(|(one, _)| one.cmp(&kind)) {
        Ok(at) => kinds[at].1 += 1,
        Err(at) => kinds.insert(at, (kind, 1)),
    }
}

/// Adds what is not there yet, in order.
fn insert<T: Ord>(values: &mut Vec<T>, value: T) {
    if let Err(at) = values.binary_search(&value) {
        values.insert(at, value);
    }
}

fn add_once(list: &mut Vec<String>, word: String) {
    if !list.contains(&word) {
        list.push(word);
    }
}

/// A header `Host` may have a port.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.contains(':') => name,
        _ => host,
    }
}

fn failures(flow: &Flow, facts: &Facts) -> Vec<Failure> {
    let of_tcp = match flow.tcp_end() {
        TcpEnd::Refused => Some(Failure::Refused),
        TcpEnd::Reset => Some(Failure::Reset),
        TcpEnd::Unanswered => Some(Failure::Timeout),
        TcpEnd::Open | TcpEnd::Closed => None,
    };
    // A connection that stands survives what somebody says about one of its packets (RFC 1122, section 4.2.3.9).
    let is_up = flow.protocol == Protocol::Tcp && flow.tcp_end() != TcpEnd::Unanswered;
    let of_icmp = match flow.icmp_error.filter(|_| !is_up) {
        Some(IcmpError::PortUnreachable) => Some(Failure::Refused),
        Some(IcmpError::Unreachable) => Some(Failure::Unreachable),
        Some(IcmpError::Prohibited) => Some(Failure::Prohibited),
        Some(IcmpError::TimeExceeded) if flow.received.packets < 2 => Some(Failure::Unreachable),
        _ => None,
    };
    let is_ping_lost = flow.protocol == Protocol::Icmp && flow.is_outgoing && flow.received.packets == 0;
    let mut failures: Vec<_> =
        of_icmp.or(of_tcp).or(is_ping_lost.then_some(Failure::Timeout)).into_iter().collect();
    failures.extend(facts.lookups.iter().filter_map(|lookup| match lookup.rcode {
        // What was asked again has been answered by another id.
        None => (of_icmp.is_none() && flow.received.packets == 0).then_some(Failure::Timeout),
        Some(0) => None,
        Some(NXDOMAIN) => Some(Failure::NoSuchName),
        Some(_) => Some(Failure::LookupFailed),
    }));
    failures.sort_unstable();
    failures.dedup();
    failures
}

/// As it is typed: an address of IPv6 in brackets where a port follows.
pub(crate) fn address_and_port(address: IpAddr, port: u16) -> String {
    match (address, port) {
        (address, 0) => address.to_string(),
        (IpAddr::V4(v4), port) => format!("{v4}:{port}"),
        (IpAddr::V6(v6), port) => format!("[{v6}]:{port}"),
    }
}
