//! What a lease's file says: which setting, what it was, what it is kept at. Three lines.
//!
//! It is replaced by one write of less than a page, which a signal cannot split, and only then cut to its new length.
//! So whoever is killed leaves the old three lines or the new three lines at the start of the file, and a reader stops
//! after three.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// What a lease's file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The setting's path below `/proc/sys`.
    pub(crate) key: String,
    /// The value to give back.
    pub(crate) original: String,
    /// The value that is leased.
    pub(crate) wanted: String,
}

impl Record {
    /// Reads the record. `None`: its writer was killed before it changed anything.
    pub(crate) fn read(file: &File) -> io::Result<Option<Self>> {
        let mut bytes = vec![0; CAPACITY];
        let len = file.read_at(&mut bytes, 0)?;
        Ok(std::str::from_utf8(&bytes[..len]).ok().and_then(Self::parse))
    }

    /// Writes the record down. Called before the setting is changed.
    pub(crate) fn write(&self, file: &File) -> io::Result<()> {
        let text = format!("{}\n{}\n{}\n", self.key, self.original, self.wanted);
        if text.len() > CAPACITY {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        file.write_all_at(text.as_bytes(), 0)?;
        file.set_len(text.len() as u64)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split_inclusive('\n').map(|line| line.strip_suffix('\n'));
        let mut next = || lines.next().flatten().map(str::to_owned);
        Some(Self { key: next()?, original: next()?, wanted: next()? })
    }
}

/// The smallest page of any architecture.
const CAPACITY: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn record(original: &str) -> Record {
        Record { key: "net/ipv4/conf/eth0/forwarding".into(), original: original.into(), wanted: "1".into() }
    }

    #[test]
    fn three_lines_make_a_record_and_less_make_none() {
        let text = "net/ipv4/conf/eth0/forwarding\n0\n1\n";
        assert_eq!(Record::parse(text), Some(record("0")));
        for len in 0..text.len() {
            assert_eq!(Record::parse(&text[..len]), None, "{:?}", &text[..len]);
        }
    }

    #[test]
    fn what_an_older_record_left_behind_is_not_read() {
        assert_eq!(Record::parse("net/ipv4/conf/eth0/forwarding\n0\n1\n999\n1\n"), Some(record("0")));
    }

    #[test]
    fn an_empty_value_survives() {
        assert_eq!(Record::parse("net/ipv4/conf/eth0/forwarding\n\n1\n"), Some(record("")));
    }
}
