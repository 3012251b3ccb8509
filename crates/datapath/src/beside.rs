//! What is written beside packets, as far as it is known by now.

use std::collections::{BTreeMap, HashMap};
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
    /// To be said at the next packet of a flow.
    comments: HashMap<FlowNumber, String>,
    processes: Vec<Process>,
    /// Their places there, by the witness's numbers.
    places: HashMap<u32, usize>,
    /// Whose flows are, by their numbers.
    owners: Vec<Option<Sender>>,
}

/// What was found out.
#[derive(Debug, Default)]
pub struct Found {
    /// Names of addresses.
    pub names: Vec<(IpAddr, String)>,
    /// What to say at the next packet of a flow.
    pub comments: Vec<(FlowNumber, String)>,
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

/// Whose a packet is: a place among the processes, and a thread.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    process: usize,
    tid: u32,
}

/// What is written beside one packet.
#[derive(Clone, Debug, Default)]
pub struct Note {
    /// Whose it is.
    pub process: Option<Sender>,
    /// What to say of it.
    pub comment: Option<String>,
}

impl Beside {
    /// Takes what was found out, and writes what has to stand in front of the packets that it is about.
    pub fn learn(&mut self, found: Found, writer: Option<&mut AnyWriter>) {
        if let Some(writer) = writer {
            write_names(writer, found.names.iter().map(|(address, name)| (address, name)));
        }
        self.names.extend(found.names);
        self.comments.extend(found.comments);
        found.owners.iter().for_each(|(flow, owner)| self.learn_owner(*flow, owner));
    }

    /// Repeats in a new file what the others have.
    pub fn repeat(&mut self, writer: &mut AnyWriter) {
        write_names(writer, self.names.iter());
        self.processes.iter_mut().for_each(|process| process.block = None);
    }

    /// Writes who sends the packets that have these notes, as far as the open file does not say it.
    #[inline(never)]
    pub fn introduce(&mut self, notes: &[Note], writer: &mut AnyWriter) {
        for sender in notes.iter().filter_map(|note| note.process) {
            let process = &mut self.processes[sender.process];
            if process.block.is_none() {
                process.block = Some(writer.process(process.pid, &process.name));
            }
        }
    }

    /// How a packet says whose it is.
    #[inline]
    pub fn reference(&self, sender: Sender) -> Option<ProcessRef> {
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
    #[inline(never)]
    pub fn notes(&mut self, flows: &[Option<FlowNumber>]) -> Vec<Note> {
        flows.iter().map(|flow| self.note(*flow)).collect()
    }

    fn note(&mut self, flow: Option<FlowNumber>) -> Note {
        let comment = flow.and_then(|flow| self.comments.remove(&flow));
        let process = flow.and_then(|flow| *self.owners.get(flow.0 as usize)?);
        Note { process, comment }
    }
}

fn write_names<'a>(writer: &mut AnyWriter, names: impl Iterator<Item = (&'a IpAddr, &'a String)>) {
    let names: Vec<_> = names.map(|(address, name)| (*address, name.as_str())).collect();
    writer.names(&names);
}
