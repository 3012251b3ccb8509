//! Worker's loop while the program runs, and the way to its end.

use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nsntrace_link::{IfIndex, Plan as LinkPlan, RouteSocket};
use nsntrace_netns::Netns;
use nsntrace_owners::{Line, Word};
use nsntrace_relay::Relay;
use nsntrace_sockdiag::Orphans;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, kill_process};
use rustix::time::Timespec;

use super::network::Network;
use super::recorder::Recorder;
use crate::failure::{Failure, chain};
use crate::protocol::{Channel, Order, Outcome, Report};

/// A trace that is running.
pub(crate) struct Service<'a> {
    channel: &'a Channel,
    netns: &'a Netns,
    network: Network,
    inside: RouteSocket,
    orphans: Orphans,
    relay: Relay,
    recorder: Recorder,
    /// To the witness.
    line: Option<Arc<Line>>,
    /// What became of the packets, once the recorder has said so.
    outcome: Option<Outcome>,
    /// The links of the namespace are down: no packet comes or goes any more.
    is_down: bool,
    state: State,
}

/// How far the trace is, as front has told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    /// The program runs.
    Running,
    /// The program has ended; its connections may still be closing.
    Ended,
    /// The user wants it to end now.
    Hurried,
    /// Front is gone: nobody waits for us, and nobody for the program.
    Orphaned,
}

impl<'a> Service<'a> {
    pub(crate) fn new(
        channel: &'a Channel,
        netns: &'a Netns,
        network: Network,
        inside: RouteSocket,
        orphans: Orphans,
        relay: Relay,
        recorder: Recorder,
    ) -> Self {
        let (outcome, is_down, state) = (None, false, State::Running);
        Self {
            channel,
            netns,
            network,
            inside,
            orphans,
            relay,
            recorder,
            line: None,
            outcome,
            is_down,
            state,
        }
    }

    /// Hands the program's wishes for sockets over to a witness.
    pub(crate) fn with_witness(self, line: Option<Arc<Line>>) -> Self {
        Self { line, ..self }
    }

    /// Serves until the program has ended or front is gone; then completes the file and cleans up. Connections that still close are
    /// waited for, at most for `linger`.
    pub(crate) fn run(mut self, linger: Duration) {
        while self.state == State::Running {
            self.serve(None);
        }
        if self.state == State::Orphaned {
            self.kill_members();
        }
        if self.line.as_ref().is_some_and(|line| line.is_severed()) {
            self.channel.report(&Report::Note(NO_WITNESS.to_owned()));
        }
        self.wait_for_connections(linger);
        self.end_recording();
        let survivors = self.netns.members();
        self.look();
        self.wait_for_recorder();
        self.recorder.end_keys();
        self.close(survivors);
    }

    /// Waits for something to do, at most until `deadline`, and does it.
    fn serve(&mut self, deadline: Option<Instant>) {
        let due = if self.is_down { None } else { self.network.due() };
        let until = [deadline, due].into_iter().flatten().min();
        let timeout = until.map(|until| timespec(until.saturating_duration_since(Instant::now())));
        // The end-of-file of a front that is gone would be ready for ever.
        let channel = (self.state != State::Orphaned).then(|| self.channel.as_fd());
        let relay = Some(self.relay.as_fd());
        // Taking down the link announces itself, too: nobody needs to follow that while front waits.
        let [network, thread] = if self.is_down { [None; 2] } else { self.network.watched() };
        let done = self.outcome.is_none().then(|| self.recorder.done());
        let watched = [channel, relay, network, thread, done];
        let [order, relay, network, thread, done] = readable(watched, timeout.as_ref());
        if order {
            self.obey();
        }
        let served = if relay { self.relay.service().map_err(Failure::from) } else { Ok(()) };
        let followed = if network || thread { self.network.follow() } else { Ok(()) };
        for result in [served, followed] {
            self.note(result);
        }
        if due.is_some_and(|due| Instant::now() >= due) {
            self.look();
        }
        if done {
            self.take_outcome();
        }
    }

    /// Looks whether packets get through, and tells if they do not.
    fn look(&mut self) {
        let looked = self.network.look(self.is_down);
        self.note(looked);
    }

    fn note(&self, result: Result<(), Failure>) {
        if let Err(failure) = result {
            self.channel.report(&Report::Note(failure.message));
        }
    }

    /// The recorder has come to its end, which may be before the program's.
    fn take_outcome(&mut self) {
        let outcome = self.recorder.outcome();
        if self.state == State::Running {
            let note = match &outcome.output_error {
                None => {
                    format!("recorded {} packets; the program goes on unrecorded", outcome.written)
                }
                Some(error) => format!("nothing more is recorded: {error}"),
            };
            self.channel.report(&Report::Note(note));
        }
        self.outcome = Some(outcome);
    }

    fn obey(&mut self) {
        let next = match self.channel.next_order() {
            Some(Order::Finish) => State::Ended,
            Some(Order::Hurry) => State::Hurried,
            Some(Order::Creations(listener)) => {
                // Without a witness the program's sockets fail; it has asked because there is one.
                let _gone = self.line.as_ref().is_some_and(|line| line.say(&Word::Serve(listener)));
                State::Running
            }
            None => State::Orphaned,
        };
        self.state = self.state.max(next);
    }

