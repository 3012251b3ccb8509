//! Front: what the shell waits for. Starts worker and the program, passes signals on, returns the program's status.
//!
//! # Theory of operation
//! Signals are blocked and read from a descriptor, so that one wait covers all there is: a signal, the end of the program, a word of
//! worker. A signal that somebody sent to us is sent on to the program; one that the kernel made (^C) has reached the
//! program already, if it is in our process group. What the program does about it is up to the program. A program that stops, stops us
//! with it, as if the shell had started it itself.

use std::ffi::OsStr;
use std::process::ExitCode;
use std::sync::Arc;

use nsntrace_keylog::Fifo;
use nsntrace_netns::{Netns, user};
use nsntrace_sys::Inherited;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process, pidfd_open, set_child_subreaper, wait,
};

use crate::events::{Event, Events, Watch, pass_on, stop_with};
use crate::failure::Failure;
use crate::lines::{Carrier, LinesFile};
use crate::messages::{self, Messages};
use crate::plan::Plan;
use crate::program::{Program, Waiting, Words};
use crate::progress::{self, Progress, Tally};
use crate::protocol::{Order, Outcome, Report};
use crate::status::{self, End};
use crate::transport::Transport;
use crate::wireshark::{Window, Wireshark};
use crate::worker::{self, Inside};

/// Traces a program from its start to its end.
pub(crate) fn trace(plan: &Plan, watch: Watch, inherited: Inherited) -> Result<ExitCode, Failure> {
    let (front, started) = start(plan, watch, inherited).inspect_err(|_failure| plan.discard_outputs())?;
    match started {
        Started::Program(pid) => front.follow(plan, pid),
        Started::Signal(signal) => {
            plan.discard_outputs();
            Ok(End::Killed(signal).pass_on())
        }
    }
}

/// What came of the start.
enum Started {
    /// The program runs.
    Program(Pid),
    /// A signal came first.
    Signal(i32),
}

/// Everything up to the moment at which the program runs.
fn start(plan: &Plan, watch: Watch, inherited: Inherited) -> Result<(Front, Started), Failure> {
    // First: it is to have nothing of what comes now.
    let (window, inherited) = match &plan.wireshark {
        Some(wireshark) => {
            wireshark.fork(watch.mask, inherited).map(|(window, rest)| (Some(window), rest))?
        }
        None => (None, inherited),
    };
    let bounds = if plan.needs_user_namespace { Some(user::enter()?) } else { None };
    let servers = plan.name_service.loopback_servers();
    let keylog = plan.keylog.as_ref();
    let (netns, inside) = Netns::create(|| Inside::open(&servers, keylog))?;
    let mut inside = inside?;
    inside.lines = plan.lines.as_ref().map(LinesFile::make_pipe).transpose()?;
    let tally = progress::is_wanted(&plan.options).then(Tally::new).transpose()?.map(Arc::new);
    inside.tally.clone_from(&tally);
    let keys = copy_of(inside.keys.as_ref())?;
    let channel = worker::fork(plan, &netns, inside, inherited)?;
    plan.outfile.hand_over();
    if plan.options.wait_all {
        // After worker was forked: it is not among those that we are to wait for.
        set_child_subreaper(Some(getpid())).map_err(|errno| Failure::of("cannot adopt processes", &errno))?;
    }
    let program = Program {
        name: &plan.options.program,
        arguments: &plan.options.arguments,
        user: plan.user.as_ref(),
        bounds: bounds.as_ref(),
        name_service: &plan.name_service,
        keys: keys.as_ref(),
        creations: plan.wants_processes().then_some(&channel),
        words: words(plan),
        mask: watch.mask,
        ignores_children: watch.ignores_children,
    };
    let waiting = program.fork(&netns)?;
    let messages = Messages { quiet: plan.options.quiet };
    let mut front = Front {
        messages,
        events: watch.with(channel),
        netns,
        _keys: keys,
        carrier: None,
        tally,
        progress: None,
        lines: Vec::new(),
        offences: Vec::new(),
        host: plan.options.is_hosted.then(Host::default),
    };
    let started = match front.wait_until_ready(plan, &waiting, window) {
        Ok(None) => Started::Program(waiting.release()?),
        Ok(Some(signal)) => {
            waiting.abandon();
            Started::Signal(signal)
        }
        Err(failure) => {
            waiting.abandon();
            front.clean_up_after_worker(plan.transport);
            return Err(failure);
        }
    };
    Ok((front, started))
}

