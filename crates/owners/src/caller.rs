//! The thread that wants a socket.
//!
//! # Theory of operation
//! To look at a thread costs more than its socket, so what was seen is remembered for as long as it holds. It does not hold any more when the
//! thread executes another program: then its old environment, that is its memory, is gone. Nor when its
//! credentials or its control group have changed, nor after a call by which it may have gone to another network namespace.
//!
//! # Kernel interface
//! `/proc/TID/environ`, which an open file keeps that of the memory that the thread had at the open; `/proc/TID/status`.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;

use nsntrace_sys::{Credentials, Held, open_thread};

use crate::numbers::Numbers;
use crate::place::Place;
use crate::process::{Process, Reader};
use crate::word::Maker;

/// What is known of a thread that stands still.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) maker: Maker,
    pub(crate) credentials: Credentials,
    /// A socket that we make is as its own would be.
    pub(crate) is_at_home: bool,
}

/// Threads that were seen.
#[derive(Debug)]
pub(crate) struct Callers {
    reader: Reader,
    home: Place,
    seen: HashMap<(i32, u64), Seen>,
    /// May have left their network namespace.
    movers: HashSet<i32>,
    numbers: Numbers,
}

#[derive(Debug)]
struct Seen {
    caller: Caller,
    environ: File,
    thread: Option<OwnedFd>,
}

impl Callers {
    /// Whoever is where the calling thread is, is at home.
    pub(crate) fn of(home: Place, reader: Reader) -> Self {
        let (seen, movers) = (HashMap::new(), HashSet::new());
        Self { reader, home, seen, movers, numbers: Numbers::from(0) }
    }

    /// Whose call is held. `tell` hears of a process that was not known. None if it is gone.
    pub(crate) fn find(&mut self, held: &Held, tell: impl FnOnce(u32, &Process)) -> Option<Caller> {
        // The same thread calls from elsewhere: another program, or another place of it.
        let key = (held.tid, held.instruction);
        if let Some(seen) = self.seen.get(&key).filter(|seen| seen.holds(held.tid)) {
            return Some(seen.caller);
        }
        let seen = self.look(held, tell)?;
        let caller = seen.caller;
        if !self.movers.contains(&held.tid) {
            if self.seen.len() >= MAX_SEEN {
                self.seen.clear();
            }
            self.seen.insert(key, seen);
        }
        Some(caller)
    }

    /// The thread may be in another network namespace from now on.
    pub(crate) fn may_move(&mut self, tid: i32) {
        self.seen.retain(|(seen, _), _| *seen != tid);
        self.movers.insert(tid);
    }

    fn look(&mut self, held: &Held, tell: impl FnOnce(u32, &Process)) -> Option<Seen> {
        let tid = held.tid;
        let environ = File::open(format!("/proc/{tid}/environ")).ok()?;
        let thread = open_thread(tid).ok();
        let credentials = credentials(tid, thread.as_ref())?;
        let is_at_home = Place::of(&tid.to_string()).is_some_and(|place| place == self.home);
        let process = self.numbers.of(self.reader.read(&credentials)?, tell);
        let caller = Caller { maker: Maker { process, tid: tid.unsigned_abs() }, credentials, is_at_home };
        Some(Seen { caller, environ, thread })
    }
}

impl Seen {
    fn holds(&self, tid: i32) -> bool {
        // What has no environment is looked at each time.
        let is_same_program = self.environ.read_at(&mut [0], 0).is_ok_and(|len| len == 1);
        is_same_program
            && credentials(tid, self.thread.as_ref()).is_some_and(|now| now == self.caller.credentials)
    }
}

/// By the kernel's own word, or before Linux 6.13 by procfs'.
pub(crate) fn credentials(tid: i32, thread: Option<&OwnedFd>) -> Option<Credentials> {
    match thread.map(|thread| Credentials::of(thread.as_fd())) {
        Some(Ok(credentials)) => Some(credentials),
        _ => parse_status(&String::from_utf8_lossy(&fs::read(format!("/proc/{tid}/status")).ok()?)),
    }
}

fn parse_status(status: &str) -> Option<Credentials> {
    let numbers = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.split_ascii_whitespace().map_while(|number| number.parse().ok()).collect::<Vec<u32>>())
    };
    let (uids, gids) = (numbers("Uid")?, numbers("Gid")?);
    Some(Credentials {
        pid: *numbers("Tgid")?.first()?,
        parent: *numbers("PPid")?.first()?,
        uid: *uids.get(1)?,
        file_user: (*uids.get(3)?, *gids.get(3)?),
        cgroup: None,
    })
}

/// Two descriptors each.
const MAX_SEEN: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn procfs_says_what_the_kernel_does() {
        let status =
            "Name:\tcat\nTgid:\t7\nPid:\t8\nPPid:\t3\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t9 \n";
        let expected = Credentials { pid: 7, parent: 3, uid: 2, file_user: (4, 8), cgroup: None };
        assert_eq!(parse_status(status), Some(expected));
        assert_eq!(parse_status("Name:\tcat\n"), None);
        let tid = rustix::thread::gettid().as_raw_nonzero().get();
        let by_kernel = credentials(tid, open_thread(tid).ok().as_ref()).unwrap();
        let by_procfs = credentials(tid, None).unwrap();
        assert_eq!(Credentials { cgroup: None, ..by_kernel }, by_procfs);
    }

    #[test]
    fn a_thread_is_looked_at_once_until_something_changes() {
        let tid = rustix::thread::gettid().as_raw_nonzero().get();
        let held = Held { id: 1, tid, instruction: 7, wish: nsntrace_sys::Wish::Namespace };
        let mut callers = Callers::of(Place::of_this_thread().unwrap(), Reader::new(false));
        let mut told = Vec::new();
        let first = callers.find(&held, |number, process| told.push((number, process.pid))).unwrap();
        assert!(first.is_at_home);
        assert_eq!(told, [(0, std::process::id())]);
        let again = callers.find(&held, |_, _| unreachable!()).unwrap();
        assert_eq!((again.maker, callers.seen.len()), (first.maker, 1));
        callers.may_move(tid);
        assert!(callers.find(&held, |_, _| unreachable!()).unwrap().is_at_home);
        assert_eq!(callers.seen.len(), 0, "it is looked at each time");
    }
}
