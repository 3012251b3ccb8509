//! What is written beside packets, as far as it is known by now.

use std::collections::BTreeMap;
use std::mem;
use std::net::IpAddr;

use nsntrace_owners::Owner;
use nsntrace_pcapwriter::ProcessRef;
use nsntrace_report::FlowNumber;

use crate::AnyWriter;

/// What a trace has found out, for every file of it.
#[derive(Debug, Default)]
pub struct Beside {
    /// The latest of each address: what a reader goes by, too.
    names: BTreeMap<IpAddr, String>,
    processes: Vec<Process>,
    /// Their places there, in the order of the witness's numbers.
    places: Vec<(u32, usize)>,
    /// By their numbers.
    flows: Vec<OfFlow>,
    /// There may be more than one file.
    is_series: bool,
    /// Which of them is open.
    file: u32,
}

/// What was found out.
#[derive(Debug, Default)]
pub struct Found {
    /// Names of addresses.
    pub names: Vec<(IpAddr, String)>,
    /// What to say at the next packet of a flow, and at its first one in each file to come.
    pub comments: Vec<(FlowNumber, String)>,
    /// What to add to that.
    pub greetings: Vec<(FlowNumber, String)>,
    /// Whose flows are.
    pub owners: Vec<(FlowNumber, Owner)>,
}

/// A process, and where it stands in the open file.
#[derive(Debug)]
struct Process {
    pid: u32,
    name: String,
    block: Option<u32>,
}

/// What is known of a flow.
#[derive(Clone, Debug, Default)]
struct OfFlow {
    sender: Option<Sender>,
    comment: Comment,
}

/// What is said of a flow.
#[derive(Clone, Debug, Default)]
struct Comment {
    text: String,
    /// How much of it a file has, and which file.
    said: usize,
    file: u32,
}

/// Whose a packet is: a place among the processes, and a thread.
#[derive(Clone, Copy, Debug)]
struct Sender {
    process: usize,
    tid: u32,
}

/// What to say of some of a block's frames: which ones, in their order, and what.
#[derive(Debug, PartialEq, Eq)]
pub struct Comments(pub(crate) Vec<(usize, String)>);

impl Beside {
    /// Knows nothing yet, and will keep what a series of files wants to be told more than once.
    pub fn new(is_series: bool) -> Self {
        Self { is_series, ..Self::default() }
    }

    /// Takes what was found out, and writes what has to stand in front of the packets that it is about.
    pub fn learn(&mut self, found: Found, writer: Option<&mut AnyWriter>) {
        if let Some(writer) = writer {
            write_names(writer, found.names.iter().map(|(address, name)| (address, name)));
        }
        self.names.extend(found.names);
        for (flow, text) in found.comments {
            self.flow(flow).comment = Comment { text, ..Comment::default() };
        }
        for (flow, text) in found.greetings {
            self.flow(flow).comment.add(&text);
        }
        found.owners.iter().for_each(|(flow, owner)| self.learn_owner(*flow, owner));
    }

    /// Repeats in a new file what the others have.
    pub fn repeat(&mut self, writer: &mut AnyWriter) {
        write_names(writer, self.names.iter());
        self.processes.iter_mut().for_each(|process| process.block = None);
        self.file += 1;
    }

    /// Writes who sends frames of these flows, as far as the open file does not say it, and gives what to say of some of them.
    #[inline(never)]
    pub fn introduce(
        &mut self,
        flows: &[Option<FlowNumber>],
        mut writer: Option<&mut AnyWriter>,
    ) -> Comments {
        let mut comments = Vec::new();
        let mut last = None;
        for (at, flow) in flows.iter().enumerate() {
            // Nothing is said twice: this saves time alone.
            if *flow == last {
                continue;
            }
            last = *flow;
            let Some(of_flow) = flow.and_then(|flow| self.flows.get_mut(place(flow))) else { continue };
            if let (Some(Sender { process, .. }), Some(writer)) = (of_flow.sender, &mut writer) {
                self.processes[process].introduce(writer);
            }
            let comment = &mut of_flow.comment;
            let text = if self.is_series { comment.of_file(self.file) } else { comment.take() };
            comments.extend(text.map(|text| (at, text)));
        }
        Comments(comments)
    }