struct Front {
    messages: Messages,
    events: Events,
    netns: Netns,
    /// Held, so that nobody who opens the pipe waits for a reader, whatever becomes of worker.
    _keys: Option<Fifo>,
    carrier: Option<Carrier>,
    /// How much has been recorded, until somebody shows it.
    tally: Option<Arc<Tally>>,
    progress: Option<Progress>,
    /// Who was talked to.
    lines: Vec<String>,
    /// Who was, and should not have been.
    offences: Vec<String>,
    /// Wireshark, if it has started us.
    host: Option<Host>,
}

/// Whoever has us capture, and has it stopped.
#[derive(Default)]
struct Host {
    has_stopped: bool,
}

impl Front {
    /// Everything from the program's start to our own end.
    fn follow(mut self, plan: &Plan, pid: Pid) -> Result<ExitCode, Failure> {
        let end = self.wait_for_program(pid)?;
        if plan.options.wait_all || self.host.as_ref().is_some_and(|host| host.has_stopped) {
            self.wait_for_all()?;
        }
        // For good: while the file is completed, it would be drawn anew.
        drop(self.progress.take().and_then(Progress::erase));
        let outcome = self.finish(end)?;
        let unprinted = self.wait_for_lines()?;
        if let Some(outcome) = outcome {
            let verdict = self.verdict(end, &outcome, unprinted.as_ref());
            return Ok(self.host.map_or(verdict, |host| host.verdict(&plan.options.program, end, verdict)));
        }
        self.clean_up_after_worker(plan.transport);
        Ok(ExitCode::from(status::FAILED))
    }

    /// Waits for worker's word that the ring is running, and for the program's process. Gives the signal that came first, if one did.
    fn wait_until_ready(
        &mut self,
        plan: &Plan,
        waiting: &Waiting,
        window: Option<Window>,
    ) -> Result<Option<i32>, Failure> {
        loop {
            match self.events.next(None)? {
                Event::Report(Report::Ready { interface, transport, v4, v6 }) => {
                    let unseen = waiting.wait_until_prepared()?;
                    if let (Some(wireshark), Some(window)) = (&plan.wireshark, window)
                        && let Some(signal) = self.show(wireshark, window)?
                    {
                        return Ok(Some(signal));
                    }
                    for server in plan.name_service.unreachable_servers() {
                        self.messages
                            .note(&format!("the name server {server} cannot be asked from inside a trace"));
                    }
                    if !unseen.is_empty() {
                        self.messages.note(&format!("{UNSEEN}: {unseen}"));
                    }
                    if plan.keylog.is_some() {
                        self.messages.note(KEYS_INSIDE);
                    }
                    self.messages.started(&plan.options.program, &interface, transport, v4, v6);
                    self.carry_lines(plan)?;
                    self.begin_progress();
                    return Ok(None);
                }
                Event::Report(Report::Failed(failure)) | Event::WorkerGone(failure) => return Err(failure),
                Event::Signal(received) => return Ok(Some(received.signal)),
                event => self.note(&event),
            }
        }
    }

    /// Opens Wireshark and waits until it reads. Gives the signal that came first, if one did.
    fn show(&mut self, wireshark: &Wireshark, window: Window) -> Result<Option<i32>, Failure> {
        let opening = wireshark.release(window)?;
        // It may have a question for its user first, of which nothing is to be seen here.
        self.messages.note("Wireshark is opening; the program starts when it captures");
        loop {
            if let Some(failure) = opening.failure() {
                return Err(failure);
            }
            match self.events.next(Some(opening.has_read()))? {
                Event::Readable => {
                    wireshark.let_go();
                    return Ok(None);
                }
                Event::Signal(received) => {
                    opening.abandon();
                    return Ok(Some(received.signal));
                }
                Event::WorkerGone(failure) => return Err(failure),
                event => self.note(&event),
            }
        }
    }

