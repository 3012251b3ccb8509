//! What a flag is: an entry of the table.
//!
//! `xtask` reads the headings of groups from the text of this file.

use std::ffi::OsString;

use super::{Options, Request};

/// One flag: how it is typed, what it says of itself, what it does.
pub(crate) struct Flag {
    pub(crate) short: Option<char>,
    pub(crate) long: &'static str,
    pub(crate) group: Group,
    pub(crate) effect: Effect,
    pub(crate) help: &'static str,
    /// What the manual adds, in whole sentences. The binary does without it, and without the example:
    /// `cargo xtask man` reads them here.
    #[cfg(test)]
    pub(crate) more: &'static str,
    /// A command line that uses it, for the manual.
    #[cfg(test)]
    pub(crate) example: &'static str,
}

/// What a flag is about: a heading of the help text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// What is recorded.
    Packets,
    /// Where it goes.
    Files,
    /// What is found out about packets.
    Meaning,
    /// What is run, and in what network.
    Program,
    /// The rest.
    Other,
}

impl Group {
    /// All, in the order of the help text.
    pub(crate) const ALL: [Self; 5] = [Self::Packets, Self::Files, Self::Meaning, Self::Program, Self::Other];

    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::Packets => "Packets",
            Self::Files => "Files",
            Self::Meaning => "Explanation and report",
            Self::Program => "Program and network",
            Self::Other => "Other",
        }
    }
}

/// What a flag does to the options.
pub(crate) enum Effect {
    /// Switches something on.
    Switch(fn(&mut Options)),
    /// Takes a value, shown in the help under this name. What it may be otherwise is joined by `|`.
    Value(&'static str, fn(&mut Options, OsString) -> Result<(), lexopt::Error>),
    /// Takes a value if one is typed behind `=`.
    OptionalValue(&'static str, fn(&mut Options, Option<OsString>) -> Result<(), lexopt::Error>),
    /// Asks for something else than a trace.
    Instead(fn() -> Request),
}
