//! What a process does when one of its threads cannot go on: a panic, which is a bug of ours.
//!
//! # Theory of operation
//! Nothing unwinds. The thread that has failed says which it is and ends the process, and the kernel takes what that held: whoever waits for a process hears of its
//! end, and nobody waits for a thread that will never answer. One thread may have what must not be lost with it: it has said so, is told to complete that, and waited
//! for, but not for ever, since it may in turn wait for the one that has failed.
//!
//! A binary without the words of panics has a trap in their place, which arrives as a signal; so all of this is done by calls that a handler may make. Others come
//! here by the hook of [`mod@std::panic`], which says those words first.
//!
//! # Kernel interface
//! sigaction(2): `SIGILL` is the trap of x86, `SIGTRAP` that of ARM, `SIGABRT` is abort(3)'s, which Rust's library calls when `SIGSEGV` tells it of a stack
//! that is full. prctl(2) `PR_GET_NAME`, writev(2), poll(2), pause(2), _exit(2).
//!
//! # References
//! signal-safety(7). A trap whose signal is blocked kills the process: `force_sig_info_to_task()` in kernel/signal.c.

use std::io::IoSlice;
use std::mem;
use std::os::fd::OwnedFd;
use std::panic;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{Timespec, pause, poll};
use rustix::io::{write, writev};
use rustix::process::{Pid, Signal};
use rustix::stdio::stderr;
use rustix::thread::gettid;

use crate::process::exit_now;
use crate::signals::unblock;

/// From now on a thread that fails ends this process, or what was forked from it, with a line on standard error and status 125.
///
/// A signal that is ignored stays so, for the program that we may become.
pub fn prepare() {
    let words = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        words(panic);
        fail();
    }));
    for signal in TRAPS {
        let signal = signal.as_raw();
        // SAFETY: the handler does nothing but what signal-safety(7) allows; zeros are an action, the default one; any action may be put back.
        unsafe {
            let mut before: libc::sigaction = mem::zeroed();
            let ours = libc::sigaction {
                sa_sigaction: on_trap as *const () as libc::sighandler_t,
                sa_flags: libc::SA_SIGINFO,
                ..mem::zeroed()
            };
            libc::sigaction(signal, &raw const ours, &raw mut before);
            if before.sa_sigaction != libc::SIG_DFL {
                libc::sigaction(signal, &raw const before, ptr::null_mut());
            }
        }
    }
}

/// Has somebody be told instead of the user, in this process: `prefix`, and the name of the thread that has failed, in one piece. To be called before others are started,
/// since they must have the signals of traps unblocked.
pub fn tell(whom: OwnedFd, prefix: &'static [u8]) {
    let _told_already = TOLD.set((whom, prefix));
    unblock(&TRAPS);
    unblock(&[FULL_STACK]);
}

/// When another thread fails, has the calling one complete what it is at: a byte comes out of the pipe that `stop` leads into. It is to say so by [`completed`].
pub fn complete_first(stop: OwnedFd) {
    let _one_is_enough = COMPLETING.set((gettid(), stop));
}

/// Ends the process if a thread has failed, now that nothing is lost by it.
pub fn completed() {
    if HAS_BEGUN.load(Ordering::Acquire) {
        exit_now(STATUS);
    }
}

extern "C" fn on_trap(signal: libc::c_int, info: *const libc::siginfo_t, _context: *const libc::c_void) {
    // SAFETY: the kernel has filled it in, as SA_SIGINFO was asked for.
    if unsafe { (*info).si_code } != libc::SI_USER {
        fail();
    }
    // By kill(2): no bug, but somebody's wish, and it is as if nobody had looked.
    // SAFETY: both may be called in a handler. The signal is held until this one has returned.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

/// Ends the process. Whoever fails while that is being done stands still.
fn fail() -> ! {
    while HAS_BEGUN.swap(true, Ordering::AcqRel) {
        pause();
    }
    say();
    if let Some((thread, stop)) = COMPLETING.get()
        && *thread != gettid()
        && write(stop, b"!").is_ok()
    {
        let _too_long = poll(&mut [], Some(&PATIENCE));
    }
    exit_now(STATUS)
}

/// Says which thread has failed. Where that cannot be said nobody is left to tell.
fn say() {
    let mut name = [0_u8; NAME_BYTES];
    // SAFETY: the kernel writes so many bytes at most, the zero at the end included.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    let _unheard = match TOLD.get() {
        Some((whom, prefix)) => writev(whom, &[prefix, name].map(IoSlice::new)),
        None => {
            writev(stderr(), &[b"nsntrace: thread ", name, b" has failed: this is a bug\n"].map(IoSlice::new))
        }
    };
}

static HAS_BEGUN: AtomicBool = AtomicBool::new(false);
/// Who is told, and how that begins.
static TOLD: OnceLock<(OwnedFd, &[u8])> = OnceLock::new();
/// Who has what must not be lost, and how it is told.
static COMPLETING: OnceLock<(Pid, OwnedFd)> = OnceLock::new();