    fn wait_for_program(&mut self, pid: Pid) -> Result<End, Failure> {
        loop {
            if let Some(end) = look_for_end(pid)? {
                return Ok(end);
            }
            match (self.events.next(None)?, &mut self.host) {
                (Event::Signal(_) | Event::Report(Report::ReaderGone), Some(host)) => {
                    host.has_stopped = true;
                    self.end_all(pid);
                }
                (Event::Signal(received), None) => pass_on(received, &[pid]),
                (event, _) => self.note(&event),
            }
        }
    }

    /// Asks the program and all that it has started to end.
    fn end_all(&self, pid: Pid) {
        let members = self.netns.members().into_iter().filter_map(Pid::from_raw);
        for pid in members.filter(|member| *member != pid).chain([pid]) {
            // Gone already: then its end is what we hear of next.
            let _ = kill_process(pid, Signal::TERM);
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
            if !pids.is_empty() && self.wait_for_first(&pids)? {
                return Ok(());
            }
        }
    }

    /// Waits until the first of some processes has ended. True if a signal came before, which all of them get.
    fn wait_for_first(&mut self, pids: &[Pid]) -> Result<bool, Failure> {
        let pidfd = match pidfd_open(pids[0], PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            // It has ended already.
            Err(rustix::io::Errno::SRCH) => return Ok(false),
            Err(errno) => return Err(Failure::of("cannot wait for processes of the trace", &errno)),
        };
        loop {
            match self.events.next(Some(&pidfd))? {
                Event::Readable => return Ok(false),
                Event::Child => {
                    reap();
                }
                Event::Signal(received) => {
                    pass_on(received, pids);
                    return Ok(true);
                }
                event => self.note(&event),
            }
        }
    }

    /// Lets worker complete the file. `None` if it could not, which the user knows by then.
    fn finish(&mut self, end: End) -> Result<Option<Outcome>, Failure> {
        self.events.order(&Order::Finish);
        // What ended the program may well reach us a moment later, once.
        let mut is_echo_due = true;
        let mut is_hurried = false;
        while !self.events.is_worker_gone() {
            match self.events.next(None)? {
                Event::Report(Report::Finished(outcome)) => return Ok(Some(outcome)),
                Event::Report(Report::Line(line)) => self.lines.push(line),
                Event::Report(Report::Offence(offence)) => self.offences.push(offence),
                Event::Signal(received) if is_echo_due && End::Killed(received.signal) == end => {
                    is_echo_due = false;
                }
                Event::Signal(_) if !is_hurried => {
                    is_hurried = true;
                    self.events.order(&Order::Hurry);
                    self.messages.note("completing the capture; interrupt once more to give up");
                }
                Event::Signal(_) => {
                    messages::failure(&Failure::new("the capture is not complete: you did not wait for it"));
                    return Ok(None);
                }
                event => self.note(&event),
            }
        }
        Ok(None)
    }

    /// Lets lines of packets go where they belong, behind our own words.
    fn carry_lines(&mut self, plan: &Plan) -> Result<(), Failure> {
        self.carrier = plan.lines.as_ref().map(Carrier::start).transpose()?;
        Ok(())
    }

    /// Shows how much has been recorded, in a while, below our own words.
    fn begin_progress(&mut self) {
        match self.tally.take().map_or(Ok(None), Progress::begin) {
            Ok(progress) => self.progress = progress,
            Err(failure) => self.messages.note(&format!("no progress is shown: {}", failure.message)),
        }
        if self.progress.is_some() {
            self.events.tick_in(progress::FIRST);
        }
    }

    /// Waits until they are there, and says why if they are not all; or for a signal, of somebody who does not care.
    fn wait_for_lines(&mut self) -> Result<Option<Failure>, Failure> {
        let Some(carrier) = self.carrier.take() else { return Ok(None) };
        loop {
            match self.events.next(Some(&carrier.done))? {
                Event::Readable => return Ok(carrier.failure()),
                Event::Signal(_) => return Ok(None),
                // It has said all that it had to say.
                Event::WorkerGone(_) => {}
                event => self.note(&event),
            }
        }
    }

