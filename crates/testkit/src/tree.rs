//! The processes below nsntrace's front: which is the worker, which is the program.
//!
//! # Kernel interface
//! `/proc/PID/task/TID/children` and `/proc/PID/stat`, proc(5), in the procfs of the test, which sees every machine's processes.

use std::fs;
use std::path::PathBuf;

use crate::process;

/// A process that a test did not start itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Member {
    /// Its pid as this process sees it.
    pub pid: u32,
    /// The name that the kernel keeps for it, at most 15 bytes.
    pub name: String,
    /// One letter, `Z` for a zombie.
    pub state: char,
    /// Its process group.
    pub pgrp: u32,
    /// Its session.
    pub session: u32,
}

impl Member {
    /// Reads what the kernel says of a process; `None` when it is gone.
    pub fn read(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name is between parentheses and may have any character in it, parentheses too.
        let (start, rest) = stat.rsplit_once(") ")?;
        let name = start.split_once('(')?.1.to_owned();
        let mut fields = rest.split(' ');
        let state = fields.next()?.chars().next()?;
        let mut number = |skip| fields.nth(skip)?.parse().ok();
        Some(Self { pid, name, state, pgrp: number(1)?, session: number(0)? })
    }

    /// Whether it has ended and waits to be reaped, or is gone.
    pub fn has_ended(&self) -> bool {
        Self::read(self.pid).is_none_or(|now| now.state == 'Z')
    }

    /// Its pid as it sees it itself.
    pub fn inner_pid(&self) -> Option<u32> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        status.lines().find(|line| line.starts_with("NSpid:"))?.split_whitespace().last()?.parse().ok()
    }

    /// Its network namespace.
    pub fn netns(&self) -> Option<PathBuf> {
        fs::read_link(format!("/proc/{}/ns/net", self.pid)).ok()
    }

    /// Sends it a signal; one that is gone gets none.
    pub fn signal(&self, number: i32) {
        process::send(self.pid, number);
    }
}

/// The worker of a front: the child that leads a session of its own.
pub fn worker_of(front: u32) -> Option<Member> {
    children(front).into_iter().find(|child| child.session == child.pid)
}

/// The program of a front: the other child, once it is in another network namespace and has become what was asked for.
pub fn program_of(front: u32) -> Option<Member> {
    let home = Member::read(front)?;
    let is_program = |child: &Member| child.session == home.session && child.name != home.name;
    children(front).into_iter().find(|child| is_program(child) && child.netns() != home.netns())
}

/// The same, before it has become what was asked for, too.
pub fn becoming_program_of(front: u32) -> Option<Member> {
    let home = Member::read(front)?;
    children(front).into_iter().find(|child| child.session == home.session)
}

/// The witness: worker's child.
pub fn witness_of(worker: u32) -> Option<Member> {
    children(worker).into_iter().next()
}

fn children(pid: u32) -> Vec<Member> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let pids: Vec<u32> =
        lists.flat_map(|l| l.split(' ').filter_map(|p| p.parse().ok()).collect::<Vec<_>>()).collect();
    pids.into_iter().filter_map(Member::read).collect()
}