const TRAPS: [Signal; 3] = [Signal::ILL, Signal::TRAP, Signal::ABORT];
/// Rust's library handles it, on a stack of its own, and aborts.
const FULL_STACK: Signal = Signal::SEGV;
/// As long as it takes to write what a ring holds to a disk that is not the fastest.
const PATIENCE: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };
/// Ours have failed, as 0003 of the decisions has it.
const STATUS: i32 = 125;
/// TASK_COMM_LEN.
const NAME_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use std::process::{Command, Output};
    use std::thread;
    use std::time::Instant;

    use rustix::io::read;
    use rustix::pipe::pipe;

    use super::*;

    /// Runs `act` in a process of its own, which is this test once more, and which it is to end.
    fn ends(test: &str, act: fn()) -> Output {
        if std::env::var_os(APART).is_some() {
            prepare();
            act();
            std::process::exit(0);
        }
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "--nocapture", &format!("failing::tests::{test}")]).env(APART, "");
        let output = again.output().unwrap();
        assert_eq!(output.status.code(), Some(STATUS), "{output:?}");
        output
    }

    const APART: &str = "NSNTRACE_TEST_APART";

    fn in_thread(act: impl FnOnce() + Send + 'static) {
        let _ended = thread::Builder::new().name("shaky".into()).spawn(act).unwrap().join();
    }

    #[test]
    fn a_panic_says_what_and_who_and_ends_the_process() {
        let test = "a_panic_says_what_and_who_and_ends_the_process";
        let said = ends(test, || in_thread(|| panic!("on purpose"))).stderr;
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains("on purpose"), "{said}");
        assert!(said.ends_with("\nnsntrace: thread shaky has failed: this is a bug\n"), "{said}");
    }

    #[test]
    fn so_does_a_trap() {
        let raise = || {
            in_thread(|| {
                // SAFETY: raise(3) takes an integer.
                unsafe {
                    libc::raise(if cfg!(target_arch = "x86_64") { libc::SIGILL } else { libc::SIGTRAP })
                };
            });
        };
        let said = ends("so_does_a_trap", raise).stderr;
        assert_eq!(String::from_utf8(said).unwrap(), "nsntrace: thread shaky has failed: this is a bug\n");
    }

    #[test]
    fn somebody_else_is_told_though_signals_were_blocked() {
        let act = || {
            let (_signals, _mask) = crate::SignalFd::open(&TRAPS).unwrap();
            tell(rustix::io::dup(rustix::stdio::stdout()).unwrap(), b"failed: ");
            in_thread(|| std::process::abort());
        };
        let output = ends("somebody_else_is_told_though_signals_were_blocked", act);
        assert!(output.stdout.ends_with(b"failed: shaky"), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }

    #[test]
    fn so_does_a_stack_that_is_full() {
        #[expect(unconditional_recursion, reason = "the stack is to be full")]
        fn fill(before: &[u8; 4096]) -> u8 {
            let here = std::hint::black_box(*before);
            fill(&here).wrapping_add(here[0])
        }
        let act = || {
            let (_signals, _mask) = crate::SignalFd::open(&[Signal::SEGV, Signal::ABORT]).unwrap();
            tell(rustix::io::dup(rustix::stdio::stdout()).unwrap(), b"failed: ");
            in_thread(|| {
                std::hint::black_box(fill(&[0; 4096]));
            });
        };
        let output = ends("so_does_a_stack_that_is_full", act);
        assert!(output.stdout.ends_with(b"failed: shaky"), "{output:?}");
    }

    /// Starts a thread that completes something when it is told to.
    fn start_completing(complete: impl FnOnce() + Send + 'static) {
        let ((stopped, stop), (ready, begun)) = (pipe().unwrap(), pipe().unwrap());
        thread::spawn(move || {
            complete_first(stop);
            completed();
            drop(begun);
            read(stopped, &mut [0_u8]).unwrap();
            complete();
            completed();
        });
        read(ready, &mut [0_u8]).unwrap();
    }

    #[test]
    fn one_thread_completes_what_it_is_at() {
        let act = || {
            start_completing(|| {
                write(rustix::stdio::stdout(), b"complete").unwrap();
            });
            in_thread(|| panic!("on purpose"));
        };
        let took = || {
            let began = Instant::now();
            let output = ends("one_thread_completes_what_it_is_at", act);
            assert!(output.stdout.ends_with(b"complete"), "{output:?}");
            began.elapsed().as_secs()
        };
        // One of them has a processor on busy machines.
        assert!((0..5).any(|_| took() < 2), "it was waited for too long");
    }

    #[test]
    fn it_is_not_waited_for_for_ever_nor_by_itself() {
        let began = Instant::now();
        let act = || {
            start_completing(thread::park);
            in_thread(|| panic!("on purpose"));
        };
        ends("it_is_not_waited_for_for_ever_nor_by_itself", act);
        assert!(began.elapsed().as_secs() >= 2, "it was not waited for");
    }

    #[test]
    fn what_is_ignored_stays_so() {
        let act = || {
            // SAFETY: `SIG_IGN` is a valid disposition, and one that is put back.
            let now = unsafe {
                libc::signal(libc::SIGILL, libc::SIG_IGN);
                prepare();
                libc::signal(libc::SIGILL, libc::SIG_IGN)
            };
            exit_now(if now == libc::SIG_IGN { STATUS } else { 1 });
        };
        ends("what_is_ignored_stays_so", act);
    }
}
