//! The thread that reads, looks up, and reports at the end.

use std::collections::HashSet;
use std::fs;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::thread::{self, JoinHandle};

use nsntrace_datapath::Copier;
use nsntrace_report::{Analysis, Endpoint, Flow, FlowNumber, Json, Known, Protocol, Report, Terms};

use super::inbox::{Inbox, Random};
use super::keys::Handshakes;
use super::ownership::Ownership;
use super::printer::{Page, Printer};
use super::readable::Readable;
use super::{Answer, Owners, Question, Survey, Told};
use crate::failure::Failure;
use crate::help::VERSION_NUMBER;
use crate::messages::printable;
use crate::plan::Plan;
use crate::protocol::Outcome;
use crate::queue::{Receiver, Sender, queue};
use crate::text_file::TextFile;
use crate::transport::Transport;

/// The running thread, as the ring's thread has it.
pub(crate) struct Explainer {
    pub(crate) survey: Survey,
    thread: JoinHandle<Explanation>,
    terms: Terms,
    report: Option<TextFile>,
    head: Vec<(&'static str, Json)>,
    inbox: Option<Inbox>,
}

/// How a trace ended.
pub(crate) struct Ending<'a> {
    pub(crate) outcome: &'a Outcome,
    /// Connections whose keys stand behind their packets.
    pub(crate) late: &'a HashSet<Random>,
}

/// What the thread has found out.
#[derive(Default)]
struct Explanation {
    analysis: Analysis,
    /// Addresses whose name in /etc/hosts was given.
    hosts: HashSet<IpAddr>,
    /// Where keys are written down.
    handshakes: Option<Handshakes>,
    ownership: Ownership,
}

impl Explainer {
    /// Starts the thread, if there is anything to explain: a report that somebody reads, or a file that has room for it.
    pub(crate) fn start(
        plan: &Plan,
        transport: Transport,
        started_ns: u64,
        inbox: Option<&Inbox>,
        owners: Option<Owners>,
        printer: Option<Printer>,
    ) -> Result<Option<Self>, Failure> {
        let writes_down = plan.outfile.explains();
        if !writes_down && !plan.wants_report() && printer.is_none() {
            return Ok(None);
        }
        let (questions, asked) = queue(QUESTIONS);
        let (answers, answered) = queue(usize::MAX);
        let handshakes = inbox.cloned().map(Handshakes::new);
        let copier = printer.as_ref().map(|printer| Copier::new(printer.room.clone()));
        let whose = owners.clone();
        let run = move || explain(&asked, &answers, Explanation::begin(handshakes, owners), printer.as_ref());
        let thread = thread::Builder::new().name("nsntrace-explain".into()).spawn(run);
        let thread = thread.map_err(|error| Failure::of("cannot start a thread", &error))?;
        let terms = Terms {
            started_ns,
            expected: plan.options.expected.clone(),
            denied: plan.options.denied.clone(),
            is_sampled: false,
            is_unheard: false,
        };
        let mut survey = Survey::new(questions, answered, writes_down, copier, whose);
        if inbox.is_some() && !plan.outfile.has_room() {
            survey.be_patient();
        }
        let head = vec![
            ("nsntrace", Json::text(VERSION_NUMBER)),
            ("program", Json::text(plan.options.program.to_string_lossy())),
            ("transport", Json::text(transport.name())),
        ];
        Ok(Some(Self { survey, thread, terms, report: plan.report.take(), head, inbox: inbox.cloned() }))
    }

    /// Ends the thread and reports.
    pub(crate) fn end(self, ending: &Ending<'_>) -> Told {
        let Self { survey, thread, mut terms, report: file, mut head, inbox } = self;
        let (census, is_sampled) = survey.finish();
        let Explanation { analysis, ownership, .. } = thread.join().unwrap_or_default();
        (terms.is_sampled, terms.is_unheard) = (is_sampled, ownership.is_unheard());
        let readable = inbox.as_ref();
        let readable =
            readable.map(|inbox| Readable::new(&census, &analysis, &ownership, inbox, ending.late));
        let report = Report::new(&census, &analysis, &terms, |flow| {
            let keys = readable.as_ref().map(|readable| readable.keys(flow));
            Some(Known { keys, ..ownership.known(flow) })
        });
        let mut told = Told::of(&report);
        if let Some(inbox) = &inbox {
            let ignored = inbox.ignored();
            head.push(("ignored_key_lines", ignored.into()));
            told.lines.extend(
                (ignored > 0)
                    .then(|| format!("  {ignored} lines in the key log are no keys, and were left out")),
            );
        }
        if let Some(file) = file {
            let Outcome { written, dropped, unwritten, .. } = ending.outcome;
            let counts = [("recorded", written), ("dropped", dropped), ("not_recorded", unwritten)];
            let counts = counts.map(|(name, count)| (name, Json::Count(*count))).into();
            head.push(("packets", Json::Object(counts)));
            told.error = file
                .write(&format!("{}\n", report.json(head)))
                .err()
                .map(|error| format!("cannot write the report: {error}"));
        }
        told
    }
}

