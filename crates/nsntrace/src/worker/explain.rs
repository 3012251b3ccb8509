//! What explains packets: whose they are, whom they go to, what is asked and spoken. docs/explained.md has the whole of it.
//!
//! # Theory of operation
//! Two threads. On the ring's, a [`Survey`] looks at the headers of each frame, counts, and copies what is worth reading into a [`Question`]. The
//! explainer's thread answers: what is to be written in front of the block, and beside which flow's packets. The ring thread waits for that only where
//! it is written, and never for long: what comes too late is written with later packets. An explainer that cannot follow gets less to read.

mod by_flow;
mod explainer;
mod inbox;
mod keys;
mod owners;
mod ownership;
mod printer;
mod readable;
mod survey;
mod waiting;

use std::time::Instant;

use nsntrace_datapath::{Copies, Found, News};
use nsntrace_report::{FlowNumber, Report};

pub(crate) use self::explainer::{Ending, Explainer};
pub(crate) use self::inbox::{Inbox, Random, Secret};
pub(crate) use self::keys::KeyReader;
pub(crate) use self::owners::{Owners, Sockets};
pub(crate) use self::printer::Printer;
pub(crate) use self::survey::Survey;

/// What was seen of a block, or of several.
#[derive(Debug, Default)]
pub(crate) struct Question {
    news: News,
    /// Until when somebody waits for the answer.
    deadline: Option<Instant>,
    /// What is to be printed, which needs no answer.
    copies: Copies,
}

impl Question {
    fn wants_answer(&self) -> bool {
        !self.news.flows.is_empty() || !self.news.heads.is_empty()
    }
}

/// What is to be written in front of a block, and beside packets from then on.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) found: Found,
    /// Handshakes of TLS whose keys are needed from here on, by client random.
    pub(crate) handshakes: Vec<(Random, FlowNumber)>,
    /// It came too late for the block that it is about.
    pub(crate) is_behind: bool,
}

/// What is told at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Lines for the user.
    pub(crate) lines: Vec<String>,
    /// Who was talked to and should not have been.
    pub(crate) offences: Vec<String>,
    /// Why the report could not be written.
    pub(crate) error: Option<String>,
}

impl Told {
    fn of(report: &Report) -> Self {
        Self {
            lines: report.table().lines().map(str::to_owned).collect(),
            offences: report.offences().iter().map(ToString::to_string).collect(),
            error: None,
        }
    }
}
