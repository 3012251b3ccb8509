//! Bytes to lines.
//!
//! # Theory of operation
//! Processes write whole lines at once, and the kernel keeps writes of up to `PIPE_BUF` bytes whole, so lines of several do not mix. What comes
//! without an end waits for it; what gets longer than any line is thrown away up to its end.

use crate::line::Line;

/// Finds the lines of a key log in bytes that come in pieces.
#[derive(Debug, Default)]
pub struct Lines {
    /// A line that is not whole yet.
    rest: Vec<u8>,
    /// The rest of the line is too long to be one.
    is_skipping: bool,
    ignored: u64,
}

impl Lines {
    /// Lines that were neither a secret nor a comment nor empty.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Gives each line that is whole by now to `take`.
    pub fn push(&mut self, bytes: &[u8], mut take: impl FnMut(&Line<'_>)) {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            let is_whole = part.ends_with(b"\n");
            if !self.is_skipping {
                self.rest.extend_from_slice(part);
            }
            if self.rest.len() > MAX_LINE_LEN {
                self.rest.clear();
                self.is_skipping = true;
            }
            if is_whole {
                self.end_line(&mut take);
            }
        }
    }

    fn end_line(&mut self, take: &mut impl FnMut(&Line<'_>)) {
        let text = self.rest.trim_ascii_end();
        match Line::parse(text) {
            Some(line) => take(&line),
            None if self.is_skipping || !(text.is_empty() || text.starts_with(b"#")) => self.ignored += 1,
            None => {}
        }
        self.rest.clear();
        self.is_skipping = false;
    }
}

/// More than any line of the format.
const MAX_LINE_LEN: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// The first digits of the randoms that came.
    fn push(lines: &mut Lines, bytes: &[u8]) -> Vec<u8> {
        let mut randoms = Vec::new();
        lines.push(bytes, |line| randoms.push(line.client_random[0]));
        randoms
    }

    fn line(random: u8) -> Vec<u8> {
        format!("CLIENT_RANDOM {} 0102\n", format!("{random:02x}").repeat(32)).into_bytes()
    }

    #[test]
    fn lines_come_whole_however_they_are_written() {
        let mut lines = Lines::default();
        assert_eq!(push(&mut lines, &[line(1), line(2)].concat()), [1, 2]);
        let (first, second) = (line(3), line(4));
        assert_eq!(push(&mut lines, &first[..9]), []);
        assert_eq!(push(&mut lines, &[&first[9..], &second[..1]].concat()), [3]);
        assert_eq!(push(&mut lines, &second[1..]), [4]);
        let mut of_windows = line(5);
        of_windows.splice(of_windows.len() - 1.., *b"\r\n");
        assert_eq!(push(&mut lines, &of_windows), [5]);
        assert_eq!(lines.ignored(), 0);
    }

    #[test]
    fn nonsense_is_counted_and_what_follows_it_is_read() {
        let mut lines = Lines::default();
        let endless = vec![b'x'; 5000];
        assert_eq!(push(&mut lines, b"# a comment\n\nnonsense\n\xff\n"), []);
        assert_eq!(lines.ignored(), 2);
        assert_eq!(push(&mut lines, &endless), []);
        assert_eq!(lines.rest.len(), 0);
        assert_eq!(push(&mut lines, &[&endless[..], b"\n", &line(7)].concat()), [7]);
        assert_eq!(lines.ignored(), 3);
    }
}
