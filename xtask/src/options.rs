//! The flags of `nsntrace` as its own table tells them, read from the source: the text of a manual is no part of a binary.

mod source;

use crate::process::Result;
use crate::workspace::{Workspace, read};

/// One flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flag {
    pub(crate) short: Option<char>,
    pub(crate) long: String,
    /// The heading that it stands under.
    pub(crate) group: String,
    pub(crate) value: Value,
    /// One line.
    pub(crate) help: String,
    /// More sentences, or none.
    pub(crate) more: String,
    /// A command line.
    pub(crate) example: String,
}

/// What may be typed behind a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Nothing.
    None,
    /// This, behind a blank or `=`.
    Required(String),
    /// This behind `=`, or nothing.
    Optional(String),
}

/// What a value is, for those who complete it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One of these words.
    OneOf(Vec<String>),
    /// A file.
    File,
    /// A network interface.
    Device,
    /// A user of this host.
    User,
    /// What nobody can guess.
    Free,
}

impl Value {
    /// Its name in the help text.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Required(name) | Self::Optional(name) => Some(name),
        }
    }

    /// Read off its name.
    pub(crate) fn kind(&self) -> Kind {
        match self.name() {
            Some(name) if name.contains('|') => Kind::OneOf(name.split('|').map(str::to_owned).collect()),
            Some("FILE") => Kind::File,
            Some("DEV") => Kind::Device,
            Some("USER") => Kind::User,
            _ => Kind::Free,
        }
    }
}

impl Flag {
    /// `-f` and `--filter`, or the long one alone.
    pub(crate) fn spellings(&self) -> Vec<String> {
        let short = self.short.map(|short| format!("-{short}"));
        short.into_iter().chain([format!("--{}", self.long)]).collect()
    }
}

/// Every flag, in the order of the help text.
///
/// # Errors
/// The table cannot be read, or is not written as we read it.
pub(crate) fn load(workspace: &Workspace) -> Result<Vec<Flag>> {
    let (groups, table) = (read(&workspace.root, GROUPS)?, read(&workspace.root, TABLE)?);
    let flags = source::parse(&groups, &table).map_err(|error| format!("{TABLE}: {error}"))?;
    if flags.is_empty() { Err(format!("{TABLE}: no flag is in it").into()) } else { Ok(flags) }
}

const GROUPS: &str = "crates/nsntrace/src/flags/flag.rs";
const TABLE: &str = "crates/nsntrace/src/flags/table.rs";

/// One of each kind.
#[cfg(test)]
pub(crate) fn samples() -> Vec<Flag> {
    let flag = |short, long: &str, value| Flag {
        short,
        long: long.to_owned(),
        group: "Files".to_owned(),
        value,
        help: format!("what {long} does, 'so' [to say]: it"),
        more: String::new(),
        example: format!("nsntrace --{long} true"),
    };
    let required = |name: &str| Value::Required(name.to_owned());
    vec![
        flag(Some('o'), "outfile", required("FILE")),
        flag(None, "net", required("auto|nat|proxy")),
        flag(Some('d'), "device", required("DEV")),
        flag(Some('u'), "user", required("USER")),
        flag(Some('c'), "count", required("COUNT")),
        flag(None, "doctor", Value::Optional("text|json".to_owned())),
        flag(Some('q'), "quiet", Value::None),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_table_is_read_whole() {
        let flags = load(&Workspace::load().unwrap()).unwrap();
        let find = |long: &str| flags.iter().find(|flag| flag.long == long).unwrap();
        assert_eq!(find("outfile").short, Some('o'));
        assert_eq!(find("outfile").value.kind(), Kind::File);
        assert_eq!(find("quiet").value, Value::None);
        assert!(matches!(&find("doctor").value, Value::Optional(_)));
        assert_eq!(find("version").group, "Other");
        for flag in &flags {
            assert!(!flag.help.is_empty() && flag.example.starts_with("nsntrace "), "{flag:?}");
        }
    }
}
