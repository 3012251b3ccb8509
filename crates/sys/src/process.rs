//! Making a second process, and becoming another program.
//!
//! # Kernel interface
//! fork(2), execve(2), getpgid(2), setfsuid(2), setfsgid(2), _exit(2).

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::iter;
use std::os::unix::ffi::OsStrExt as _;
use std::ptr;
use std::thread;
use std::time::{Duration, Instant};

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
/// To be called before any thread is started, or after all have been joined: a lock that another thread holds would stay locked in the
/// child for ever. The kernel lists a thread a moment longer than it takes to join it; that moment is waited for.
///
/// # Errors
/// `EAGAIN` at the limit of processes (`RLIMIT_NPROC`, `pids.max`), `ENOMEM`. In words: another thread has not ended within 2 s.
pub fn fork() -> io::Result<Fork> {
    wait_until_single_threaded()?;
    // SAFETY: this process has one thread, so no lock is held by somebody who does not exist in the child, and the child
    // may use everything that the parent could.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Pid::from_raw(pid).map_or(Fork::Child, Fork::Parent))
}

/// Makes this process another program, with some more environment variables than ours, searched for in PATH as execvp(3) does. Returns only if that fails,
/// and then those variables are set. To be called in a process with one thread.
///
/// # Errors
/// `ENOENT`, `EACCES`, `ENOEXEC`, `E2BIG`: see execve(2). [`InvalidInput`](io::ErrorKind::InvalidInput): a word has a zero byte.
pub fn exec<'a>(
    program: &'a OsStr,
    arguments: impl IntoIterator<Item = &'a OsStr>,
    variables: impl IntoIterator<Item = (&'static str, OsString)>,
) -> io::Error {
    let words = iter::once(program).chain(arguments).map(|word| CString::new(word.as_bytes()));
    let Ok(words) = words.collect::<Result<Vec<_>, _>>() else { return io::ErrorKind::InvalidInput.into() };
    let pointers: Vec<_> = words.iter().map(|word| word.as_ptr()).chain([ptr::null()]).collect();
    for (name, value) in variables {
        // SAFETY: no other thread reads the environment meanwhile, since there is none.
        unsafe { std::env::set_var(name, value) };
    }
    // SAFETY: the pointers lead to words that end with a zero byte and live as long as this process does, and end with a null pointer. `SIG_DFL` is
    // a valid disposition: Rust has ignored this signal since our start, and no program is to find it so.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::execvp(pointers[0], pointers.as_ptr());
    }
    io::Error::last_os_error()
}

/// Has the calling thread, and no other, open files as somebody else would. Its supplementary groups are set apart from this.
///
/// # Errors
/// `EPERM` without `CAP_SETUID` and `CAP_SETGID`. See setfsuid(2).
pub fn become_on_files(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: both calls take an integer and give the id of before; with -1, which is nobody's, that is all they do. They act on the calling thread
    // alone, as the libraries' other calls of this kind do not.
    let now = unsafe {
        libc::setfsgid(gid);
        libc::setfsuid(uid);
        [libc::setfsgid(libc::gid_t::MAX), libc::setfsuid(libc::uid_t::MAX)]
    };
    let is_done = now.map(i32::cast_unsigned) == [gid, uid];
    if is_done { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EPERM)) }
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

/// Waits until every thread that has been joined is gone for the kernel, too.
pub(crate) fn wait_until_single_threaded() -> io::Result<()> {
    wait_until_alone(threads, PATIENCE)
}

/// Waits until `threads` counts one.
fn wait_until_alone(threads: impl Fn() -> usize, limit: Duration) -> io::Result<()> {
    let deadline = Instant::now() + limit;
    loop {
        match threads() {
            0 | 1 => return Ok(()),
            _ if Instant::now() >= deadline => {
                return Err(io::Error::other("another thread of this process does not end"));
            }
            // Nothing tells of a thread's end before Linux 6.9 (PIDFD_THREAD).
            _ => thread::sleep(STEP),
        }
    }
}

/// The number of threads of this process, as procfs lists them. Without procfs nobody else is known of.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

/// Thousands of times what a joined thread takes to go on a machine with nothing else to do.
const PATIENCE: Duration = Duration::from_secs(2);
/// About what it takes there.
const STEP: Duration = Duration::from_micros(50);

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_thread_that_is_going_is_waited_for() {
        let left = Cell::new(1000);
        let threads = || left.replace(left.get() - 1);
        assert!(wait_until_alone(threads, PATIENCE).is_ok());
        assert_eq!(left.get(), 0);
    }

    #[test]
    fn a_thread_that_stays_is_an_error_in_time() {
        let began = Instant::now();
        let error = wait_until_alone(|| 3, Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.to_string(), "another thread of this process does not end");
        assert!(began.elapsed() >= Duration::from_millis(20));
    }

    /// The test runner has threads of its own.
    #[test]
    fn threads_are_counted() {
        let one_more = thread::scope(|scope| scope.spawn(threads).join().unwrap());
        assert!(one_more >= 2, "{one_more}");
    }
}