    /// How a packet says whose it is.
    #[inline]
    pub fn sender(&self, flow: FlowNumber) -> Option<ProcessRef> {
        let Sender { process, tid } = self.flows.get(place(flow))?.sender?;
        let process = self.processes.get(process)?;
        Some(ProcessRef { pid: process.pid, tid, block: process.block? })
    }

    fn learn_owner(&mut self, flow: FlowNumber, owner: &Owner) {
        let found = self.places.binary_search_by_key(&owner.number, |(number, _)| *number);
        let process = match found {
            Ok(at) => self.places[at].1,
            Err(at) => {
                let (pid, name) = (owner.process.pid, owner.process.name.clone());
                // Mostly the last one.
                self.places.insert(at, (owner.number, self.processes.len()));
                self.processes.push(Process { pid, name, block: None });
                self.processes.len() - 1
            }
        };
        self.flow(flow).sender = Some(Sender { process, tid: owner.tid });
    }

    fn flow(&mut self, number: FlowNumber) -> &mut OfFlow {
        let place = place(number);
        self.flows.resize(self.flows.len().max(place + 1), OfFlow::default());
        &mut self.flows[place]
    }
}

impl Process {
    fn introduce(&mut self, writer: &mut AnyWriter) {
        if self.block.is_none() {
            self.block = Some(writer.process(self.pid, &self.name));
        }
    }
}

impl Comment {
    fn add(&mut self, text: &str) {
        if !self.text.is_empty() {
            self.text.push_str(SEPARATOR);
        }
        self.text.push_str(text);
    }

    /// What of it this file does not have.
    #[inline]
    fn of_file(&mut self, file: u32) -> Option<String> {
        let said = if self.file == file { self.said } else { 0 };
        (self.said, self.file) = (self.text.len(), file);
        let rest = self.text.get(said..)?;
        (!rest.is_empty()).then(|| rest.strip_prefix(SEPARATOR).unwrap_or(rest).to_owned())
    }

    /// All of it, once.
    #[inline]
    fn take(&mut self) -> Option<String> {
        (!self.text.is_empty()).then(|| mem::take(&mut self.text))
    }
}

fn place(flow: FlowNumber) -> usize {
    flow.0 as usize
}

fn write_names<'a>(writer: &mut AnyWriter, names: impl Iterator<Item = (&'a IpAddr, &'a String)>) {
    let names: Vec<_> = names.map(|(address, name)| (*address, name.as_str())).collect();
    writer.names(&names);
}

const SEPARATOR: &str = ", ";

#[cfg(test)]
mod tests {
    use super::*;

    const FLOW: FlowNumber = FlowNumber(3);

    fn found(comment: Option<&str>, greeting: Option<&str>) -> Found {
        let of_flow = |text: Option<&str>| text.map(|text| (FLOW, text.to_owned())).into_iter().collect();
        Found { comments: of_flow(comment), greetings: of_flow(greeting), ..Found::default() }
    }

    /// What is said of frames of the flow beside those of another.
    fn said(beside: &mut Beside) -> Comments {
        beside.introduce(&[None, Some(FLOW), Some(FLOW), Some(FlowNumber(4)), Some(FLOW)], None)
    }

    #[track_caller]
    fn says(beside: &mut Beside, text: &str) {
        assert_eq!(said(beside), Comments(vec![(1, text.to_owned())]));
        assert_eq!(said(beside), Comments(Vec::new()));
    }

    #[test]
    fn a_comment_is_said_once_and_a_greeting_behind_it() {
        for is_series in [false, true] {
            let mut beside = Beside::new(is_series);
            beside.learn(found(None, None), None);
            assert_eq!(said(&mut beside), Comments(Vec::new()));
            beside.learn(found(Some("-> a"), None), None);
            beside.learn(found(None, Some("TLS")), None);
            says(&mut beside, "-> a, TLS");
            beside.learn(found(None, Some("more")), None);
            says(&mut beside, "more");
            beside.learn(found(Some("curl[1] -> a"), None), None);
            says(&mut beside, "curl[1] -> a");
        }
    }

    #[test]
    fn each_file_of_a_series_has_all_that_was_said() {
        let mut beside = Beside::new(true);
        beside.learn(found(Some("-> a"), None), None);
        says(&mut beside, "-> a");
        beside.learn(found(None, Some("TLS")), None);
        beside.file += 1;
        says(&mut beside, "-> a, TLS");
        beside.file += 2;
        says(&mut beside, "-> a, TLS");
    }
}
