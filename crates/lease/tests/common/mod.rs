//! What the tests of this crate share: a directory of their own, and runs that can be killed.
#![allow(dead_code, reason = "each test binary uses a part, and one of them all of it")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::env;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nsntrace_lease::{Lease, LeaseError, Presence, RunDir};

/// The setting that the tests lease, below [`Fixture::settings`].
pub(crate) const KEY: &str = "net/ipv4/conf/eth0.5/forwarding";
/// The scope that the tests run in.
pub(crate) const SCOPE: &str = "net-1";

/// Temporary directories that stand for `/run/nsntrace` and `/proc/sys`, removed at the end.
pub(crate) struct Fixture {
    root: PathBuf,
}

impl Fixture {
    /// A setting [`KEY`] with this value.
    pub(crate) fn new(value: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = env::temp_dir().join(format!("nsntrace-lease-{}-{count}", std::process::id()));
        fs::create_dir_all(root.join("sys").join(KEY).parent().unwrap()).unwrap();
        let fixture = Self { root };
        fixture.set(value);
        fixture
    }

    /// Stands for `/run/nsntrace`.
    pub(crate) fn base(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Stands for `/proc/sys`.
    pub(crate) fn settings(&self) -> PathBuf {
        self.root.join("sys")
    }

    /// The directory of runs, as one more run opens it.
    pub(crate) fn open(&self) -> RunDir {
        open(&self.base(), &self.settings()).unwrap()
    }

    /// Changes the setting as a stranger does.
    pub(crate) fn set(&self, value: &str) {
        fs::write(self.settings().join(KEY), format!("{value}\n")).unwrap();
    }

    /// The setting's whole text.
    pub(crate) fn text(&self) -> String {
        fs::read_to_string(self.settings().join(KEY)).unwrap()
    }

    /// Starts a process that leases [`KEY`] as 1 and waits until it does.
    pub(crate) fn start_run(&self) -> Run {
        Run::start(&self.base(), &self.settings())
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn open(base: &Path, settings: &Path) -> Result<RunDir, LeaseError> {
    RunDir::open(base, SCOPE).map(|dir| dir.with_settings_root(settings))
}

/// A process that holds a lease on [`KEY`] and a presence.
pub(crate) struct Run {
    child: Child,
}

impl Run {
    fn start(base: &Path, settings: &Path) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "--nocapture", RUN_TEST])
            .env("NSNTRACE_LEASE_BASE", base)
            .env("NSNTRACE_LEASE_SETTINGS", settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        // The harness writes lines of its own first, and the last of them has no end.
        assert!(lines.any(|line| line.unwrap().ends_with("leased")), "the run ended before it had its lease");
        Self { child }
    }

    /// The id of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process: SIGKILL, so nothing of its own runs any more.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Lets the process end by itself.
    pub(crate) fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success(), "the run failed");
    }
}

/// The test of each binary that is also the process of a [`Run`]. It starts with [`be_a_run`].
const RUN_TEST: &str = "a_run_is_a_process";

/// Does what a [`Run`] does, if this process is one. The test that calls it is over then.
pub(crate) fn be_a_run() -> bool {
    let var = |name: &str| env::var_os(name).map(PathBuf::from);
    let (Some(base), Some(settings)) = (var("NSNTRACE_LEASE_BASE"), var("NSNTRACE_LEASE_SETTINGS")) else {
        return false;
    };
    let dir = open(&base, &settings).unwrap();
    let mut presence = Presence::register(&dir, std::process::id()).unwrap();
    presence.note(&format!("netns-name nsntrace-{}", std::process::id())).unwrap();
    let lease = Lease::acquire(&dir, KEY, "1").unwrap();
    assert_eq!(lease.original(), "0");
    io::stdout().write_all(b"leased\n").unwrap();
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(fs::read_to_string(settings.join(KEY)).unwrap(), "1\n", "changed while it was leased");
    true
}