    /// Says what was captured, and decides on the exit status.
    fn verdict(&self, end: End, outcome: &Outcome, unprinted: Option<&Failure>) -> ExitCode {
        self.messages.finished(outcome, &self.lines);
        unprinted.into_iter().for_each(messages::failure);
        let is_incomplete = outcome.output_error.is_some() || unprinted.is_some();
        if !self.offences.is_empty() {
            messages::offences(&self.offences);
            return ExitCode::from(status::UNEXPECTED);
        }
        if is_incomplete && end == End::Exited(0) { ExitCode::from(status::FAILED) } else { end.pass_on() }
    }

    /// Takes back what a worker that was killed would have taken back. For that it must be dead indeed, and the namespace nobody's.
    fn clean_up_after_worker(self, transport: Transport) {
        let Self { events, netns, .. } = self;
        drop(netns);
        // A proxy leaves nothing on the host.
        if events.is_worker_gone() && transport == Transport::Nat {
            events.wait_for_workers_death();
            worker::clean_up_after();
        }
    }

    /// Events that change nothing for whoever waits.
    fn note(&mut self, event: &Event) {
        match event {
            Event::Report(Report::Note(text)) => self.say(|messages| messages.note(text)),
            Event::WorkerGone(failure) => self.say(|_messages| messages::failure(failure)),
            Event::Tick => {
                self.progress = self.progress.take().and_then(Progress::draw);
                if self.progress.is_some() {
                    self.events.tick_in(progress::PACE);
                }
            }
            // Children are looked at before the next wait. Other reports come when they are waited for, and once.
            Event::Child | Event::Readable | Event::Signal(_) | Event::Report(_) => {}
        }
    }

    /// Says something in the place of the line that shows progress, which goes on below.
    fn say(&mut self, say: impl FnOnce(Messages)) {
        self.progress = self.progress.take().and_then(Progress::erase);
        say(self.messages);
        self.progress = self.progress.take().and_then(Progress::go_on);
    }
}

impl Host {
    /// What it shows is what went wrong, and a capture that the user has stopped went well.
    fn verdict(self, program: &OsStr, end: End, verdict: ExitCode) -> ExitCode {
        if self.has_stopped {
            return ExitCode::SUCCESS;
        }
        let how = match end {
            End::Exited(0) => return verdict,
            End::Exited(status) => format!("ended with status {status}"),
            End::Killed(signal) => format!("was killed by signal {signal}"),
        };
        messages::failure(&Failure::new(format!("'{}' {how}", program.display())).hint(OUTPUT));
        verdict
    }
}

/// Where the program's words go.
fn words(plan: &Plan) -> Words {
    if plan.options.is_hosted {
        Words::Stdout
    } else if plan.outfile.is_stdout {
        Words::Stderr
    } else {
        Words::Ours
    }
}

/// Kept for as long as we live, whatever becomes of worker: nobody is to wait for ever for somebody who reads the pipe.
fn copy_of(keys: Option<&Fifo>) -> Result<Option<Fifo>, Failure> {
    let copy = keys.map(Fifo::try_clone).transpose();
    copy.map_err(|error| Failure::of("cannot duplicate a descriptor", &error))
}

/// How the program ended, if it has. The ends of other children are taken in: with `--wait-all` we adopt what it leaves behind.
fn look_for_end(pid: Pid) -> Result<Option<End>, Failure> {
    let options = WaitOptions::NOHANG | WaitOptions::UNTRACED;
    let failed = |errno: rustix::io::Errno| Failure::of("cannot wait for the program", &errno);
    // Of every process group: an interactive shell makes one of its own.
    while let Some((child, status)) = wait(options).map_err(failed)? {
        match End::of(status) {
            Some(end) if child == pid => return Ok(Some(end)),
            None if child == pid => stop_with(pid),
            _ => {}
        }
    }
    Ok(None)
}

/// Takes in the ends of adopted processes. Whether there are others that live.
fn reap() -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_no_child) => return false,
        }
    }
}

const OUTPUT: &str = "what it wrote is kept if a file is named for it, among the options of the interface";
const UNSEEN: &str = "short-lived sockets will be nobody's, since system calls cannot be seen";
const KEYS_INSIDE: &str =
    "TLS keys go into the capture: whoever can read it can read what was encrypted, so its mode is 0600";
