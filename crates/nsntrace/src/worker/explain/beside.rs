//! What is written beside packets, as far as it is known by now.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

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
}

/// What is written beside one packet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Note {
    pub(crate) process: Option<ProcessRef>,
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
    }

    /// Repeats in a new file what the others have.
    pub(crate) fn repeat<O: Output>(&self, writer: &mut Writer<O>) {
        write_names(writer, self.names.iter());
    }

    /// What to write beside each packet of some flows.
    pub(crate) fn notes(&mut self, flows: &[Option<FlowNumber>]) -> Vec<Note> {
        flows.iter().map(|flow| self.note(*flow)).collect()
    }

    fn note(&mut self, flow: Option<FlowNumber>) -> Note {
        let comment = flow.and_then(|flow| self.comments.remove(&flow));
        Note { process: None, comment }
    }
}

fn write_names<'a, O: Output>(writer: &mut Writer<O>, names: impl Iterator<Item = (&'a IpAddr, &'a String)>) {
    let names: Vec<_> = names.map(|(address, name)| (*address, name.as_str())).collect();
    writer.names(&names);
}
