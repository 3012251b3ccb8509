//! Worker: holds what is slow to close or bad to lose, and takes back what the kernel does not take back by itself.
//!
//! # Theory of operation
//! Worker is forked before the program and leaves the terminal's session, so that ^C and ^Z pass it by. It plumbs the namespace while a thread
//! waits for the ring, reports that it is ready, and then serves one loop: words of front, the DNS relay, changes of the host's
//! routes. A thread of its own copies packets (`recorder`), so that a slow disk does not hold up the program's look-ups. When the
//! program has ended, or front is gone, it completes the file, tells front, and cleans up behind the user's prompt.

mod bystanders;
mod detour;
mod explain;
mod heal;
mod ipv6;
mod network;
mod privilege;
mod recorder;
mod recording;
mod service;
pub(crate) mod sysctl;
mod uplinks;
mod wire;
mod witness;

use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::thread;

use nsntrace_capture::{Tap, ring_geometry};
use nsntrace_keylog::Fifo;
use nsntrace_link::{IfIndex, Monitor, RouteSocket};
use nsntrace_netns::Netns;
use nsntrace_owners::Line;
use nsntrace_relay::{Listener, Relay, Unbound};
use nsntrace_sockdiag::Orphans;
use nsntrace_sys::{Fork, Inherited, failing};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, WaitOptions, getpid, setpriority_process, setsid, waitpid};

use crate::failure::Failure;
use crate::keylog::{self, Keylog};
use crate::plan::Plan;
use crate::progress::Tally;
use crate::protocol::{BROKEN, Channel, Report};
use crate::wireshark::Wireshark;
use network::{Knocks, Network};
use recorder::{Recorder, Sources};
use service::Service;
use wire::Side;

use explain::Owners;
pub(crate) use explain::{Sockets, Told};
pub(crate) use heal::{RUN_DIR, clean_up_after};
pub(crate) use ipv6::{Forwarding, Ipv6};

/// What must be born inside the traced namespace.
pub(crate) struct Inside {
    pub(crate) route: RouteSocket,
    pub(crate) monitor: Monitor,
    pub(crate) orphans: Orphans,
    pub(crate) tap: Tap,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) knocks: Knocks,
    /// Where TLS keys arrive.
    pub(crate) keys: Option<Fifo>,
    pub(crate) sockets: Sockets,
    /// Where lines of packets go, to front. Born anywhere, it goes with the rest.
    pub(crate) lines: Option<OwnedFd>,
    /// Where front sees how much has been recorded.
    pub(crate) tally: Option<Arc<Tally>>,
}

impl Inside {
    /// Opens everything in the calling thread's namespace, a fresh one, and brings its loopback up.
    pub(crate) fn open(servers: &[IpAddr], keylog: Option<&Keylog>) -> Result<Self, Failure> {
        let mut route = RouteSocket::open()?;
        // Addresses of loopback can be bound to only while it is up.
        route.set_up(IfIndex::LOOPBACK)?;
        let listeners =
            servers.iter().map(|&server| Unbound::open(server)?.listen()).collect::<Result<_, _>>()?;
        Ok(Self {
            route,
            monitor: Monitor::open()?,
            orphans: Orphans::open()?,
            tap: Tap::open()?,
            listeners,
            knocks: Knocks::open()?,
            keys: keylog::make_pipe(keylog)?,
            sockets: Sockets::open()?,
            lines: None,
            tally: None,
        })
    }
}

/// Starts worker, and gives front's end of the channel to it.
///
/// With `--wait-all` worker is no child of ours: then our children are the program's processes and nobody else.
pub(crate) fn fork(
    plan: &Plan,
    netns: &Netns,
    inside: Inside,
    inherited: Inherited,
) -> Result<Channel, Failure> {
    let failed = |error| Failure::of("cannot start a process", &error);
    let (channel, fronts_end) =
        Channel::pair().map_err(|error| Failure::of("cannot make a socket pair", &error))?;
    let front = getpid();
    match nsntrace_sys::fork().map_err(failed)? {
        Fork::Parent(child) => {
            if plan.options.wait_all {
                let _ended = waitpid(Some(child), WaitOptions::empty());
            }
            Ok(fronts_end)
        }
        Fork::Child => {
            // The channel ends when front does, so nobody else may hold front's end of it.
            drop(fronts_end);
            plan.wireshark.iter().for_each(Wireshark::let_go);
            if plan.options.wait_all && !matches!(nsntrace_sys::fork(), Ok(Fork::Child)) {
                nsntrace_sys::exit_now(0);
            }
            match witness::fork(plan) {
                Ok(witness::Side::Worker(line)) => {
                    run(plan, netns, inside, &channel, inherited, front, line);
                }
                Ok(witness::Side::Witness(line)) => {
                    drop((inside, channel));
                    plan.let_go_of_outputs();
                    let _already_leader = setsid();
                    let _failed = leave_terminal(inherited).and_then(|()| witness::run(plan, netns, line));
                }
                Err(failure) => channel.report(&Report::Failed(failure)),
            }
            nsntrace_sys::exit_now(0)
        }
    }
}

