//! A user namespace around a process that has uid 0 and nothing else: what it may, and what the program that it becomes may not.
//!
//! Without libtest: a user namespace is for a process of one thread. This program starts itself once for each test, inside of what
//! the test is about.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::env;
use std::fs;
use std::process::Command;

use nsntrace_netns::{Barrier, Netns, NetnsError, user};
use nsntrace_testkit::sh;

/// A name, a command line to run the test by, the test.
type Test = (&'static str, &'static [&'static str], fn());

const TESTS: [Test; 3] = [
    (
        "nearly powerless",
        &NEARLY_POWERLESS,
        who_has_little_gets_namespaces_and_the_program_no_more_than_it_had,
    ),
    ("powerless", &POWERLESS, uid_0_needs_one_capability_to_be_mapped),
    ("childless", &CHILDLESS, what_forbids_it_is_named),
];

fn main() {
    match env::var(TEST) {
        Ok(name) => TESTS.iter().find(|test| test.0 == name).unwrap().2(),
        Err(_absent) => TESTS.iter().for_each(run),
    }
}

fn run(&(name, wrapper, _): &Test) {
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg(env::current_exe().unwrap()).env(TEST, name);
    assert!(command.status().unwrap().success(), "{name}");
}

/// Root in name alone: no capability, and none to be had by an exec.
const POWERLESS: [&str; 5] = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"];

/// The same, but for the one without which uid 0 cannot be mapped.
const NEARLY_POWERLESS: [&str; 5] = ["setpriv", "--bounding-set", "-all,+setfcap", "--inh-caps", "-all"];

/// A user namespace that was told to let nobody make another one.
const CHILDLESS: [&str; 6] = [
    "unshare",
    "--user",
    "--map-root-user",
    "sh",
    "-c",
    "echo 0 > /proc/sys/user/max_user_namespaces; exec \"$0\" \"$@\"",
];

/// What a program that is exec'd now has.
fn capabilities() -> Vec<String> {
    let lines = sh("grep -E '^Cap(Prm|Eff|Bnd|Amb)' /proc/self/status");
    lines.lines().map(|line| line.split_whitespace().nth(1).unwrap().to_owned()).collect()
}

fn who_has_little_gets_namespaces_and_the_program_no_more_than_it_had() {
    let outside = capabilities();
    let setfcap = "0000000080000000";
    assert_eq!(outside, [setfcap, setfcap, setfcap, "0000000000000000"]);
    assert!(matches!(Netns::create(|| ()), Err(NetnsError::Unshare(_))));
    let bounds = user::enter().unwrap();
    assert_eq!((words("uid_map"), words("gid_map")), ("0 0 1".into(), "0 0 1".into()));
    assert_eq!(words("setgroups"), "deny");
    assert!(!user::owns_netns(), "the host's network stays the host's");
    Netns::create(|| assert!(user::owns_netns())).unwrap();
    assert_ne!(capabilities(), outside, "an exec by root gives what the new namespace bounds");
    bounds.impose().unwrap();
    assert_eq!(capabilities(), outside);
}

/// A file of /proc/self, with one space between its words.
fn words(name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/self/{name}")).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn uid_0_needs_one_capability_to_be_mapped() {
    check_barrier(Barrier::RootUnmapped, "map the user into a user namespace, since uid 0 lacks CAP_SETFCAP");
}

fn what_forbids_it_is_named() {
    check_barrier(Barrier::NoneAllowed, "make a user namespace, since user.max_user_namespaces is 0");
}

#[track_caller]
fn check_barrier(expected: Barrier, said: &str) {
    let error = user::enter().unwrap_err();
    assert_eq!(error.to_string(), format!("cannot {said}"));
    assert!(
        matches!(error, NetnsError::User { barrier: Some(barrier), .. } if barrier == expected),
        "{error:?}"
    );
}

const TEST: &str = "NSNTRACE_TEST_CASE";
