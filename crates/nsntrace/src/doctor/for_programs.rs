//! The report for programs: JSON of a schema that docs/doctor.md describes.
//!
//! Members may be added under the same version number; what there is keeps its name, its type and its meaning.

use super::Diagnosis;
use super::check::{Finding, State};
use crate::help::VERSION_NUMBER;
use crate::json::{self, Object};
use crate::transport::Transport;

/// The whole text.
pub(super) fn write(diagnosis: &Diagnosis) -> String {
    json::object(|o| {
        o.string("schema", "nsntrace-doctor");
        o.number("version", SCHEMA_VERSION);
        o.string("nsntrace", VERSION_NUMBER);
        o.object("subject", |o| {
            o.number("uid", diagnosis.subject.uid.into());
            o.number("gid", diagnosis.subject.gid.into());
            o.string("kernel", &diagnosis.subject.release);
            o.string("machine", &diagnosis.subject.machine);
        });
        o.array("checks", |a| {
            diagnosis.findings.iter().for_each(|found| a.object(|o| write_finding(found, o)));
        });
        o.object("transports", |o| {
            for transport in [Transport::Nat, Transport::Proxy] {
                o.object(transport.name(), |o| write_transport(diagnosis, transport, o));
            }
        });
        o.optional_string("auto", diagnosis.verdict.auto().map(Transport::name));
    })
}

fn write_finding(found: &Finding, o: &mut Object<'_>) {
    o.string("name", found.check.name);
    o.string("title", found.check.title);
    match &found.state {
        State::There(detail) => {
            o.string("result", "ok");
            o.optional_string("detail", Some(detail.as_str()).filter(|detail| !detail.is_empty()));
        }
        State::Missing { error, lost, hint } => {
            o.string("result", "missing");
            o.string("error", error);
            o.array("lost", |a| lost.transports().iter().for_each(|transport| a.string(transport.name())));
            o.string("consequence", lost.words());
            o.optional_string("hint", hint.as_deref());
        }
        State::Untried(since) => {
            o.string("result", "untried");
            o.string("since", since);
        }
    }
}

fn write_transport(diagnosis: &Diagnosis, transport: Transport, o: &mut Object<'_>) {
    let forbidding = || diagnosis.findings.iter().filter(|found| found.forbids(transport));
    o.boolean("works", forbidding().next().is_none());
    o.array("missing", |a| forbidding().for_each(|found| a.string(found.check.name)));
}

/// Of the schema: changed when a member changes or goes.
const SCHEMA_VERSION: u64 = 1;
