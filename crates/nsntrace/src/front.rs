//! Front: what the shell waits for. Starts worker and the program, passes signals on, returns the program's status.
//!
//! # Theory of operation
//! Signals are blocked and read from a descriptor, so that one loop waits for all there is: a signal, the end of the program, a word from
//! worker. A signal that somebody sent to us is sent on to the program; one that the kernel made (^C, a hang-up) has reached the
//! program already, which is in our process group. What the program does about it is up to the program.

use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use nsntrace_netns::Netns;
use nsntrace_sys::{Inherited, Received, SignalFd, SignalMask};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process, pidfd_open, set_child_subreaper, waitpid,
};

use crate::failure::Failure;
use crate::messages::{self, Messages};
use crate::plan::Plan;
use crate::program::Program;
use crate::protocol::{Channel, Order, Outcome, Report};
use crate::status::{self, End};
use crate::worker::{self, Inside};

/// Signals, taken in by descriptor.
pub(crate) struct Watch {
    signals: SignalFd,
    mask: SignalMask,
}

impl Watch {
    /// Blocks the signals that we pass on.
    pub(crate) fn begin() -> Result<Self, Failure> {
        let (signals, mask) =
            SignalFd::open(&PASSED_ON).map_err(|error| Failure::of("cannot wait for signals", &error))?;
        Ok(Self { signals, mask })
    }
}

/// Traces a program from its start to its end.
pub(crate) fn trace(plan: &Plan, watch: Watch, inherited: Inherited) -> Result<ExitCode, Failure> {
    let (mut front, started) =
        start(plan, watch, inherited).inspect_err(|_failure| plan.discard_outfile())?;
    match started {
        Started::Program(pid) => front.follow(plan, pid),
        Started::Signal(signal) => {
            plan.discard_outfile();
            Ok(End::Killed(signal).pass_on())
        }
    }
}

/// Everything up to the moment at which the program runs.
fn start(plan: &Plan, watch: Watch, inherited: Inherited) -> Result<(Front, Started), Failure> {
    let messages = Messages { quiet: plan.options.quiet };
    let Watch { signals, mask } = watch;
    let servers = plan.name_service.loopback_servers();
    let (netns, inside) = Netns::create(|| Inside::open(&servers))?;
    let channel = worker::fork(plan, &netns, inside?, inherited)?;
    if plan.options.wait_all {
        // After worker was forked: it is not among those that we are to wait for.
        set_child_subreaper(Some(getpid())).map_err(|errno| Failure::of("cannot adopt processes", &errno))?;
    }
    let program = Program {
        name: &plan.options.program,
        arguments: &plan.options.arguments,
        user: plan.user.as_ref(),
        name_service: &plan.name_service,
        stdout_to_stderr: plan.outfile.is_stdout,
        mask,
    };
    let waiting = program.fork(&netns)?;
    let mut front = Front { messages, signals, channel, netns, worker_is_gone: false };
    let started = match front.wait_until_ready(plan) {
        Ok(None) => Started::Program(waiting.release()?),
        Ok(Some(signal)) => {
            waiting.abandon();
            Started::Signal(signal)
        }
        Err(failure) => {
            waiting.abandon();
            return Err(failure);
        }
    };
    Ok((front, started))
}

/// What came of the start.
enum Started {
    /// The program runs.
    Program(Pid),
    /// A signal came first.
    Signal(i32),
}

struct Front {
    messages: Messages,
    signals: SignalFd,
    channel: Channel,
    netns: Netns,
    worker_is_gone: bool,
}

/// What a wait ended with.
enum Event {
    Signal(Received),
    Report(Report),
    WorkerGone,
    /// One of the processes waited for has ended.
    Ended,
}

impl Front {
    /// Everything from the program's start to our own end.
    fn follow(&mut self, plan: &Plan, pid: Pid) -> Result<ExitCode, Failure> {
        let end = self.wait_for_program(pid)?;
        if plan.options.wait_all {
            self.wait_for_all()?;
        }
        let Some(outcome) = self.finish(end)? else {
            // If worker was killed: what it would have taken back.
            worker::clean_up_after();
            return Ok(ExitCode::from(status::FAILED));
        };
        Ok(self.verdict(end, &outcome))
    }

    /// Waits for worker's word that the ring is running. Gives the signal that came first, if one did.
    fn wait_until_ready(&mut self, plan: &Plan) -> Result<Option<i32>, Failure> {
        loop {
            match self.next_event(&[])? {
                Event::Report(Report::Ready { interface, v4, v6 }) => {
                    self.messages.started(&plan.options.program, &interface, v4, v6);
                    return Ok(None);
                }
                Event::Report(Report::Note(text)) => self.messages.note(&text),
                Event::Report(Report::Failed(failure)) => return Err(failure),
                Event::Signal(received) => return Ok(Some(received.signal)),
                Event::WorkerGone | Event::Report(Report::Finished(_)) => return Err(worker_gone()),
                Event::Ended => {}
            }
        }
    }

    fn wait_for_program(&mut self, pid: Pid) -> Result<End, Failure> {
        let failed = |errno: rustix::io::Errno| Failure::of("cannot wait for the program", &errno);
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(failed)?;
        loop {
            match self.next_event(&[&pidfd])? {
                Event::Ended => {
                    let waited = waitpid(Some(pid), WaitOptions::NOHANG).map_err(failed)?;
                    if let Some(end) = waited.and_then(|(_, status)| End::of(status)) {
                        return Ok(end);
                    }
                }
                Event::Signal(received) => pass_on(received, &[pid]),
                event => self.note(event),
            }
        }
    }

