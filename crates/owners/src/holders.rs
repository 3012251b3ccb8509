//! Who holds which socket: the last resort.
//!
//! # Kernel interface
//! `/proc/PID/fd`, `/proc/PID/ns/net`, for whoever may trace the process. 16 to 40 µs for each descriptor.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use crate::caller::credentials;
use crate::numbers::Numbers;
use crate::place::netns;
use crate::process::{Process, Reader};
use crate::word::{Line, Maker, Word};

/// Looks through a network namespace.
#[derive(Debug)]
pub struct Holders {
    netns: OsString,
    reader: Reader,
    numbers: Numbers,
}

impl Holders {
    /// Of the processes in `namespace`.
    ///
    /// # Errors
    /// procfs does not tell which it is.
    pub fn of(namespace: BorrowedFd<'_>, wants_command_line: bool) -> io::Result<Self> {
        let netns = fs::read_link(format!("/proc/self/fd/{}", namespace.as_raw_fd()))?.into();
        let reader = Reader::new(wants_command_line);
        Ok(Self { netns, reader, numbers: Numbers::from(FIRST_NUMBER) })
    }

    /// Says of each socket in the namespace who holds it. Of several, each.
    pub fn look(&mut self, line: &Line) {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        for pid in processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
            if netns(&pid.to_string()).is_some_and(|netns| netns == self.netns) {
                // It may be gone by now.
                let _gone = self.tell_of(pid, line);
            }
        }
        line.say(&Word::Looked);
    }

    fn tell_of(&mut self, pid: u32, line: &Line) -> Option<()> {
        let mut inodes = sockets(pid).peekable();
        inodes.peek()?;
        let process = self.reader.read(&credentials(i32::try_from(pid).ok()?, None)?)?;
        let tell = |number, process: &Process| {
            line.say(&Word::Process(number, process.clone()));
        };
        let maker = Maker { process: self.numbers.of(process, tell), tid: 0, since_ns: 0 };
        inodes.for_each(|inode| {
            line.say(&Word::Holds { inode, maker });
        });
        Some(())
    }
}

/// Inodes of the sockets that a process holds.
fn sockets(pid: u32) -> impl Iterator<Item = u64> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    descriptors.filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    })
}

/// The other numbers are for those who were seen making sockets.
const FIRST_NUMBER: u32 = 1 << 31;

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::{AsFd as _, OwnedFd};
    use std::os::unix::fs::MetadataExt as _;

    use rustix::net::RecvFlags;

    use super::*;

    #[test]
    fn our_own_socket_is_ours() {
        let namespace = fs::File::open("/proc/self/ns/net").unwrap();
        let socket = OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap());
        let ours = fs::File::from(socket).metadata().unwrap().ino();
        let (one, other) = Line::pair().unwrap();
        Holders::of(namespace.as_fd(), false).unwrap().look(&other);
        let (mut known, mut holder) = (std::collections::HashMap::new(), None);
        loop {
            match one.hear(RecvFlags::DONTWAIT).unwrap().unwrap() {
                Word::Process(number, process) => {
                    known.insert(number, process.pid);
                }
                Word::Holds { inode, maker } if inode == ours => holder = Some(known[&maker.process]),
                Word::Holds { .. } => {}
                Word::Looked => break,
                word => panic!("{word:?}"),
            }
        }
        assert_eq!(holder, None, "it was closed");
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
        let inode =
            sockets(std::process::id()).find(|inode| link.to_str() == Some(&format!("socket:[{inode}]")));
        assert!(inode.is_some());
    }
}
