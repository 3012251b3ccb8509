//! A network namespace for one test of one crate, and others for it to talk to.
//!
//! # Theory of operation
//! A test that changes links or rules must not do so where the developer's own are. So it runs twice: the first time
//! [`isolated`] starts this test binary again under unshare(1), for that test alone, and the second time it runs the
//! body. That process is in the new namespace as a whole, with every thread that it starts; and it may be without a
//! capability, for which [`isolated_by`] takes another command than unshare(1).
//!
//! A [`Netns`] is nothing but a descriptor. No process lives in it, so it ends when the descriptor is closed. Where a
//! test needs more of a machine than its network there is [`Lab`](crate::Lab).
//!
//! # Kernel interface
//! `unshare(CLONE_NEWNET)`, `setns(CLONE_NEWNET)`: `CAP_SYS_ADMIN`. `/proc/thread-self/ns/net`, `/proc/PID/fd/N`.
//!
//! # References
//! network_namespaces(7), unshare(1), capabilities(7).

use std::any::type_name;
use std::env;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::process::{self, Command, Output};
use std::thread;
use std::time::Duration;

use rustix::thread::{
    CapabilitySet, LinkNameSpaceType, UnshareFlags, capabilities, move_into_link_name_space,
};

/// Runs the body of a test in a process and a network namespace of its own.
///
/// `body` is a closure that is written in the test function itself: its type is what names the test to run.
///
/// # Panics
/// When the body does, with what it printed; and without `CAP_SYS_ADMIN`, for a test that is skipped looks like one that
/// has passed.
#[track_caller]
pub fn isolated<F: FnOnce()>(body: F) {
    isolated_by(&["unshare", "--net", "--"], body);
}

/// As [`isolated`], in whatever the command `wrapper` makes for the command that follows it.
///
/// # Panics
/// As [`isolated`].
#[track_caller]
pub fn isolated_by<F: FnOnce()>(wrapper: &[&str], body: F) {
    if env::var_os(MARK).is_some() {
        return body();
    }
    demand_sys_admin();
    let test = test_of::<F>();
    let (program, arguments) = wrapper.split_first().expect("a command has a name");
    let output = Command::new(program)
        .args(arguments)
        .arg(env::current_exe().expect("procfs is mounted"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .output()
        .unwrap_or_else(|e| panic!("cannot start {program}: {e}"));
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    // A name that is no test would run none, and succeed.
    let has_passed = output.status.success() && stdout.contains("1 passed");
    assert!(has_passed, "{test}: {}\n{stdout}\n{stderr}", output.status);
}

/// Runs a shell script to its end and returns what it printed, without the last line's end.
///
/// # Panics
/// When the status is not 0, with what it wrote to standard error.
#[track_caller]
pub fn sh(script: &str) -> String {
    printed(script, &run(script))
}

/// Waits until something has become true.
///
/// # Panics
/// When it has not after 10 s, which are far more than anything takes that the kernel does by itself.
#[track_caller]
pub fn eventually(mut is_true: impl FnMut() -> bool) {
    let found = crate::within(PATIENCE, || is_true().then_some(()));
    assert!(found.is_some(), "it did not become true within {PATIENCE:?}");
}

/// Another network namespace, which ends with this value and the last socket and process of it.
#[derive(Debug)]
pub struct Netns {
    file: File,
}

impl Netns {
    /// Makes a namespace with a loopback device that is down, as `ip netns add` does, but without a name.
    ///
    /// # Panics
    /// Without `CAP_SYS_ADMIN`.
    #[track_caller]
    pub fn new() -> Self {
        demand_sys_admin();
        let file = on_a_thread(|| {
            leave_the_netns();
            File::open("/proc/thread-self/ns/net").expect("procfs is mounted")
        });
        Self { file }
    }

    /// A name of it that any process can use as long as this value lives: `ip link set DEVICE netns PATH`.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", process::id(), self.file.as_raw_fd()).into()
    }

    /// Does `work` on a thread that is in this namespace: its sockets, and the processes that it starts, belong there.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        on_a_thread(|| {
            let entered = move_into_link_name_space(self.as_fd(), Some(LinkNameSpaceType::Network));
            entered.expect("who made a namespace may enter it");
            work()
        })
    }

    /// As the function [`sh`], in this namespace.
    ///
    /// # Panics
    /// As [`sh`].
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        printed(script, &self.inside(|| run(script)))
    }
}

