//! The ring thread's look at frames.

use std::collections::HashSet;
use std::mem;
use std::time::{Duration, Instant};

use nsntrace_capture::Block;
use nsntrace_datapath::{Copier, Copies, Look};
use nsntrace_owners::Turn;
use nsntrace_report::{Census, Endpoint, Flow, FlowNumber, Protocol, TcpEnd};

use super::{Answer, Owners, Question};
use crate::queue::{Next, Receiver, Refused, Sender};

/// Looks at each frame before it is written.
pub(crate) struct Survey {
    look: Look,
    /// For whoever prints packets.
    copier: Option<Copier>,
    owners: Option<Owners>,
    question: Question,
    questions: Sender<Question>,
    answers: Receiver<Answer>,
    /// Answers go into the file, so they are worth waiting for.
    waits: bool,
    /// How long whoever explains waits for keys.
    patience: Duration,
    /// How many answers are due.
    due: usize,
    /// Of those, how many are about blocks before the one at hand.
    due_before: usize,
    is_sampled: bool,
    /// Flows that were looked at for their protocol, and how many of them are connections.
    counted: (u32, u64),
}

impl Survey {
    pub(super) fn new(
        questions: Sender<Question>,
        answers: Receiver<Answer>,
        waits: bool,
        copier: Option<Copier>,
        owners: Option<Owners>,
    ) -> Self {
        Self {
            look: Look::default(),
            copier,
            owners,
            question: Question::default(),
            questions,
            answers,
            waits,
            patience: PATIENCE,
            due: 0,
            due_before: 0,
            is_sampled: false,
            counted: (0, 0),
        }
    }

    /// Waits longer for keys, where what is found out later would be in vain.
    pub(super) fn be_patient(&mut self) {
        self.patience = PATIENCE_OF_STREAMS;
    }

    /// Looks at a block, so many packets of which are recorded, and gives what has been found out by now.
    pub(crate) fn look(&mut self, block: &Block, admitted: u64) -> Vec<Answer> {
        self.due_before = self.due;
        if let Some(copier) = &mut self.copier {
            copier.begin_block(admitted, block.is_crowded());
        }
        for Turn { local, times_ns } in self.owners.iter().flat_map(Owners::take_turns) {
            self.look.turn(Endpoint { address: local.ip(), port: local.port() }, times_ns);
        }
        self.look.see(block.frames(), self.waits, &mut self.question.news, self.copier.as_mut());
        self.ask();
        let hold = if self.waits { HOLD } else { Duration::ZERO };
        self.collect(hold, || block.is_crowded())
    }

    /// The flows of the block that was looked at, a frame each; none where nobody writes them down.
    pub(crate) fn flows(&self) -> &[Option<FlowNumber>] {
        self.look.flows()
    }

    /// How many connections there have been, of TCP and of UDP.
    pub(crate) fn connections(&mut self) -> u64 {
        let (first, mut connections) = self.counted;
        let flows = (first..).map_while(|number| self.look.census().flow(FlowNumber(number)));
        let mut looked_at = 0;
        for flow in flows {
            looked_at += 1;
            connections += u64::from(matches!(flow.protocol, Protocol::Tcp | Protocol::Udp));
        }
        self.counted = (first + looked_at, connections);
        connections
    }

    /// What is still to be found out about the blocks so far, now that there will be no more. Whoever explains comes to his end meanwhile, unless he
    /// is to hear one thing more.
    pub(crate) fn last_answers(&mut self) -> Vec<Answer> {
        if self.last_copies().is_none() {
            self.questions.close();
        }
        self.due_before = self.due;
        self.collect(HOLD, || false)
    }

    /// Says of a flow whether packets of it may still be written: it has not ended, or not before the block at hand.
    pub(crate) fn living(&self) -> impl Fn(FlowNumber) -> bool {
        let in_block: HashSet<_> = self.look.flows().iter().flatten().copied().collect();
        let is_open = |flow: &Flow| flow.tcp_end() == TcpEnd::Open;
        move |flow| in_block.contains(&flow) || self.look.census().flow(flow).is_some_and(is_open)
    }

    /// What was seen, and whether that is not all there was. Called when the file is complete, for it may wait: whoever explains ends with the questions.
    pub(super) fn finish(self) -> (Census, bool) {
        if let Some(copies) = self.last_copies() {
            self.questions.send(Question { copies, ..Question::default() });
        }
        (self.look.finish(), self.is_sampled)
    }

    /// What is left to be said to whoever prints.
    fn last_copies(&self) -> Option<Copies> {
        self.copier.as_ref().map(Copier::last).filter(|copies| !copies.is_empty())
    }

    /// Asks what there is to ask. An explainer that is behind is not asked to read, and hears of new flows later.
    fn ask(&mut self) {
        self.question.copies = self.copier.as_mut().map(Copier::take).unwrap_or_default();
        let wants_answer = self.question.wants_answer();
        if !wants_answer && self.question.copies.is_empty() {
            return;
        }
        self.question.deadline = Some(Instant::now() + self.patience);
        match self.questions.try_send(mem::take(&mut self.question)) {
            Ok(()) => self.due += usize::from(wants_answer),
            Err(Refused::Full(question)) => {
                self.is_sampled |= !question.news.heads.is_empty();
                self.question.news.flows = question.news.flows;
                if let Some(copier) = &mut self.copier {
                    copier.take_back(&question.copies);
                }
            }
            Err(Refused::Closed) => {}
        }
    }

    /// Takes the answers that are due, for at most so long, and not while others wait for us.
    fn collect(&mut self, hold: Duration, is_crowded: impl Fn() -> bool) -> Vec<Answer> {
        let mut answers = Vec::new();
        let deadline = Instant::now() + hold;
        while self.due > 0 {
            let now = Instant::now();
            let until = if is_crowded() { now } else { deadline.min(now + LOOK_UP) };
            match self.answers.recv_until(Some(until)) {
                Next::Value(mut answer) => {
                    self.due -= 1;
                    answer.is_behind = self.due_before > 0;
                    self.due_before = self.due_before.saturating_sub(1);
                    answers.push(answer);
                }
                Next::Late if until <= now => break,
                Next::Late => {}
                Next::Closed => self.due = 0,
            }
        }
        answers
    }
}

/// How long a handshake's keys are waited for.
const PATIENCE: Duration = Duration::from_millis(45);
/// The same where keys that come late find no room in the file. Somebody who watches hardly notices.
const PATIENCE_OF_STREAMS: Duration = Duration::from_millis(300);
/// How long a block is held for its explanation, if room is left in the ring. That is there sooner, unless others keep whoever explains from the
/// processor.
const HOLD: Duration = Duration::from_secs(1);
/// How soon it is seen that the ring fills.
const LOOK_UP: Duration = Duration::from_millis(1);
