//! A network namespace per test, a second one to talk to, and foreign tools to look with.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    env,
    fs::File,
    os::fd::{AsFd, BorrowedFd},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Runs `test`, which is the body of the test function `name`, in a process and network namespace of its own.
///
/// The test binary calls itself under unshare(1), which needs root: without, the test fails.
#[track_caller]
pub(crate) fn isolated(name: &str, test: fn()) {
    isolated_by(&["unshare", "--net", "--"], name, test);
}

/// As [`isolated`], with the command that makes the isolation.
#[track_caller]
pub(crate) fn isolated_by(wrapper: &[&str], name: &str, test: fn()) {
    if env::var_os(MARK).is_some() {
        return test();
    }
    let output = Command::new(wrapper[0])
        .args(&wrapper[1..])
        .arg(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    // A name that is no test would run none, and succeed.
    let is_proved = output.status.success() && text.contains("1 passed");
    assert!(is_proved, "{}\n{text}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
}

/// What a shell command prints; it must succeed.
#[track_caller]
pub(crate) fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {}\n{error}", output.status);
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// Waits until something has become true; 10 s are far more than anything here takes.
#[track_caller]
pub(crate) fn eventually(mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_true() {
        assert!(Instant::now() < deadline, "it did not become true within 10 s");
        thread::yield_now();
    }
}

/// Another network namespace, which lives as long as this value.
pub(crate) struct Netns {
    holder: Child,
    file: File,
}

impl Netns {
    pub(crate) fn new() -> Self {
        let mut holder = Command::new("unshare")
            .args(["--net", "--", "sh", "-c", "echo; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // The line comes from inside: from then on the namespace of that process is the new one.
        let mut line = [0; 1];
        std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut line).unwrap();
        let file = File::open(format!("/proc/{}/ns/net", holder.id())).unwrap();
        Self { holder, file }
    }

    /// A process of this namespace, for iproute2.
    pub(crate) fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// What a shell command prints in this namespace.
    #[track_caller]
    pub(crate) fn sh(&self, script: &str) -> String {
        sh(&format!("nsenter --net=/proc/{}/ns/net -- sh -ec '{script}'", self.holder.id()))
    }

    /// What `open` makes in this namespace.
    pub(crate) fn inside<T: Send>(&self, open: impl FnOnce() -> T + Send) -> T {
        let enter = || {
            move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            open()
        };
        thread::scope(|scope| scope.spawn(enter).join().unwrap())
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

const MARK: &str = "NSNTRACE_TEST_IN_NETNS";
