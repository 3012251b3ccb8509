//! The report for programs: JSON of a schema that docs/doctor.md describes.
//!
//! Members may be added under the same version number; what there is keeps its name, its type and its meaning.

use nsntrace_report::Json;

use super::Diagnosis;
use super::check::{Finding, State};
use super::subject::Subject;
use crate::help::VERSION_NUMBER;
use crate::transport::Transport;

/// The whole text.
pub(super) fn write(diagnosis: &Diagnosis) -> String {
    let transports = [Transport::Nat, Transport::Proxy];
    let transports = transports.map(|transport| (transport.name(), of_transport(diagnosis, transport)));
    let json = Json::Object(vec![
        ("schema", "nsntrace-doctor".into()),
        ("version", SCHEMA_VERSION.into()),
        ("nsntrace", VERSION_NUMBER.into()),
        ("subject", of_subject(&diagnosis.subject)),
        ("checks", Json::Array(diagnosis.findings.iter().map(of_finding).collect())),
        ("transports", Json::Object(transports.into())),
        ("auto", Json::or_null(diagnosis.verdict.auto().map(Transport::name))),
    ]);
    format!("{json}\n")
}

fn of_subject(subject: &Subject) -> Json {
    Json::Object(vec![
        ("uid", u64::from(subject.uid).into()),
        ("gid", u64::from(subject.gid).into()),
        ("kernel", subject.release.as_str().into()),
        ("machine", subject.machine.as_str().into()),
    ])
}

fn of_finding(found: &Finding) -> Json {
    let mut members = vec![("name", found.check.name.into()), ("title", found.check.title.into())];
    match &found.state {
        State::There(detail) => {
            let detail = Some(detail.as_str()).filter(|detail| !detail.is_empty());
            members.extend([("result", "ok".into()), ("detail", Json::or_null(detail))]);
        }
        State::Missing { error, lost, hint } => {
            let transports = lost.transports().iter().map(|transport| transport.name().into());
            members.extend([
                ("result", "missing".into()),
                ("error", error.as_str().into()),
                ("lost", Json::Array(transports.collect())),
                ("consequence", lost.words().into()),
                ("hint", Json::or_null(hint.as_deref())),
            ]);
        }
        State::Untried(since) => {
            members.extend([("result", "untried".into()), ("since", since.as_str().into())]);
        }
    }
    Json::Object(members)
}

fn of_transport(diagnosis: &Diagnosis, transport: Transport) -> Json {
    let forbidding = diagnosis.findings.iter().filter(|found| found.forbids(transport));
    let missing: Vec<Json> = forbidding.map(|found| found.check.name.into()).collect();
    Json::Object(vec![("works", missing.is_empty().into()), ("missing", Json::Array(missing))])
}

/// Of the schema: changed when a member changes or goes.
const SCHEMA_VERSION: u64 = 1;
