//! JSON texts, written member by member and well-formed by construction.
//!
//! An [`Object`] is filled by a closure that gets hold of it for as long as it is open: nobody can forget to close it, or put a value
//! where a member belongs. Members come in the order in which they are written, each on a line of its own, so that two texts can be compared line
//! by line.
//!
//! # References
//! RFC 8259.

use std::fmt::{Display, Write as _};

/// The text of one object, with a line feed behind it.
pub(crate) fn object(fill: impl FnOnce(&mut Object<'_>)) -> String {
    let mut page = Page::default();
    page.object(fill);
    page.text.push('\n');
    page.text
}

/// An object that is open: members can be added.
pub(crate) struct Object<'a>(Open<'a>);

impl Object<'_> {
    /// Adds a string.
    pub(crate) fn string(&mut self, name: &str, value: &str) {
        self.name(name).string(value);
    }

    /// Adds a string, or `null` where there is none.
    pub(crate) fn optional_string(&mut self, name: &str, value: Option<&str>) {
        let page = self.name(name);
        match value {
            Some(value) => page.string(value),
            None => page.plain("null"),
        }
    }

    /// Adds a number. A reader that has but floating point gets it right up to 2 to the power of 53.
    pub(crate) fn number(&mut self, name: &str, value: u64) {
        self.name(name).plain(value);
    }

    /// Adds `true` or `false`.
    pub(crate) fn boolean(&mut self, name: &str, value: bool) {
        self.name(name).plain(value);
    }

    /// Adds an object.
    pub(crate) fn object(&mut self, name: &str, fill: impl FnOnce(&mut Object<'_>)) {
        self.name(name).object(fill);
    }

    /// Adds an array.
    pub(crate) fn array(&mut self, name: &str, fill: impl FnOnce(&mut Array<'_>)) {
        self.name(name).array(fill);
    }

    /// Begins a member, whose value is written next.
    fn name(&mut self, name: &str) -> &mut Page {
        let page = self.0.next();
        page.string(name);
        page.text.push_str(": ");
        page
    }
}

/// An array that is open: elements can be added.
pub(crate) struct Array<'a>(Open<'a>);

impl Array<'_> {
    /// Adds a string.
    pub(crate) fn string(&mut self, value: &str) {
        self.0.next().string(value);
    }

    /// Adds an object.
    pub(crate) fn object(&mut self, fill: impl FnOnce(&mut Object<'_>)) {
        self.0.next().object(fill);
    }
}

/// What has a beginning and no end yet.
struct Open<'a> {
    page: &'a mut Page,
    is_empty: bool,
}

impl<'a> Open<'a> {
    fn new(page: &'a mut Page, bracket: char) -> Self {
        page.text.push(bracket);
        page.depth += 1;
        Self { page, is_empty: true }
    }

    /// Makes room for one more.
    fn next(&mut self) -> &mut Page {
        if !self.is_empty {
            self.page.text.push(',');
        }
        self.is_empty = false;
        self.page.begin_line();
        self.page
    }

    fn close(self, bracket: char) {
        self.page.depth -= 1;
        if !self.is_empty {
            self.page.begin_line();
        }
        self.page.text.push(bracket);
    }
}

/// What has been written so far.
#[derive(Debug, Default)]
struct Page {
    text: String,
    depth: usize,
}

impl Page {
    fn object(&mut self, fill: impl FnOnce(&mut Object<'_>)) {
        let mut object = Object(Open::new(self, '{'));
        fill(&mut object);
        object.0.close('}');
    }

    fn array(&mut self, fill: impl FnOnce(&mut Array<'_>)) {
        let mut array = Array(Open::new(self, '['));
        fill(&mut array);
        array.0.close(']');
    }

    /// A value that is spelt in JSON as it is in Rust.
    fn plain(&mut self, value: impl Display) {
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{value}");
    }

    fn string(&mut self, value: &str) {
        self.text.push('"');
        value.chars().for_each(|c| self.character(c));
        self.text.push('"');
    }

    /// Section 7: quotation mark, backslash and control characters cannot stand for themselves.
    fn character(&mut self, c: char) {
        match c {
            '"' => self.text.push_str("\\\""),
            '\\' => self.text.push_str("\\\\"),
            '\n' => self.text.push_str("\\n"),
            c if c < ' ' => {
                let _ = write!(self.text, "\\u{:04x}", u32::from(c));
            }
            c => self.text.push(c),
        }
    }

    fn begin_line(&mut self) {
        self.text.push('\n');
        self.text.extend(std::iter::repeat_n("  ", self.depth));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(fill: impl FnOnce(&mut Object<'_>), expected: &str) {
        assert_eq!(object(fill), format!("{expected}\n"));
    }

    #[test]
    fn what_is_empty_takes_no_line() {
        check(|_| {}, "{}");
        check(|o| o.array("a", |_| {}), "{\n  \"a\": []\n}");
        check(|o| o.object("o", |_| {}), "{\n  \"o\": {}\n}");
    }

    #[test]
    fn members_come_in_their_order_with_commas_between_them() {
        check(
            |o| {
                o.number("z", u64::MAX);
                o.boolean("a", false);
                o.string("s", "t");
                o.optional_string("some", Some("u"));
                o.optional_string("none", None);
            },
            "{\n  \"z\": 18446744073709551615,\n  \"a\": false,\n  \"s\": \"t\",\n  \"some\": \"u\",\n  \"none\": null\n}",
        );
    }

    #[test]
    fn what_is_inside_is_further_in() {
        check(
            |o| {
                o.array("list", |a| {
                    a.string("x");
                    a.object(|o| o.number("n", 1));
                });
                o.object("deep", |o| o.object("deeper", |o| o.boolean("yes", true)));
            },
            "{\n  \"list\": [\n    \"x\",\n    {\n      \"n\": 1\n    }\n  ],\n  \
               \"deep\": {\n    \"deeper\": {\n      \"yes\": true\n    }\n  }\n}",
        );
    }

    #[test]
    fn no_character_breaks_out_of_a_string() {
        check(
            |o| o.string("a\"\\", "\u{0}\t\n\u{1f}\"\\/é\u{7f}\u{2028}𝄞"),
            "{\n  \"a\\\"\\\\\": \"\\u0000\\u0009\\n\\u001f\\\"\\\\/é\u{7f}\u{2028}𝄞\"\n}",
        );
    }
}
