//! What is known of flows' owners, and who is to be asked for again.

use std::fs;
use std::time::{Duration, Instant};

use nsntrace_owners::Owner;
use nsntrace_report::{Attribution, Flow, FlowNumber, Known, Process};

use super::Owners;
use super::by_flow::ByFlow;
use super::owners::is_somebodys;
use super::waiting::Waiting;

/// Owners of flows.
#[derive(Default)]
pub(super) struct Ownership {
    owners: Option<Owners>,
    known: ByFlow,
    /// Nobody has said whose these are.
    open: Waiting<(FlowNumber, Flow)>,
    /// Numbers of users, and their names.
    users: Vec<(u32, String)>,
}

impl Ownership {
    /// Without anybody to ask, flows are nobody's.
    pub(super) fn of(owners: Option<Owners>) -> Self {
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let users = users.lines().filter_map(user).collect();
        Self { owners, users, ..Self::default() }
    }

    /// Asks whose new flows are.
    pub(super) fn ask(&mut self, flows: &[(FlowNumber, Flow)]) -> Vec<(FlowNumber, Owner)> {
        let mut found = Vec::new();
        if let (Some(owners), [_, ..]) = (&self.owners, flows) {
            owners.hear();
        }
        let deadline = Instant::now() + PATIENCE;
        for (number, flow) in flows {
            found.extend(self.ask_one(*number, flow, deadline).map(|owner| (*number, owner)));
        }
        found
    }

    /// Asks once more about flows that nobody knew, so many at most.
    pub(super) fn ask_again(&mut self, most: usize) -> Vec<(FlowNumber, Flow, Owner)> {
        let (open, now) = (self.open.take(most), Instant::now());
        let asked = open.into_iter().map(|(number, flow)| (number, self.ask_one(number, &flow, now), flow));
        asked.filter_map(|(number, owner, flow)| Some((number, flow, owner?))).collect()
    }

    /// Whether sockets went unheard of.
    pub(super) fn is_unheard(&self) -> bool {
        self.owners.as_ref().is_some_and(Owners::is_unheard)
    }

    fn ask_one(&mut self, number: FlowNumber, flow: &Flow, deadline: Instant) -> Option<Owner> {
        let owner = self.owners.as_ref()?.whose(flow, deadline);
        match &owner {
            Some(owner) => self.known.learn(number, owner.clone()),
            None if is_somebodys(flow) => self.open.push((number, flow.clone())),
            None => {}
        }
        owner
    }

    /// The number of a flow's process.
    pub(super) fn pid(&self, flow: FlowNumber) -> Option<u32> {
        self.known.owner(flow).map(|owner| owner.process.pid)
    }

    /// `curl[4321] `, or nothing.
    pub(super) fn introduction(&self, flow: FlowNumber) -> String {
        let owner = self.known.owner(flow);
        owner.map_or_else(String::new, |owner| format!("{}[{}] ", owner.process.name, owner.process.pid))
    }

    /// `, run as: curl -s URL`, or nothing where nobody asked for command lines.
    pub(super) fn command(&self, flow: FlowNumber) -> String {
        let line =
            self.known.owner(flow).map(|owner| owner.process.command_line.as_str()).unwrap_or_default();
        if line.is_empty() { String::new() } else { format!(", run as: {}", line.replace('\0', " ")) }
    }

    /// The first that has the number, as getpwuid(3) has it.
    fn user(&self, uid: u32) -> Option<String> {
        let (_, name) = self.users.iter().find(|(number, _)| *number == uid)?;
        Some(name.clone())
    }

    /// The same for the report.
    pub(super) fn known(&self, flow: FlowNumber) -> Known {
        let Some(Owner { process, tid, certainty, .. }) = self.known.owner(flow) else {
            return Known::default();
        };
        let words = |line: String| line.split('\0').map(str::to_owned).collect();
        let process = Process {
            pid: process.pid,
            name: process.name.clone(),
            path: some(&process.path),
            command_line: some(&process.command_line).map(words),
            parent: process.parent,
            uid: process.uid,
            user: self.user(process.uid),
            started_ns: process.started_ns,
        };
        let attribution = Attribution { certainty: certainty.name(), tid: Some(*tid).filter(|tid| *tid > 0) };
        Known { process: Some(process), attribution: Some(attribution), ..Known::default() }
    }
}

/// A line of /etc/passwd: name, password, uid.
fn user(line: &str) -> Option<(u32, String)> {
    let mut fields = line.split(':');
    let (name, _password, uid) = (fields.next()?, fields.next()?, fields.next()?);
    Some((uid.parse().ok()?, name.to_owned()))
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// How long the owners of a block's flows are waited for: the kernel announces a socket's end when it finds the time.
const PATIENCE: Duration = Duration::from_millis(40);