impl Default for Netns {
    fn default() -> Self {
        Self::new()
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[track_caller]
fn demand_sys_admin() {
    let ours = capabilities(None).expect("our own are always told").effective;
    assert!(
        ours.contains(CapabilitySet::SYS_ADMIN),
        "this test makes a network namespace, which needs CAP_SYS_ADMIN: run it as root"
    );
}

/// The name that libtest has for the test function that the closure `F` is written in.
///
/// `type_name` promises nothing; it says `crate::module::function::{{closure}}`. If it ever says something else there is no
/// such test, and [`isolated_by`] fails.
fn test_of<F>() -> &'static str {
    let closure = type_name::<F>();
    let function = closure.split_once("::{{closure}}").map_or(closure, |(function, _)| function);
    function.split_once("::").map_or(function, |(_crate, path)| path)
}

/// The result of `work`, which may change its thread's namespaces; a panic goes on in the caller.
fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| resume_unwind(panic))
}

#[expect(deprecated, reason = "the unsafe twin differs only for CLONE_FILES, which is not asked for")]
fn leave_the_netns() {
    rustix::thread::unshare(UnshareFlags::NEWNET).expect("CAP_SYS_ADMIN was demanded");
}

fn run(script: &str) -> Output {
    Command::new("sh").args(["-ec", script]).output().expect("sh is there")
}

#[track_caller]
fn printed(script: &str, output: &Output) -> String {
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success(), "{script}: {}\n{stderr}", output.status);
    stdout.trim_end().to_owned()
}

/// Tells a test that it is in its namespace already.
const MARK: &str = "NSNTRACE_ISOLATED";
const PATIENCE: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use std::fs;
    use std::panic::catch_unwind;

    use super::*;

    const LINKS: &str = "ip -o link | wc -l";

    #[test]
    fn the_body_is_in_a_namespace_of_its_own() {
        isolated(|| {
            // unshare(1) has become this process, so its parent is the one that called `isolated`.
            let parent = rustix::process::getppid().expect("the test that waits").as_raw_nonzero();
            let [outer, inner] = [parent.to_string(), "self".to_owned()]
                .map(|process| fs::read_link(format!("/proc/{process}/ns/net")).unwrap());
            assert_ne!(outer, inner);
            assert_eq!(sh(LINKS), "1");
        });
    }

    #[test]
    #[should_panic(expected = "exit status: 3")]
    fn a_body_that_fails_is_a_test_that_fails() {
        isolated(|| process::exit(3));
    }

    #[test]
    #[should_panic(expected = "0 passed")]
    fn a_body_outside_of_a_test_is_refused() {
        fn no_test() {
            isolated(|| ());
        }
        no_test();
    }

    #[test]
    fn without_the_privilege_a_test_fails_and_says_so() {
        isolated_by(&["setpriv", "--bounding-set", "-sys_admin", "--"], || {
            let panic = catch_unwind(Netns::new).unwrap_err();
            let words = panic.downcast_ref::<&str>().expect("words without an operand");
            assert!(words.contains("needs CAP_SYS_ADMIN"), "{words}");
        });
    }

    #[test]
    fn a_netns_is_entered_by_threads_scripts_and_devices() {
        isolated(|| {
            let other = Netns::new();
            sh(&format!("ip link add near type veth peer name far netns {}", other.path().display()));
            assert_eq!((sh(LINKS), other.sh(LINKS)), ("2".to_owned(), "2".to_owned()));
            assert_eq!(other.inside(|| sh("ip -o link show far | wc -l")), "1");
            // It takes the pair along.
            drop(other);
            eventually(|| sh(LINKS) == "1");
        });
    }

    #[test]
    #[should_panic(expected = "echo why >&2; false; echo never: exit status: 1\nwhy")]
    fn a_script_stops_at_its_first_failure() {
        sh("echo why >&2; false; echo never");
    }
}
