//! Making a second process.
//!
//! # Kernel interface
//! fork(2), getpgid(2), _exit(2).

use std::io;

use rustix::process::Pid;

/// Which of the two processes the caller is in now.
#[derive(Debug)]
pub enum Fork {
    /// The process that called, with the child's pid.
    Parent(Pid),
    /// The new process.
    Child,
}

/// Splits this process in two. The child starts as a copy, with the calling thread alone.
///
/// # Errors
/// `EAGAIN` at the limit of processes (`RLIMIT_NPROC`, `pids.max`), `ENOMEM`.
///
/// # Panics
/// When this process has more than one thread: a lock that another thread holds would stay locked in the child for ever.
pub fn fork() -> io::Result<Fork> {
    assert_eq!(threads(), 1, "fork is called before any thread is started, or after all have been joined");
    // SAFETY: this process has one thread, so no lock is held by somebody who does not exist in the child, and the child
    // may use everything that the parent could.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(Pid::from_raw(pid).expect("fork returns a positive pid to the parent"))),
    }
}

/// Whether a process is in our process group, and gets what a terminal sends to us. False if it is gone.
///
/// Not by rustix: to a process in a pid namespace a group that was made outside of it has the number 0, which is no `Pid`.
pub fn is_in_our_process_group(pid: Pid) -> bool {
    // SAFETY: getpgid(2) takes an integer and gives one; 0 asks for our own group.
    let (theirs, ours) = unsafe { (libc::getpgid(pid.as_raw_nonzero().get()), libc::getpgid(0)) };
    theirs == ours
}

/// Ends this process at once, without running destructors or exit handlers.
///
/// The child of a fork ends so: what it inherited is its parent's to tidy up.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit(2) takes an integer and does not return.
    unsafe { libc::_exit(status) }
}

/// The number of threads of this process. A thread that was joined may be listed for a moment longer, so we look again.
fn threads() -> usize {
    let listed = || std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    (0..1000)
        .map(|_| listed())
        .find(|&count| {
            if count > 1 {
                std::thread::yield_now();
            }
            count == 1
        })
        .unwrap_or_else(listed)
}