/// Worker's life.
fn run(
    plan: &Plan,
    netns: &Netns,
    inside: Inside,
    channel: &Channel,
    inherited: Inherited,
    front: Pid,
    line: Option<Line>,
) {
    channel.report(&Report::Born(getpid().as_raw_nonzero().get()));
    if let Ok(channel) = channel.duplicate() {
        failing::tell(channel.into(), BROKEN);
    }
    plan.let_go_of_lines();
    let _already_leader = setsid();
    let _unnamed = rustix::thread::set_name(c"nsntrace-worker");
    // The ring fills while we wait for a processor. The program, which front forks, keeps its priority.
    let _as_before = setpriority_process(None, HIGHEST_PRIORITY);
    let begun = privilege::begin(plan);
    match begun.and_then(|()| set_up(plan, netns, inside, channel, inherited, front, line)) {
        Ok(service) => service.run(plan.options.linger),
        Err(failure) => channel.report(&Report::Failed(failure)),
    }
}

/// Lets go of everything that is the user's: whoever reads the other end of a pipe waits for front alone.
fn leave_terminal(inherited: Inherited) -> Result<(), Failure> {
    let failed = |errno: rustix::io::Errno| Failure::of("cannot open /dev/null", &errno);
    inherited.close();
    // The user may want to unmount what is mounted there.
    rustix::process::chdir("/").map_err(|errno| Failure::of("cannot change to /", &errno))?;
    let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    rustix::stdio::dup2_stdin(null.as_fd()).map_err(failed)?;
    rustix::stdio::dup2_stdout(null.as_fd()).map_err(failed)?;
    rustix::stdio::dup2_stderr(null.as_fd()).map_err(failed)
}

/// Everything up to the word "ready". What was made when a step fails is taken back by `Drop`.
fn set_up<'a>(
    plan: &'a Plan,
    netns: &'a Netns,
    inside: Inside,
    channel: &'a Channel,
    inherited: Inherited,
    front: Pid,
    line: Option<Line>,
) -> Result<Service<'a>, Failure> {
    let Inside { mut route, mut monitor, mut orphans, tap, listeners, knocks, keys, sockets, lines, tally } =
        inside;
    let geometry = ring_geometry(plan.options.buffer, retire_timeout_ms(plan))?;
    // First, and beside everything else: the kernel needs longest for it.
    let (ring, network) = thread::scope(|scope| {
        let ring = thread::Builder::new().spawn_scoped(scope, move || tap.make_ring(geometry));
        let ring = ring.map_err(|error| Failure::of("cannot start a thread", &error))?;
        let inside = Side { route: &mut route, monitor: &mut monitor };
        let network =
            leave_terminal(inherited).and_then(|()| Network::make(plan, netns, inside, knocks, front))?;
        Ok::<_, Failure>((ring.join().expect("making a ring does not panic"), network))
    })?;
    let relay = Relay::new(listeners)?;
    // Last of what can fail: it empties a file that was there before.
    let line = line.map(Arc::new);
    let owners = line.clone().map(|line| Owners::start(line, sockets)).transpose()?;
    let recorder = Recorder::start(ring?, &network, plan, channel, Sources { keys, owners, lines, tally })?;
    // The knocks are over.
    orphans.begin();
    privilege::confine();
    for note in network.notes() {
        channel.report(&Report::Note(note.clone()));
    }
    channel.report(&network.ready());
    Ok(Service::new(channel, netns, network, route, orphans, relay, recorder).with_witness(line))
}

fn retire_timeout_ms(plan: &Plan) -> u32 {
    if plan.outfile.is_stream || plan.lines.is_some() {
        STREAM_RETIRE_TIMEOUT_MS
    } else {
        FILE_RETIRE_TIMEOUT_MS
    }
}

/// setpriority(2).
const HIGHEST_PRIORITY: i32 = -20;
/// Few wake-ups: nobody looks at the file before its end.
const FILE_RETIRE_TIMEOUT_MS: u32 = 100;
/// Somebody may be watching the packets go by.
const STREAM_RETIRE_TIMEOUT_MS: u32 = 30;
