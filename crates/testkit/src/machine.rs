//! A machine: network, mount and pid namespaces of its own, and a thread that lives in them.
//!
//! # Theory of operation
//! The thread unshares and then starts what it is asked to start, so every process is born inside and is still a child of the
//! test: `nsenter` and `ip netns exec` would stand in between and keep signals to themselves. The first
//! process is the pid namespace's pid 1: it mounts what a machine has of its own (`/proc`, `/sys`, an empty `/run`) and then
//! reads a pipe until the test is gone, ignoring SIGCHLD so that the kernel reaps the orphans that come to it.
//!
//! # Kernel interface
//! `unshare(CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID)`, root. A thread whose children go to another pid namespace
//! cannot start threads (`copy_process()` in kernel/fork.c), so work for it must not either.
//!
//! # References
//! unshare(2), `pid_namespaces(7)`, `mount_namespaces(7)`.

use std::any::Any;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use rustix::thread::UnshareFlags;

use crate::process::{Finished, Outputs, Process, describe};

/// A machine. Dropping it ends every process in it.
#[derive(Debug)]
pub struct Machine {
    jobs: Option<Sender<Job>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// What differs between one machine and another before it has a network.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files<'a> {
    /// Bound over /etc/resolv.conf.
    pub(crate) resolv_conf: Option<&'a Path>,
    /// Becomes a copy of /etc that tests may write to.
    pub(crate) private_etc: Option<&'a Path>,
}

type Job = Box<dyn FnOnce() + Send>;

impl Machine {
    /// Makes the namespaces and waits until the machine's own mounts are in place.
    pub(crate) fn boot(files: &Files<'_>) -> Self {
        demand_root();
        let (jobs, inbox) = channel::<Job>();
        let mut init = init_command(files);
        let (report, booted) = channel();
        let thread = thread::spawn(move || {
            leave_the_root_namespaces();
            let mut init = init.spawn().expect("sh is there");
            report.send(await_ready(&mut init)).expect("boot() waits");
            for job in inbox {
                job();
            }
            // Its standard input closes, it ends, and the kernel kills all others in its pid namespace first.
            drop(init.stdin.take());
            init.wait().expect("it is our child");
        });
        booted.recv().expect("the machine's thread runs").expect("the machine boots");
        Self { jobs: Some(jobs), thread: Some(thread) }
    }

    /// Runs `work` on a thread inside the machine: its sockets and files are the machine's.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (answer, answered) = channel::<Result<T, Box<dyn Any + Send>>>();
        let job = Box::new(move || {
            let outcome = catch_unwind(AssertUnwindSafe(work));
            answer.send(outcome).expect("the caller waits");
        });
        self.jobs.as_ref().expect("taken by drop alone").send(job).expect("the thread lives as long as we");
        match answered.recv().expect("the job answers") {
            Ok(value) => value,
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Starts `command` in the machine, its output kept for [`Process`].
    #[track_caller]
    pub fn spawn(&self, mut command: Command) -> Process {
        let outputs = Outputs::redirect(&mut command);
        let line = describe(&command);
        let child = self.start(command);
        Process::new(child, outputs, line)
    }

    /// Starts `command` in the machine, its descriptors as they are.
    #[track_caller]
    pub fn start(&self, mut command: Command) -> Child {
        let line = describe(&command);
        let spawned = self.run(move || command.spawn());
        spawned.unwrap_or_else(|e| panic!("cannot start {line}: {e}"))
    }

    /// Runs a shell script in the machine, insists on status 0, and returns what it printed.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        self.try_sh(script).succeeded().text()
    }

    /// Runs a shell script in the machine to its end.
    #[track_caller]
    pub fn try_sh(&self, script: &str) -> Finished {
        let mut command = Command::new("sh");
        command.args(["-ec", script]).stdin(Stdio::null());
        self.spawn(command).wait()
    }

    /// Reads a file as the machine sees it.
    #[track_caller]
    pub fn read(&self, path: &str) -> String {
        let wanted = path.to_owned();
        self.run(move || fs::read_to_string(wanted)).unwrap_or_else(|e| panic!("cannot read {path}: {e}"))
    }

    /// Writes a file as the machine sees it: a sysctl is the one of its network namespace.
    #[track_caller]
    pub fn write(&self, path: &str, text: &str) {
        let (wanted, words) = (path.to_owned(), text.to_owned());
        let written = self.run(move || fs::write(wanted, words));
        written.unwrap_or_else(|e| panic!("cannot write {path}: {e}"));
    }

    /// Whether the machine has such a path.
    pub fn has(&self, path: &str) -> bool {
        let wanted = path.to_owned();
        self.run(move || fs::symlink_metadata(wanted).is_ok())
    }

    /// The names in a directory of the machine, sorted; none where there is no such directory.
    pub fn list(&self, path: &str) -> Vec<String> {
        let wanted = path.to_owned();
        self.run(move || {
            let entries = fs::read_dir(wanted).into_iter().flatten().flatten();
            let mut names: Vec<_> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names
        })
    }

    /// A descriptor of its network namespace.
    pub(crate) fn netns(&self) -> OwnedFd {
        self.run(|| fs::File::open("/proc/1/ns/net").expect("the machine's own procfs")).into()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.jobs.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Fails at once and clearly: without root there is no machine, and a skipped test would look like a passed one.
fn demand_root() {
    assert!(
        rustix::process::geteuid().is_root(),
        "these tests build machines out of namespaces and need root"
    );
}

#[expect(deprecated, reason = "the unsafe twin differs only for CLONE_FILES, which is not asked for")]
fn leave_the_root_namespaces() {
    let flags = UnshareFlags::NEWNET | UnshareFlags::NEWNS | UnshareFlags::NEWPID;
    rustix::thread::unshare(flags).expect("root may unshare");
}

fn init_command(files: &Files<'_>) -> Command {
    let mut init = Command::new("sh");
    init.args(["-ec", INIT]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    init.env("RESOLV_CONF", files.resolv_conf.unwrap_or(Path::new("")));
    init.env("PRIVATE_ETC", files.private_etc.unwrap_or(Path::new("")));
    init
}

fn await_ready(init: &mut Child) -> Result<(), String> {
    let stdout = init.stdout.take().ok_or("no pipe from pid 1")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).map_err(|e| e.to_string())?;
    if line == "ready\n" { Ok(()) } else { Err(format!("pid 1 said {line:?}")) }
}

/// What pid 1 does. Mounts are shared at the end, as systemd leaves them, so that a mount that leaks out of a
/// traced program's namespace is seen.
const INIT: &str = r#"
mount --make-rprivate /
mount -t proc proc /proc
# The names that ip-netns(8) gives outside come and go.
umount -R -l /run/netns 2>/dev/null || true
mount -t tmpfs -o mode=755,size=64m tmpfs /run
mkdir /run/cgroup
mount --rbind /sys/fs/cgroup /run/cgroup
mount -t sysfs sysfs /sys
mount --rbind /run/cgroup /sys/fs/cgroup
umount -R -l /run/cgroup
rmdir /run/cgroup
mkdir -m 1777 /run/lock
if [ -n "$PRIVATE_ETC" ]; then
    cp -a /etc "$PRIVATE_ETC"
    mount --bind "$PRIVATE_ETC" /etc
fi
if [ -n "$RESOLV_CONF" ]; then
    mount --bind "$RESOLV_CONF" /etc/resolv.conf
fi
mount --make-rshared /
echo ready
exec >/dev/null env --ignore-signal=CHLD cat
"#;
