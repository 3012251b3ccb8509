//! What Wireshark is told, in the sentences that it reads: one a line, a word and then `{key=value}`.
//!
//! # References
//! extcap(4).

use std::fmt::Write as _;

use super::call::INTERFACE;
use crate::flags::FLAGS;
use crate::help::VERSION_NUMBER;

/// A field of the dialog.
pub(super) struct Field {
    /// The argument that it becomes, without dashes. What is an option of ours has that option's help.
    pub(super) call: &'static str,
    display: &'static str,
    /// Type and what goes with it.
    kind: &'static str,
    /// For what is no option of ours.
    tooltip: Option<&'static str>,
    /// Value and display; the first is taken if nothing is chosen.
    values: &'static [(&'static str, &'static str)],
}

/// In the order of the dialog.
pub(super) const FIELDS: [Field; 6] = [
    Field {
        call: "command",
        display: "Command",
        kind: "{type=string}{required=true}",
        tooltip: Some(
            "the program to run and its arguments, quoted as for a shell; for more than that: sh -c '...'",
        ),
        values: &[],
    },
    Field { call: "user", display: "Run as user", kind: "{type=string}", tooltip: None, values: &[] },
    Field {
        call: "net",
        display: "Way to the network",
        kind: "{type=selector}",
        tooltip: None,
        values: &[("auto", "what works"), ("nat", "forwarded by this host"), ("proxy", "by proxy")],
    },
    Field { call: "tls-keys", display: "TLS keys", kind: BOX, tooltip: None, values: &[] },
    Field { call: "wait-all", display: "Wait for all processes", kind: BOX, tooltip: None, values: &[] },
    Field {
        call: "output",
        display: "Output of the program",
        kind: "{type=fileselect}{mustexist=false}",
        tooltip: Some("a file for what the program writes; without one it is lost"),
        values: &[],
    },
];

const BOX: &str = "{type=boolflag}{default=false}";

/// What can be captured from.
pub(super) fn interfaces() -> String {
    format!(
        "extcap {{version={VERSION_NUMBER}}}{{display=nsntrace}}\n\
         interface {{value={INTERFACE}}}{{display=nsntrace: run a program}}\n"
    )
}

/// What packets begin with.
pub(super) const DLTS: &str = "dlt {number=1}{name=EN10MB}{display=Ethernet}\n";

/// What can be chosen.
pub(super) fn config() -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    for (number, field) in FIELDS.iter().enumerate() {
        let Field { call, display, kind, values, .. } = field;
        let tooltip = field.tooltip.or_else(|| help(call)).unwrap_or_default();
        let _ = writeln!(
            text,
            "arg {{number={number}}}{{call=--{call}}}{{display={display}}}{kind}{{tooltip={tooltip}}}"
        );
        for (index, (value, display)) in values.iter().enumerate() {
            let default = index == 0;
            let _ = writeln!(
                text,
                "value {{arg={number}}}{{value={value}}}{{display={display}}}{{default={default}}}"
            );
        }
    }
    text
}

fn help(option: &str) -> Option<&'static str> {
    FLAGS.iter().find(|flag| flag.long == option).map(|flag| flag.help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sentence_is_whole() {
        for line in [interfaces(), DLTS.into(), config()].concat().lines() {
            let (word, rest) = line.split_once(' ').unwrap();
            assert!(["extcap", "interface", "dlt", "arg", "value"].contains(&word), "{line}");
            assert!(rest.starts_with('{') && rest.ends_with('}'), "{line}");
            for pair in rest[1..rest.len() - 1].split("}{") {
                let (_, value) = pair.split_once('=').unwrap_or_else(|| panic!("{line}: {pair}"));
                assert!(!value.is_empty() && !value.contains(['{', '}']), "{line}: {pair}");
            }
        }
    }

    #[test]
    fn every_field_is_explained_once() {
        for field in &FIELDS {
            assert_ne!(field.tooltip.is_some(), help(field.call).is_some(), "{}", field.call);
        }
    }
}
