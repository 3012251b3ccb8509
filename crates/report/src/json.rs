//! JSON, written.
//!
//! # References
//! RFC 8259.

use std::fmt::{self, Write as _};

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A count.
    Count(u64),
    /// A number of seconds.
    Seconds {
        /// As exact as anybody needs.
        milliseconds: u64,
    },
    /// Text.
    Text(String),
    /// Values in a row.
    Array(Vec<Json>),
    /// Values with names, in this order.
    Object(Vec<(&'static str, Json)>),
}

impl Json {
    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// What there is, else null.
    pub fn or_null(value: Option<impl Into<Self>>) -> Self {
        value.map_or(Self::Null, Into::into)
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Count(value) => write!(f, "{value}"),
            Self::Seconds { milliseconds } => {
                let text = format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000);
                f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
            }
            Self::Text(text) => write_text(f, text),
            Self::Array(values) => {
                write_all(f, depth, ['[', ']'], values.iter(), |f, value| value.write(f, depth + 1))
            }
            Self::Object(members) => write_all(f, depth, ['{', '}'], members.iter(), |f, (name, value)| {
                write_text(f, name)?;
                f.write_str(": ")?;
                value.write(f, depth + 1)
            }),
        }
    }
}

impl fmt::Display for Json {
    /// On several lines, for people too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u64> for Json {
    fn from(value: u64) -> Self {
        Self::Count(value)
    }
}

impl From<&str> for Json {
    fn from(value: &str) -> Self {
        Self::text(value)
    }
}

impl From<String> for Json {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

fn write_all<T>(
    f: &mut fmt::Formatter<'_>,
    depth: usize,
    [open, close]: [char; 2],
    items: impl ExactSizeIterator<Item = T>,
    write: impl Fn(&mut fmt::Formatter<'_>, T) -> fmt::Result,
) -> fmt::Result {
    let is_empty = items.len() == 0;
    f.write_char(open)?;
    for (n, item) in items.enumerate() {
        write!(f, "{}\n{:2$}", if n > 0 { "," } else { "" }, "", 2 * (depth + 1))?;
        write(f, item)?;
    }
    if !is_empty {
        write!(f, "\n{:1$}", "", 2 * depth)?;
    }
    f.write_char(close)
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_the_rfc_has_them() {
        let seconds = |milliseconds| Json::Seconds { milliseconds };
        let value = Json::Object(vec![
            ("empty", Json::Array(vec![])),
            ("nothing", Json::or_null(None::<&str>)),
            ("text", Json::text("a\"b\\c\n\u{1b}\u{9b}é")),
            ("numbers", Json::Array(vec![7_u64.into(), seconds(250), seconds(10_000), seconds(60_002)])),
            ("yes", true.into()),
        ]);
        let expected = "{\n  \"empty\": [],\n  \"nothing\": null,\n  \"text\": \"a\\\"b\\\\c\\u000a\\u001b\\u009bé\",\n  \
            \"numbers\": [\n    7,\n    0.25,\n    10,\n    60.002\n  ],\n  \"yes\": true\n}";
        assert_eq!(value.to_string(), expected);
    }
}
