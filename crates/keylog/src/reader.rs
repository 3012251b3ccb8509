//! A key log as it comes through a pipe.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, read};

use crate::line::Line;
use crate::lines::Lines;

/// Reads a key log as it comes.
#[derive(Debug)]
pub struct Reader {
    pipe: OwnedFd,
    lines: Lines,
}

impl Reader {
    /// Reads from a pipe that does not block (`O_NONBLOCK`).
    pub fn new(pipe: OwnedFd) -> Self {
        Self { pipe, lines: Lines::default() }
    }

    /// Lines that were neither a secret nor a comment nor empty.
    pub fn ignored(&self) -> u64 {
        self.lines.ignored()
    }

    /// Reads what has come, up to 64 KiB: each line goes to `take`, and all bytes as they are to the end of `raw`, if somebody wants them.
    ///
    /// # Errors
    /// Those of read(2); that there is nothing now is none.
    pub fn read(&mut self, mut raw: Option<&mut Vec<u8>>, mut take: impl FnMut(&Line<'_>)) -> io::Result<()> {
        let mut buffer = [0; 4096];
        for _ in 0..MAX_READS {
            match read(&self.pipe, &mut buffer) {
                Ok(0) | Err(Errno::AGAIN) => return Ok(()),
                Ok(len) => {
                    self.lines.push(&buffer[..len], &mut take);
                    if let Some(raw) = &mut raw {
                        raw.extend_from_slice(&buffer[..len]);
                    }
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

/// Readable when something has come.
impl AsFd for Reader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

const MAX_READS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::write;
    use rustix::pipe::{PipeFlags, pipe_with};

    #[test]
    fn what_comes_is_read_and_kept_as_it_was() {
        let (pipe, writer) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap();
        let mut reader = Reader::new(pipe);
        let text = format!("CLIENT_RANDOM {} 0102\n# nothing\nnonsense\nCLIENT", "ab".repeat(32));
        assert_eq!(write(&writer, text.as_bytes()).unwrap(), text.len());
        let (mut raw, mut lines) = (Vec::new(), 0);
        reader.read(Some(&mut raw), |_line| lines += 1).unwrap();
        reader.read(Some(&mut raw), |_line| lines += 1).unwrap();
        assert_eq!((lines, reader.ignored()), (1, 1));
        assert_eq!(raw, text.as_bytes());
        drop(writer);
        reader.read(None, |_line| lines += 1).unwrap();
        assert_eq!(lines, 1);
    }
}
