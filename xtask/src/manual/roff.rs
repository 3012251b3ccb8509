//! Text for roff(7).

/// Text as a line of its own: what roff reads as its own is taken from it, and a hyphen is the one that can be typed.
pub(super) fn escape(text: &str) -> String {
    let text = text.replace('\\', r"\e").replace('-', r"\-").replace('\'', r"\(aq").replace('`', r"\(ga");
    let text = text.replace('^', r"\(ha").replace('~', r"\(ti").replace('"', r"\(dq");
    if text.starts_with('.') { format!(r"\&{text}") } else { text }
}

/// Lines of text that are not too long for mandoc, which have no meaning of their own.
pub(super) fn lines(text: &str) -> String {
    let mut lines = String::new();
    let mut length = 0;
    for word in text.split(' ') {
        let word = escape(word);
        let gap = if length == 0 {
            ""
        } else if length + 1 + word.len() > LINE {
            "\n"
        } else {
            " "
        };
        length = if gap == " " { length + 1 + word.len() } else { word.len() };
        lines += gap;
        lines += &word;
    }
    lines + "\n"
}

/// What mandoc calls long.
const LINE: usize = 80;

/// Each sentence, which roff wants on a line of its own.
pub(super) fn sentences(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(". ").map(str::trim_end).filter(|sentence| !sentence.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_roff_would_read_is_escaped() {
        assert_eq!(escape(r"-f 'a\b'"), r"\-f \(aqa\eb\(aq");
        assert_eq!(escape(".pcap"), r"\&.pcap");
        assert_eq!(escape("'%H'"), r"\(aq%H\(aq");
    }

    #[test]
    fn long_lines_are_broken_and_none_begins_with_a_stop() {
        assert_eq!(lines("a .b"), "a \\&.b\n");
        let text = lines(&"word ".repeat(40));
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        assert_eq!(text.split_whitespace().count(), 40);
    }

    #[test]
    fn sentences_end_with_a_stop_and_a_blank() {
        assert_eq!(sentences("As 1.5s. Or so.").collect::<Vec<_>>(), ["As 1.5s.", "Or so."]);
        assert_eq!(sentences("").count(), 0);
    }
}