    /// Waits for every process that the program left behind, and for every guest of the namespace; or for a signal, which they get
    /// too. The program itself is gone, so nobody else decides what the signal means.
    fn wait_for_all(&mut self) -> Result<(), Failure> {
        let mut empty_looks = 0;
        loop {
            let has_children = reap();
            let pids: Vec<_> = self.netns.members().into_iter().filter_map(Pid::from_raw).collect();
            empty_looks = if pids.is_empty() { empty_looks + 1 } else { 0 };
            // One look can miss a process whose parent forks and ends meanwhile; that process is then our child. A child that
            // two looks do not find has left the namespace.
            if pids.is_empty() && (!has_children || empty_looks > 1) {
                return Ok(());
            }
            // One that has ended since has no pidfd; then the next look finds less.
            let opened = pids.iter().map(|&pid| pidfd_open(pid, PidfdFlags::empty()));
            let Ok(pidfds) = opened.collect::<Result<Vec<_>, _>>() else { continue };
            if !pidfds.is_empty() && self.wait_for_one(&pids, &pidfds)? {
                return Ok(());
            }
        }
    }

    /// Waits until one of some processes has ended. True if a signal came first.
    fn wait_for_one(&mut self, pids: &[Pid], pidfds: &[OwnedFd]) -> Result<bool, Failure> {
        let pidfds: Vec<&dyn AsFd> = pidfds.iter().map(|pidfd| pidfd as &dyn AsFd).collect();
        loop {
            match self.next_event(&pidfds)? {
                Event::Ended => return Ok(false),
                Event::Signal(received) => {
                    pass_on(received, pids);
                    return Ok(true);
                }
                event => self.note(event),
            }
        }
    }

    /// Lets worker complete the file. `None` if it could not, which the user knows by then.
    fn finish(&mut self, end: End) -> Result<Option<Outcome>, Failure> {
        self.channel.order(Order::Finish);
        // What ended the program may well reach us a moment later, once.
        let mut is_echo_due = true;
        let mut is_hurried = false;
        while !self.worker_is_gone {
            match self.next_event(&[])? {
                Event::Report(Report::Finished(outcome)) => return Ok(Some(outcome)),
                Event::Signal(received) if is_echo_due && End::Killed(received.signal) == end => {
                    is_echo_due = false;
                }
                Event::Signal(_) if !is_hurried => {
                    is_hurried = true;
                    self.channel.order(Order::Hurry);
                }
                Event::Signal(_) => {
                    messages::failure(&Failure::new("the capture is not complete: you did not wait for it"));
                    return Ok(None);
                }
                event => self.note(event),
            }
        }
        Ok(None)
    }

    /// Says what was captured, and decides on the exit status.
    fn verdict(&self, end: End, outcome: &Outcome) -> ExitCode {
        self.messages.finished(outcome);
        let is_incomplete = outcome.output_error.is_some();
        if is_incomplete && end == End::Exited(0) { ExitCode::from(status::FAILED) } else { end.pass_on() }
    }

    /// Events that change nothing for the program.
    fn note(&mut self, event: Event) {
        match event {
            Event::Report(Report::Note(text)) => self.messages.note(&text),
            Event::WorkerGone => {
                self.worker_is_gone = true;
                messages::failure(&worker_gone());
            }
            _ => {}
        }
    }

    /// Waits for whatever comes first.
    fn next_event(&self, pidfds: &[&dyn AsFd]) -> Result<Event, Failure> {
        loop {
            let ready = self.poll(pidfds).map_err(|errno| Failure::of("cannot wait", &errno))?;
            if ready.signal
                && let Ok(Some(received)) = self.signals.next()
            {
                return Ok(Event::Signal(received));
            }
            if ready.channel {
                return Ok(self.channel.next_report().map_or(Event::WorkerGone, Event::Report));
            }
            if ready.pidfd {
                return Ok(Event::Ended);
            }
        }
    }

    /// Waits until something is readable.
    fn poll(&self, pidfds: &[&dyn AsFd]) -> rustix::io::Result<Ready> {
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        fds.extend(pidfds.iter().map(|pidfd| PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)));
        let channel = fds.len();
        if !self.worker_is_gone {
            // Afterwards its end-of-file would be ready for ever.
            fds.push(PollFd::new(&self.channel, PollFlags::IN));
        }
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        Ok(Ready {
            signal: is_ready(&fds[0]),
            pidfd: fds[1..channel].iter().any(is_ready),
            channel: fds[channel..].iter().any(is_ready),
        })
    }
}

/// What is readable.
struct Ready {
    signal: bool,
    pidfd: bool,
    channel: bool,
}

/// Sends a signal on, unless the kernel has sent it to the whole process group.
fn pass_on(received: Received, pids: &[Pid]) {
    let Some(signal) = Signal::from_named_raw(received.signal) else { return };
    if !received.from_kernel {
        for &pid in pids {
            // Gone already: then its end is what we hear of next.
            let _ = kill_process(pid, signal);
        }
    }
}

/// Takes in the ends of adopted processes. Whether there are others that live.
fn reap() -> bool {
    loop {
        match waitpid(None, WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_no_child) => return false,
        }
    }
}

fn worker_gone() -> Failure {
    Failure::new("the capture was cut short: the process that wrote it is gone")
        .hint("packets up to that moment are in the file")
}

/// What would end us and is the program's to decide on. Stops and continues (^Z, fg) work on the whole process group by themselves.
const PASSED_ON: [Signal; 10] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::ABORT,
    Signal::SEGV,
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::TERM,
    // Blocked in worker too, whose write then fails with EFBIG at a limit of file size, and the trace goes on.
    Signal::XFSZ,
];
