//! What is written beside packets, as far as it is known by now.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use nsntrace_owners::Owner;
use nsntrace_pcapwriter::{Output, ProcessRef, Writer};
use nsntrace_report::FlowNumber;

use super::Answer;

/// What a trace has found out, for every file of it.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// The latest of each address: what a reader goes by, too.
    names: BTreeMap<IpAddr, String>,
    /// To be said at the next packet of a flow.
    comments: HashMap<FlowNumber, String>,
    processes: Vec<Process>,
    /// Their places there, by the witness's numbers.
    places: HashMap<u32, usize>,
    /// Whose flows are, by their numbers.
    owners: Vec<Option<Sender>>,
}

/// A process, and where it stands in the open file.
#[derive(Debug)]
struct Process {
    pid: u32,
    name: String,
    block: Option<u32>,
}

/// Whose a packet is: a place among the processes, and a thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender {
    process: usize,
    tid: u32,
}

/// What is written beside one packet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Note {
    pub(crate) process: Option<Sender>,
    pub(crate) comment: Option<String>,
}

impl Beside {
    /// Takes an answer, and writes what has to stand in front of the packets that it is about.
    pub(crate) fn learn<O: Output>(&mut self, answer: Answer, writer: Option<&mut Writer<O>>) {
        if let Some(writer) = writer {
            write_names(writer, answer.names.iter().map(|(address, name)| (address, name)));
        }
        self.names.extend(answer.names);
        self.comments.extend(answer.comments);
        answer.owners.iter().for_each(|(flow, owner)| self.learn_owner(*flow, owner));
    }

    /// Repeats in a new file what the others have.
    pub(crate) fn repeat<O: Output>(&mut self, writer: &mut Writer<O>) {
        write_names(writer, self.names.iter());
        self.processes.iter_mut().for_each(|process| process.block = None);
    }

    /// Writes who sends the packets that have these notes, as far as the open file does not say it.
    pub(crate) fn introduce<O: Output>(&mut self, notes: &[Note], writer: &mut Writer<O>) {
        for sender in notes.iter().filter_map(|note| note.process) {
            let process = &mut self.processes[sender.process];
            if process.block.is_none() {
                process.block = Some(writer.process(process.pid, &process.name));
            }
        }
    }

    /// How a packet says whose it is.
    pub(crate) fn reference(&self, sender: Sender) -> Option<ProcessRef> {
        let process = self.processes.get(sender.process)?;
        Some(ProcessRef { pid: process.pid, tid: sender.tid, block: process.block? })
    }

    fn learn_owner(&mut self, flow: FlowNumber, owner: &Owner) {
        let processes = &mut self.processes;
        let process = *self.places.entry(owner.number).or_insert_with(|| {
            let (pid, name) = (owner.process.pid, owner.process.name.clone());
            processes.push(Process { pid, name, block: None });
            processes.len() - 1
        });
        let flow = flow.0 as usize;
        self.owners.resize(self.owners.len().max(flow + 1), None);
        self.owners[flow] = Some(Sender { process, tid: owner.tid });
    }

    /// What to write beside each packet of some flows.
    pub(crate) fn notes(&mut self, flows: &[Option<FlowNumber>]) -> Vec<Note> {
        flows.iter().map(|flow| self.note(*flow)).collect()
    }

    fn note(&mut self, flow: Option<FlowNumber>) -> Note {
        let comment = flow.and_then(|flow| self.comments.remove(&flow));
        let process = flow.and_then(|flow| *self.owners.get(flow.0 as usize)?);
        Note { process, comment }
    }
}

fn write_names<'a, O: Output>(writer: &mut Writer<O>, names: impl Iterator<Item = (&'a IpAddr, &'a String)>) {
    let names: Vec<_> = names.map(|(address, name)| (*address, name.as_str())).collect();
    writer.names(&names);
}