    /// The program has lost its trace and is about to lose its network: it would only linger.
    /// Looks again until nobody is left, since what is being killed may fork.
    fn kill_members(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let members: Vec<_> = self.netns.members().into_iter().filter_map(Pid::from_raw).collect();
            if members.is_empty() || Instant::now() >= deadline {
                return;
            }
            for pid in members {
                // Gone meanwhile.
                let _ = kill_process(pid, Signal::KILL);
            }
            rustix::thread::sched_yield();
        }
    }

    /// Gives connections of the ended program, whose last bytes are the kernel's by now, the time to close.
    fn wait_for_connections(&mut self, linger: Duration) {
        let began = Instant::now();
        while self.has_more_to_record() && self.is_closing(began.elapsed(), linger) {
            self.serve(Some(Instant::now() + LINGER_STEP));
        }
    }

    /// Whether what the ended program's connections still say belongs into the file: not when somebody is in a hurry, nor behind the recording's end.
    fn has_more_to_record(&self) -> bool {
        self.state == State::Ended && self.outcome.is_none()
    }

    fn is_closing(&mut self, waited: Duration, linger: Duration) -> bool {
        let tcp = match self.orphans.count() {
            Ok(tcp) => tcp,
            Err(error) => {
                // Said once: nobody asks again.
                let note = format!("connections that still close are not waited for: {}", chain(&error));
                self.channel.report(&Report::Note(note));
                return false;
            }
        };
        // Those that only listen have said all they had to say; their peer may never answer.
        (tcp.talking > 0 && waited < linger) || (tcp.listening > 0 && waited < linger.min(LINGER_LISTENING))
    }

    /// Takes the links of the namespace down, and ends the capture between the two. For the second the kernel waits for every receiver
    /// at work, so that what was counted is in the ring.
    fn end_recording(&mut self) {
        self.is_down = true;
        let (mut first, mut second) = (LinkPlan::new(), LinkPlan::new());
        first.set_down(self.network.peer_ifindex());
        // Up before: for a link that the program has taken down itself nobody would wait.
        second.set_up(IfIndex::LOOPBACK).set_down(IfIndex::LOOPBACK);
        // A link that the program took down or away itself is quiet, too.
        let _quiet = self.inside.apply(&first);
        let ended = self.recorder.end_capture();
        self.note(ended);
        let _quiet = self.inside.apply(&second);
        self.recorder.stop();
    }

    /// Waits until the file is complete, serving meanwhile; for a front that is gone, not for ever.
    fn wait_for_recorder(&mut self) {
        let mut patience = None;
        while self.outcome.is_none() {
            if self.state == State::Orphaned {
                patience = patience.or(Some(Instant::now() + PATIENCE));
            }
            if patience.is_some_and(|patience| Instant::now() >= patience) {
                return;
            }
            self.serve(patience);
        }
    }

    /// Tells front, then takes everything back.
    fn close(self, survivors: Vec<i32>) {
        let Self { channel, network, mut inside, relay, outcome, mut recorder, .. } = self;
        let has_survivors = !survivors.is_empty();
        if let Some(mut outcome) = outcome {
            let told = mem::take(&mut outcome.told);
            told.lines.into_iter().for_each(|line| channel.report(&Report::Line(line)));
            told.offences.into_iter().for_each(|offence| channel.report(&Report::Offence(offence)));
            channel.report(&Report::Finished(Outcome { survivors, ..outcome }));
        }
        drop(relay);
        if has_survivors {
            // They lose the way out, not each other.
            let _gone_already = inside.set_up(IfIndex::LOOPBACK);
        }
        network.take_back();
        recorder.end_lines();
    }
}

/// Which of `fds` are readable or closed. Waits for one, at most `timeout`.
fn readable<const N: usize>(fds: [Option<BorrowedFd<'_>>; N], timeout: Option<&Timespec>) -> [bool; N] {
    let mut polled: Vec<_> =
        fds.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    if poll(&mut polled, timeout).is_err() {
        // Interrupted.
        return [false; N];
    }
    let mut revents = polled.iter().map(PollFd::revents);
    fds.map(|fd| fd.is_some() && revents.next().is_some_and(|revents| !revents.is_empty()))
}

fn timespec(duration: Duration) -> Timespec {
    Timespec::try_from(duration).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 })
}

/// As long as a peer that answers at all takes to do so.
const LINGER_LISTENING: Duration = Duration::from_millis(200);
/// How soon a connection is seen to have closed.
const LINGER_STEP: Duration = Duration::from_millis(5);
/// What the kernel then asks nobody (`ENOSYS`).
const NO_WITNESS: &str =
    "the process that sees whose packets are whose was ended; the program may have failed to connect since";
/// How long a front that is gone is still worth a write that does not end.
const PATIENCE: Duration = Duration::from_secs(1);
