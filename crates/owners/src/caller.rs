//! The thread whose call is held.
//!
//! # Theory of operation
//! To look at a thread costs more than its socket, so what was seen is remembered for as long as it holds. It does not hold any more when the
//! thread executes another program: then its old memory is gone. Nor, after a moment, when it has become another user. For a socket that is made on
//! its behalf more is looked at: its credentials and control group each time, and where it is, once, or each time after it may have gone to another network namespace.
//!
//! # Kernel interface
//! `/proc/TID/pagemap` (proc_pid_pagemap(5)), which an open file keeps that of the memory that the thread had at the open: a read that is too short is `EINVAL`, or the end of
//! the file once that memory is gone, which costs the kernel nothing else. `/proc/TID/environ`, where there is none. `/proc/TID/status`; pidfd_open(2), pidfd_getfd(2).

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use nsntrace_sys::{Credentials, Held, open_thread};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::numbers::Numbers;
use crate::place::Place;
use crate::process::{Process, Reader};
use crate::word::Maker;

/// Threads that were seen.
#[derive(Debug)]
pub(crate) struct Callers {
    reader: Reader,
    home: Place,
    seen: HashMap<(i32, u64), Caller>,
    /// May have left their network namespace.
    movers: HashSet<i32>,
    numbers: Numbers,
}

/// What is known of a thread that stands still.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) maker: Maker,
    pub(crate) credentials: Credentials,
    memory: File,
    /// When its credentials were read.
    seen: Instant,
    thread: Option<Thread>,
    /// A socket that we make is as its own would be.
    is_at_home: Option<bool>,
}

/// What its descriptors are taken by.
#[derive(Debug)]
struct Thread {
    pidfd: OwnedFd,
    /// It is of its process, whose descriptors may be others: before Linux 6.9.
    is_of_process: bool,
}

impl Callers {
    /// Whoever is where the calling thread is, is at home.
    pub(crate) fn of(home: Place, reader: Reader) -> Self {
        let (seen, movers) = (HashMap::new(), HashSet::new());
        Self { reader, home, seen, movers, numbers: Numbers::from(0) }
    }

    /// Whose call is held. `tell` hears of a process that was not known. None if it is gone.
    pub(crate) fn find(&mut self, held: &Held, tell: impl FnOnce(u32, &Process)) -> Option<&Caller> {
        // The same thread calls from elsewhere: another program, or another place of it.
        let key = (held.tid, held.instruction);
        if !self.seen.get_mut(&key).is_some_and(Caller::holds) {
            let caller = self.look(held.tid, tell)?;
            if self.seen.len() >= MAX_SEEN {
                self.seen.clear();
            }
            self.seen.insert(key, caller);
        }
        self.seen.get(&key)
    }

    /// The same, if a socket that we make is as its own would be.
    pub(crate) fn find_at_home(&mut self, held: &Held, tell: impl FnOnce(u32, &Process)) -> Option<&Caller> {
        let key = (held.tid, held.instruction);
        if self.seen.get(&key).is_some_and(|caller| !caller.has_same_credentials()) {
            self.forget(held.tid);
        }
        self.find(held, tell)?;
        let is_mover = self.movers.contains(&held.tid);
        let caller = self.seen.get_mut(&key)?;
        if is_mover {
            caller.is_at_home = None;
        }
        let home = &self.home;
        let is_home = || Place::of(&held.tid.to_string()).is_some_and(|place| place == *home);
        let is_at_home = *caller.is_at_home.get_or_insert_with(is_home);
        is_at_home.then_some(caller)
    }

    /// The thread may be in another network namespace from now on.
    pub(crate) fn may_move(&mut self, tid: i32) {
        self.movers.insert(tid);
    }

    /// The thread is to be looked at again.
    pub(crate) fn forget(&mut self, tid: i32) {
        self.seen.retain(|(seen, _), _| *seen != tid);
    }

    fn look(&mut self, tid: i32, tell: impl FnOnce(u32, &Process)) -> Option<Caller> {
        let open = |name: &str| File::open(format!("/proc/{tid}/{name}"));
        let (memory, seen) = (open("pagemap").or_else(|_absent| open("environ")).ok()?, Instant::now());
        let pidfd = open_thread(tid).ok();
        let credentials = credentials(tid, pidfd.as_ref())?;
        let thread = match pidfd {
            Some(pidfd) => Some(Thread { pidfd, is_of_process: false }),
            None => open_process(credentials.pid).map(|pidfd| Thread { pidfd, is_of_process: true }),
        };
        let process = self.numbers.of(self.reader.read(&credentials)?, tell);
        let maker = Maker { process, tid: tid.unsigned_abs(), since_ns: 0 };
        Some(Caller { maker, credentials, memory, seen, thread, is_at_home: None })
    }
}

impl Caller {
    fn holds(&mut self) -> bool {
        if !self.is_same_program() {
            return false;
        }
        let now = Instant::now();
        let is_recent = now.duration_since(self.seen) < MOMENT;
        if !is_recent {
            self.seen = now;
        }
        is_recent || self.has_same_credentials()
    }

    fn is_same_program(&self) -> bool {
        match self.memory.read_at(&mut [0], 0) {
            Ok(len) => len == 1,
            Err(error) => Errno::from_io_error(&error) == Some(Errno::INVAL),
        }
    }

