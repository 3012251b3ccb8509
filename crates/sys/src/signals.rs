//! Signals as a descriptor, and the mask that a program is to find.
//!
//! # Kernel interface
//! `pthread_sigmask`, `signalfd4` (signalfd(2)), `struct signalfd_siginfo` (include/uapi/linux/signalfd.h).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::process::Signal;

/// The set of signals that a thread has blocked.
#[derive(Clone, Copy)]
pub struct SignalMask(libc::sigset_t);

impl SignalMask {
    /// Blocks exactly this set in the calling thread, as before an exec.
    ///
    /// # Errors
    /// None that a valid mask can cause; pthread_sigmask(3) names `EINVAL`.
    pub fn restore(&self) -> io::Result<()> {
        // SAFETY: the set was filled by the kernel; the old one is not asked for.
        match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) } {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

/// One signal, with who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// The signal's number.
    pub signal: i32,
    /// Whether the kernel made it (a terminal's ^C, a hang-up): then the whole process group got it.
    pub from_kernel: bool,
}

/// A descriptor that becomes readable when one of a set of signals has arrived. They are blocked while it is in use.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// Blocks `signals` in the calling thread and takes them in by descriptor instead. Also gives the mask of before.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`; see signalfd(2).
    pub fn open(signals: &[Signal]) -> io::Result<(Self, SignalMask)> {
        let set = set_of(signals);
        let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: `set` is initialised, and the kernel fills `before`, which has room for one set.
        let errno = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, before.as_mut_ptr()) };
        if errno != 0 {
            return Err(io::Error::from_raw_os_error(errno));
        }
        // SAFETY: an all-zero set is a valid one, and by now the call above has filled it.
        let before = SignalMask(unsafe { before.assume_init() });
        // SAFETY: -1 asks for a new descriptor; the set is initialised.
        let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor for us, nobody else owns it.
        Ok((Self(unsafe { OwnedFd::from_raw_fd(fd) }), before))
    }

    /// The next signal, or `None` when there is none waiting.
    ///
    /// # Errors
    /// Those of read(2) on a signalfd, `EAGAIN` excepted.
    pub fn next(&self) -> io::Result<Option<Received>> {
        let mut siginfo = [0_u8; SIGINFO_BYTES];
        match rustix::io::read(&self.0, &mut siginfo) {
            Ok(SIGINFO_BYTES) => Ok(Some(parse(&siginfo))),
            Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Makes the kernel keep the ends of child processes until they are waited for. False if our parent had it ignore `SIGCHLD`, which
/// throws them away.
pub fn keep_ends_of_children() -> bool {
    // SAFETY: `SIG_DFL` is a valid disposition of SIGCHLD, and no handler of ours is replaced.
    let before = unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    before != libc::SIG_IGN
}

/// What [`keep_ends_of_children`] undid, for a program that is to start as we did.
pub fn ignore_ends_of_children() {
    // SAFETY: `SIG_IGN` is a valid disposition of SIGCHLD.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Ends this process by `signal`, as if nobody had blocked, ignored or handled it. Returns only if that is not its default.
pub fn die_by(signal: i32) {
    // SAFETY: `SIG_DFL` is a valid disposition for any signal; a number out of range is refused with EINVAL.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set; sigaddset refuses a number out of range; the old mask is not asked for.
    // raise sends to this thread, which has just unblocked the signal.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), std::ptr::null_mut());
        libc::raise(signal);
    }
}

/// Lets signals through to the calling thread.
pub(crate) fn unblock(signals: &[Signal]) {
    let set = set_of(signals);
    // SAFETY: the set is initialised; the old one is not asked for. With a valid `how` nothing can fail.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut()) };
}

fn set_of(signals: &[Signal]) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the whole set and cannot fail on valid memory.
    let mut set = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    };
    for signal in signals {
        // SAFETY: the set is initialised; a number out of range is refused with EINVAL and changes nothing.
        unsafe { libc::sigaddset(&raw mut set, signal.as_raw()) };
    }
    set
}

/// Reads `ssi_signo` and `ssi_code`, the first and third of the structure's 32-bit fields.
fn parse(siginfo: &[u8; SIGINFO_BYTES]) -> Received {
    let field =
        |at: usize| i32::from_ne_bytes([siginfo[at], siginfo[at + 1], siginfo[at + 2], siginfo[at + 3]]);
    Received { signal: field(0), from_kernel: field(8) == SI_KERNEL }
}

/// `sizeof(struct signalfd_siginfo)`.
const SIGINFO_BYTES: usize = 128;
/// `si_code` of a signal that the kernel sent, as the terminal driver does: include/uapi/asm-generic/siginfo.h.
const SI_KERNEL: i32 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_of_ours_is_read_and_said_not_to_be_the_kernels() {
        let (signals, before) = SignalFd::open(&[Signal::USR1]).unwrap();
        assert_eq!(signals.next().unwrap(), None);
        // To this thread, not to the process: other tests' threads have not blocked it.
        let tid = rustix::thread::gettid().as_raw_nonzero().get();
        // SAFETY: tgkill takes three integers; the signal is blocked in the thread that it goes to.
        let sent = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, libc::SIGUSR1) };
        assert_eq!(sent, 0);
        let got = signals.next().unwrap().unwrap();
        assert_eq!(got, Received { signal: Signal::USR1.as_raw(), from_kernel: false });
        before.restore().unwrap();
    }
}
