//! Lines out of a pipe.
//!
//! # Theory of operation
//! Processes write whole lines at once, and the kernel keeps writes of up to `PIPE_BUF` bytes whole, so lines of several do not mix. What comes
//! without an end waits for it; what gets longer than any line is thrown away up to its end.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, read};

use crate::line::Line;

/// Reads a key log as it comes.
#[derive(Debug)]
pub struct Reader {
    pipe: OwnedFd,
    /// A line that is not whole yet.
    rest: Vec<u8>,
    /// The rest of the line is too long to be one.
    is_skipping: bool,
    ignored: u64,
}

impl Reader {
    /// Reads from a pipe that does not block (`O_NONBLOCK`).
    pub fn new(pipe: OwnedFd) -> Self {
        Self { pipe, rest: Vec::new(), is_skipping: false, ignored: 0 }
    }

    /// Lines that were neither a secret nor a comment nor empty.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Gives each line that has come to `take`, up to a megabyte of them.
    ///
    /// # Errors
    /// Those of read(2); that there is nothing now is none.
    pub fn read(&mut self, mut take: impl FnMut(&Line<'_>)) -> io::Result<()> {
        let mut buffer = [0; 4096];
        for _ in 0..MAX_READS {
            match read(&self.pipe, &mut buffer) {
                Ok(0) | Err(Errno::AGAIN) => return Ok(()),
                Ok(len) => self.take_bytes(&buffer[..len], &mut take),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    fn take_bytes(&mut self, bytes: &[u8], take: &mut impl FnMut(&Line<'_>)) {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            let is_whole = part.ends_with(b"\n");
            if !self.is_skipping {
                self.rest.extend_from_slice(part);
            }
            if is_whole {
                self.take_line(take);
            } else if self.rest.len() > MAX_LINE_LEN {
                self.rest.clear();
                self.is_skipping = true;
            }
        }
    }

    fn take_line(&mut self, take: &mut impl FnMut(&Line<'_>)) {
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

/// Readable when something has come.
impl AsFd for Reader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// More than any line of the format.
const MAX_LINE_LEN: usize = 1024;
const MAX_READS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::write;
    use rustix::pipe::{PipeFlags, pipe_with};

    struct Pipe {
        reader: Reader,
        writer: OwnedFd,
    }

    impl Pipe {
        fn new() -> Self {
            let (reader, writer) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap();
            Self { reader: Reader::new(reader), writer }
        }

        /// Writes, and gives the first digits of the randoms that came.
        fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
            assert_eq!(write(&self.writer, bytes).unwrap(), bytes.len());
            let mut randoms = Vec::new();
            self.reader.read(|line| randoms.push(line.client_random[0])).unwrap();
            randoms
        }
    }

    fn line(random: u8) -> Vec<u8> {
        format!("CLIENT_RANDOM {} 0102\n", format!("{random:02x}").repeat(32)).into_bytes()
    }

    #[test]
    fn lines_come_whole_however_they_are_written() {
        let mut pipe = Pipe::new();
        assert_eq!(pipe.pass(&[line(1), line(2)].concat()), [1, 2]);
        let (first, second) = (line(3), line(4));
        assert_eq!(pipe.pass(&first[..9]), []);
        assert_eq!(pipe.pass(&[&first[9..], &second[..1]].concat()), [3]);
        assert_eq!(pipe.pass(&second[1..]), [4]);
        assert_eq!(
            pipe.pass(
                &line(5).strip_suffix(b"\n").unwrap().iter().chain(b"\r\n").copied().collect::<Vec<_>>()
            ),
            [5]
        );
        assert_eq!(pipe.reader.ignored(), 0);
    }

    #[test]
    fn nonsense_is_counted_and_costs_no_memory() {
        let mut pipe = Pipe::new();
        assert_eq!(pipe.pass(&[&b"# a comment\n\nnonsense\n"[..], &line(1)].concat()), [1]);
        for _ in 0..20 {
            assert_eq!(pipe.pass(&[b'x'; 3000]), []);
            assert!(pipe.reader.rest.len() <= MAX_LINE_LEN + 4096);
        }
        assert_eq!(pipe.pass(&[&b"\n"[..], &line(2)].concat()), [2]);
        assert_eq!(pipe.reader.ignored(), 2);
    }
}
