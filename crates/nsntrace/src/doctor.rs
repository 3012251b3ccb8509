//! `--doctor`: what nsntrace needs of this host, tried out, and what follows from it.
//!
//! # Theory of operation
//! Reading about a kernel tells little: options are modules, modules are not loaded, containers forbid what the kernel can. So each thing is
//! done, in the way of a trace and by the same code, in a process and in namespaces that are there for nothing else
//! ([`examination`]). On the host itself nothing is done but reading. [`CHECKS`] is the list, with a file of `checks` for each kind; the
//! [`Verdict`] says which transports work, and there is one report for people and one for programs: docs/doctor.md.

mod bench;
mod check;
mod checks;
mod examination;
mod for_people;
mod for_programs;
mod subject;
mod verdict;

use self::check::Finding;
use self::checks::CHECKS;
use self::subject::Subject;
use self::verdict::Verdict;
use crate::failure::Failure;

/// Whom a report is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// People.
    Text,
    /// Programs.
    Json,
}

/// A report, and what it comes to.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) text: String,
    /// Some transport works.
    pub(crate) is_good: bool,
}

/// All that is known of a host.
struct Diagnosis {
    subject: Subject,
    findings: Vec<Finding>,
    verdict: Verdict,
}

/// Examines this host, for the user that we are. To be called before any thread is started.
pub(crate) fn report(form: Form) -> Result<Report, Failure> {
    let findings = examination::examine(CHECKS)?;
    let verdict = Verdict::of(&findings);
    let is_good = verdict.auto().is_some();
    let diagnosis = Diagnosis { subject: Subject::here(), findings, verdict };
    let text = match form {
        Form::Text => for_people::write(&diagnosis),
        Form::Json => for_programs::write(&diagnosis),
    };
    Ok(Report { text, is_good })
}

impl Form {
    /// The one that is typed so.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}
