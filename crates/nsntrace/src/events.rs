//! What front waits for: signals, words of worker, ends of processes; one wait for all of them.
//!
//! # Kernel interface
//! signalfd(2), poll(2), pidfd_open(2) (Linux 5.3).

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nsntrace_sys::{Received, SignalFd, SignalMask, is_in_our_process_group};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, getsid, kill_process, pidfd_open};

use crate::failure::Failure;
use crate::protocol::{Channel, Order, Report};

/// Signals, taken in by descriptor.
pub(crate) struct Watch {
    signals: SignalFd,
    /// The mask of before.
    pub(crate) mask: SignalMask,
    /// We were started with SIGCHLD ignored.
    pub(crate) ignores_children: bool,
}

/// What a wait ended with.
pub(crate) enum Event {
    /// A signal that we pass on.
    Signal(Received),
    /// A child of ours has ended or stopped.
    Child,
    /// A word of worker.
    Report(Report),
    /// Worker is gone, for good or for bad, which is what that means where it was still to say something. Comes once.
    WorkerGone(Failure),
    /// The descriptor that was waited for besides is readable.
    Readable,
    /// It is time for what [`Events::tick_in`] was asked for.
    Tick,
}

/// Everything that front waits for.
pub(crate) struct Events {
    signals: SignalFd,
    channel: Channel,
    /// Where the end of worker can be waited for.
    worker: Option<OwnedFd>,
    /// The thread of worker's that has failed.
    broken: Option<String>,
    is_worker_gone: bool,
    /// When [`Event::Tick`] is due.
    tick: Option<Instant>,
}

impl Watch {
    /// Blocks the signals that we pass on, and hears of children.
    pub(crate) fn begin() -> Result<Self, Failure> {
        let ignores_children = !nsntrace_sys::keep_ends_of_children();
        let taken_in: Vec<_> = PASSED_ON.into_iter().chain([Signal::CHILD]).collect();
        let (signals, mask) =
            SignalFd::open(&taken_in).map_err(|error| Failure::of("cannot wait for signals", &error))?;
        Ok(Self { signals, mask, ignores_children })
    }

    /// Waits for worker, too.
    pub(crate) fn with(self, channel: Channel) -> Events {
        let Self { signals, .. } = self;
        Events { signals, channel, worker: None, broken: None, is_worker_gone: false, tick: None }
    }
}

impl Events {
    /// Waits for whatever comes first, another descriptor included: a pidfd tells of the end of a process.
    pub(crate) fn next(&mut self, other: Option<&OwnedFd>) -> Result<Event, Failure> {
        loop {
            let ready = self.poll(other).map_err(|errno| Failure::of("cannot wait", &errno))?;
            if ready.signal
                && let Ok(Some(received)) = self.signals.next()
            {
                let is_child = received.signal == Signal::CHILD.as_raw();
                return Ok(if is_child { Event::Child } else { Event::Signal(received) });
            }
            if ready.other {
                return Ok(Event::Readable);
            }
            if ready.channel
                && let Some(event) = self.hear()
            {
                return Ok(event);
            }
            if self.tick.is_some_and(|tick| tick <= Instant::now()) {
                self.tick = None;
                return Ok(Event::Tick);
            }
        }
    }

    /// Asks for one [`Event::Tick`].
    pub(crate) fn tick_in(&mut self, time: Duration) {
        self.tick = Some(Instant::now() + time);
    }

    /// A word of worker, its first and its last aside: those are for us.
    fn hear(&mut self) -> Option<Event> {
        match self.channel.next_report() {
            Some(Report::Born(pid)) => {
                let pid = Pid::from_raw(pid)?;
                self.worker = pidfd_open(pid, PidfdFlags::empty()).ok();
                None
            }
            Some(Report::Broken(thread)) => {
                self.broken = Some(thread);
                None
            }
            Some(report) => Some(Event::Report(report)),
            None => {
                self.is_worker_gone = true;
                Some(Event::WorkerGone(worker_gone(self.broken.as_deref())))
            }
        }
    }

    /// Says something to worker.
    pub(crate) fn order(&self, order: &Order) {
        self.channel.order(order);
    }

    /// Whether worker's end of the channel is closed.
    pub(crate) fn is_worker_gone(&self) -> bool {
        self.is_worker_gone
    }

    /// Waits until worker is dead indeed, with every lock of its.
    pub(crate) fn wait_for_workers_death(&self) {
        if let Some(worker) = &self.worker {
            let timeout = Timespec { tv_sec: 5, tv_nsec: 0 };
            let _ended = poll(&mut [PollFd::new(worker, PollFlags::IN)], Some(&timeout));
        }
    }

    fn poll(&self, other: Option<&OwnedFd>) -> rustix::io::Result<Ready> {
        // The end-of-file of a worker that is gone would be ready for ever.
        let channel = (!self.is_worker_gone).then(|| self.channel.as_fd());
        let watched = [Some(self.signals.as_fd()), other.map(AsFd::as_fd), channel];
        let mut fds: Vec<_> =
            watched.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        let timeout = self.tick.map(|tick| tick.saturating_duration_since(Instant::now()));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let mut revents = fds.iter().map(PollFd::revents);
        let [signal, other, channel] =
            watched.map(|fd| fd.is_some() && revents.next().is_some_and(|revents| !revents.is_empty()));
        Ok(Ready { signal, other, channel })
    }
}

fn worker_gone(broken: Option<&str>) -> Failure {
    let why = broken.map_or_else(
        || "the process that wrote it is gone".to_owned(),
        |thread| format!("thread {thread} has failed, which is a bug"),
    );
    Failure::new(format!("the capture was cut short: {why}"))
        .hint("packets up to that moment are in the file")
}

/// What is readable.
struct Ready {
    signal: bool,
    other: bool,
    channel: bool,
}

/// Sends a signal on, unless the kernel has sent it already: what it makes it sends to our whole process group. But that its terminal has hung up it tells the
/// leader of a session alone, which we are where a terminal, ssh or tmux was told to run us and no shell.
pub(crate) fn pass_on(received: Received, pids: &[Pid]) {
    let Some(signal) = Signal::from_named_raw(received.signal) else { return };
    let is_for_all = received.from_kernel && !(signal == Signal::HUP && getsid(None) == Ok(getpid()));
    for &pid in pids {
        let has_it = is_for_all && is_in_our_process_group(pid);
        if !has_it {
            // Gone already: then its end is what we hear of next.
            let _ = kill_process(pid, signal);
        }
    }
}

/// Stops as the program did, so that the shell takes its terminal back; when it continues us, we continue the program.
///
/// For a program with a process group of its own, as an interactive shell makes: `suspend`. What stops one in our group, the terminal sends
/// to all of the group, or somebody to that one process, which he will continue by itself.
pub(crate) fn stop_with(pid: Pid) {
    if is_in_our_process_group(pid) {
        return;
    }
    let _ = kill_process(getpid(), Signal::STOP);
    // A shell continues our process group, which the program may have left.
    let _ = kill_process(pid, Signal::CONT);
}

/// What would end us and is the program's to decide on. Stops and continues (^Z, fg) work on the whole process group by themselves.
const PASSED_ON: [Signal; 17] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::TRAP,
    Signal::ABORT,
    Signal::SEGV,
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::TERM,
    Signal::STKFLT,
    Signal::XCPU,
    // Blocked in worker too, whose write then fails with EFBIG at a limit of file size, and the trace goes on.
    Signal::XFSZ,
    Signal::VTALARM,
    Signal::PROF,
    Signal::IO,
    Signal::POWER,
];