    fn has_same_credentials(&self) -> bool {
        let tid = self.maker.tid.cast_signed();
        credentials(tid, self.own_pidfd()).is_some_and(|now| now == self.credentials)
    }

    /// A duplicate of one of its descriptors.
    ///
    /// # Errors
    /// `EBADF`: it has none of that number. `ESRCH`: this is another thread, the one that was seen is gone.
    pub(crate) fn descriptor(&self, fd: i32) -> Result<OwnedFd, Errno> {
        let Thread { pidfd, is_of_process } = self.thread.as_ref().ok_or(Errno::OPNOTSUPP)?;
        let duplicate = pidfd_getfd(pidfd, fd, PidfdGetfdFlags::empty())?;
        if *is_of_process && !self.has(fd, duplicate.as_fd()) {
            return Err(Errno::BADF);
        }
        Ok(duplicate)
    }

    /// Whether the thread itself has this, and not only others of its process.
    fn has(&self, fd: i32, duplicate: BorrowedFd<'_>) -> bool {
        let Maker { tid, .. } = self.maker;
        let name = fs::read_link(format!("/proc/{tid}/fd/{fd}"));
        let inode = rustix::fs::fstat(duplicate).map(|stat| stat.st_ino);
        matches!((name, inode), (Ok(name), Ok(inode)) if name.to_str() == Some(&format!("socket:[{inode}]")))
    }

    fn own_pidfd(&self) -> Option<&OwnedFd> {
        self.thread.as_ref().filter(|thread| !thread.is_of_process).map(|thread| &thread.pidfd)
    }
}

fn open_process(pid: u32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(pid.cast_signed())?, PidfdFlags::empty()).ok()
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

/// To read credentials costs a tenth of what all the rest does.
const MOMENT: Duration = Duration::from_millis(10);
/// Two descriptors each.
const MAX_SEEN: usize = 200;

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use rustix::net::sockopt;

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

    fn held() -> Held {
        let tid = rustix::thread::gettid().as_raw_nonzero().get();
        Held { id: 1, tid, instruction: 7, wish: nsntrace_sys::Wish::Namespace }
    }

    fn callers() -> Callers {
        Callers::of(Place::of_this_thread().unwrap(), Reader::new(false))
    }

    #[test]
    fn a_thread_is_looked_at_once_until_something_changes() {
        let (held, mut callers) = (held(), callers());
        let mut told = Vec::new();
        let first = callers.find_at_home(&held, |number, process| told.push((number, process.pid)));
        let first = first.unwrap().maker;
        assert_eq!(told, [(0, std::process::id())]);
        assert_eq!(callers.find(&held, |_, _| unreachable!()).unwrap().maker, first);
        assert_eq!(callers.seen.len(), 1);
        callers.may_move(held.tid);
        callers.home = Place::default();
        assert!(callers.find_at_home(&held, |_, _| unreachable!()).is_none(), "it is looked at each time");
        assert_eq!(callers.find(&held, |_, _| unreachable!()).unwrap().maker, first);
        callers.forget(held.tid);
        assert_eq!(callers.seen.len(), 0);
    }

    #[test]
    fn memory_is_gone_with_its_program() {
        for name in ["pagemap", "environ"] {
            let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
            let mut caller = callers().look(held().tid, |_, _| {}).unwrap();
            caller.memory = File::open(format!("/proc/{}/{name}", child.id())).unwrap();
            // It may not have its environment yet.
            let deadline = Instant::now() + Duration::from_mins(1);
            while !caller.is_same_program() {
                assert!(Instant::now() < deadline, "{name}");
            }
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(!caller.is_same_program(), "{name}");
        }
    }

    #[test]
    fn another_user_is_seen_after_a_moment() {
        let (mut callers, held) = (callers(), held());
        let mut caller = callers.look(held.tid, |_, _| {}).unwrap();
        caller.credentials.uid ^= 1;
        assert!(!caller.has_same_credentials());
        caller.seen = Instant::now().checked_sub(MOMENT).unwrap();
        assert!(!caller.holds());
    }

    #[test]
    fn a_descriptor_is_the_threads_own() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let (fd, cookie) = (socket.as_raw_fd(), sockopt::socket_cookie(&socket).unwrap());
        let (held, mut callers) = (held(), callers());
        let caller = callers.find(&held, |_, _| {}).unwrap();
        assert_eq!(sockopt::socket_cookie(caller.descriptor(fd).unwrap()).unwrap(), cookie);
        assert_eq!(caller.descriptor(1 << 20).unwrap_err(), Errno::BADF);
        // As before Linux 6.9.
        let pidfd = open_process(std::process::id()).unwrap();
        let mut caller = callers.seen.remove(&(held.tid, held.instruction)).unwrap();
        caller.thread = Some(Thread { pidfd, is_of_process: true });
        assert_eq!(sockopt::socket_cookie(caller.descriptor(fd).unwrap()).unwrap(), cookie);
        assert!(!caller.has(1 << 20, socket.as_fd()));
        assert!(!caller.has(fd, std::net::UdpSocket::bind("127.0.0.1:0").unwrap().as_fd()));
    }
}