/// The thread's life.
fn explain(
    questions: &Receiver<Question>,
    answers: &Sender<Answer>,
    mut explanation: Explanation,
    printer: Option<&Printer>,
) -> Explanation {
    while let Some(mut question) = questions.recv() {
        let copies = mem::take(&mut question.copies);
        let answer = question.wants_answer().then(|| explanation.answer(&question));
        if let Some(printer) = printer {
            let owners = answer.as_ref().map(|answer| answer.found.owners.clone()).unwrap_or_default();
            printer.print(Page { copies, owners });
        }
        let Some(answer) = answer else { continue };
        if let (Some(handshakes), Some(deadline)) = (&mut explanation.handshakes, question.deadline) {
            handshakes.await_keys(&question.news.heads, deadline);
        }
        // Nobody listens any more at the end.
        answers.send(answer);
    }
    explanation.ownership.ask_again(usize::MAX);
    explanation
}

impl Explanation {
    fn begin(handshakes: Option<Handshakes>, owners: Option<Owners>) -> Self {
        let mut explanation = Self { handshakes, ownership: Ownership::of(owners), ..Self::default() };
        explanation.analysis.read_hosts(&fs::read_to_string(HOSTS).unwrap_or_default());
        explanation
    }

    fn answer(&mut self, question: &Question) -> Answer {
        let late = self.ownership.ask_again(ASKED_AGAIN);
        let mut answer = Answer::default();
        answer.found.owners = self.ownership.ask(&question.news.flows);
        answer.found.comments.extend(
            late.iter().filter_map(|(number, flow, _)| Some((*number, self.comment(*number, flow)?))),
        );
        answer.found.owners.extend(late.into_iter().map(|(number, _, owner)| (number, owner)));
        let mut greeted = Vec::new();
        for head in &question.news.heads {
            let found = self.analysis.take(head);
            answer.found.names.extend(found.names);
            if let (Some(handshakes), Some(handshake)) = (&mut self.handshakes, &found.handshake) {
                answer.handshakes.extend(handshakes.see(handshake));
            }
            greeted.extend(
                found.handshake.filter(|handshake| !handshake.is_answered).map(|handshake| handshake.flow),
            );
        }
        for (number, flow) in &question.news.flows {
            answer.found.names.extend(self.host(flow));
            answer.found.comments.extend(self.comment(*number, flow).map(|comment| (*number, comment)));
        }
        // A hello that comes later than the flow's first packet has something to add.
        let is_late = |flow: &FlowNumber| question.news.flows.iter().all(|(number, _)| number != flow);
        for flow in greeted.into_iter().filter(is_late) {
            answer.found.greetings.extend(self.greeting(flow).map(|text| (flow, text)));
        }
        answer
    }

    /// The name of a peer that the program looked up without a question, once.
    fn host(&mut self, flow: &Flow) -> Option<(IpAddr, String)> {
        let (address, names) = (flow.remote.address, self.analysis.names());
        let host = names.host(address).filter(|host| names.of(address, flow.first_ns, None) == Some(host))?;
        let news = (address, host.to_owned());
        self.hosts.insert(address).then_some(news)
    }

    /// One line for the first packet of a flow: who talks to whom. Nothing where that says no more than the packet.
    fn comment(&self, number: FlowNumber, flow: &Flow) -> Option<String> {
        if !matches!(flow.protocol, Protocol::Tcp | Protocol::Udp | Protocol::Icmp) {
            return None;
        }
        let greeted = self.analysis.client_hello(number).and_then(|hello| hello.server_name.as_deref());
        let name = self.analysis.names().of(flow.remote.address, flow.first_ns, greeted);
        let who = self.ownership.introduction(number);
        if who.is_empty() && name.is_none() {
            return None;
        }
        let (peer, command) = (peer(flow, name), self.ownership.command(number));
        let arrow = if flow.is_outgoing { "->" } else { "<-" };
        let greeting = self.greeting(number).map_or_else(String::new, |text| format!(", {text}"));
        // A program is called what it likes, and readers write comments to terminals as they are.
        Some(printable(&format!("{who}{arrow} {peer}{greeting}{command}")))
    }

    /// What a client hello says: `TLS for example.com, offers h2, http/1.1`.
    fn greeting(&self, flow: FlowNumber) -> Option<String> {
        let hello = self.analysis.client_hello(flow)?;
        let name = hello.server_name.as_ref().map_or_else(String::new, |name| format!(" for {name}"));
        let offers = if hello.protocols.is_empty() {
            String::new()
        } else {
            format!(", offers {}", hello.protocols.join(", "))
        };
        Some(format!("TLS{name}{offers}"))
    }
}

/// `example.com:443`.
fn peer(flow: &Flow, name: Option<&str>) -> String {
    let Endpoint { address, port } = flow.remote;
    match (name, port) {
        (Some(name), 0) => name.to_owned(),
        (Some(name), port) => format!("{name}:{port}"),
        (None, 0) => address.to_string(),
        (None, port) => SocketAddr::new(address, port).to_string(),
    }
}

/// Flows that nobody knows, with each question: some 10 us each.
const ASKED_AGAIN: usize = 64;
const HOSTS: &str = "/etc/hosts";
/// How far the thread may be behind: a question is what was seen of a block.
const QUESTIONS: usize = 64;
