//! Where system calls cannot be seen, or a program wants to see them itself.

use std::process::Stdio;

use nsntrace_testkit::{Finished, Lab, Plan, nsntrace};

/// Runs nsntrace under a rule of seccomp.py, which a program finds as `$SECCOMP`, too.
fn run(lab: &Lab, rule: Option<&str>, options: &[&str], script: &str) -> Finished {
    let seccomp = concat!(env!("CARGO_MANIFEST_DIR"), "/seccomp.py");
    let under = rule.map_or(vec![], |rule| vec!["/usr/bin/python3", seccomp, rule]);
    let mut command = std::process::Command::new("/usr/bin/env");
    command.args(under).arg(nsntrace()).args(["-o", "trace.pcapng"]).args(options).args(["sh", "-c", script]);
    command.env("SECCOMP", seccomp);
    command.current_dir(lab.dir.path()).stdin(Stdio::null());
    lab.host.spawn(command).wait()
}

const NOTE: &str =
    "nsntrace: note: short-lived sockets will be nobody's, since system calls cannot be seen: ";
const ASK: &str = "curl -s http://198.51.100.2/whoami";

#[test]
fn that_calls_cannot_be_seen_is_said_once_and_the_program_runs() {
    let lab = Lab::new(&Plan::default());
    for (rule, why) in [("listener", "Device or resource busy"), ("no-listeners", "Invalid argument")] {
        let finished = run(&lab, Some(rule), &[], ASK).succeeded();
        assert_eq!(finished.stderr.matches(&format!("{NOTE}{why}")).count(), 1, "{}", finished.stderr);
        assert!(!finished.text().is_empty());
        for options in [&["-q"][..], &["--no-process-info"]] {
            let finished = run(&lab, Some(rule), options, ASK).succeeded();
            assert!(!finished.stderr.contains("note: short"), "{options:?}: {}", finished.stderr);
        }
    }
    let finished = run(&lab, None, &[], ASK).succeeded();
    assert!(!finished.stderr.contains("note: short"), "{}", finished.stderr);
}

#[test]
fn a_program_with_a_listener_of_its_own_needs_to_be_let_alone() {
    let lab = Lab::new(&Plan::default());
    let script = format!("exec /usr/bin/python3 $SECCOMP listener {ASK}");
    let refused = run(&lab, None, &[], &script);
    assert!(refused.stderr.contains("seccomp.py: Device or resource busy"), "{}", refused.stderr);
    let finished = run(&lab, None, &["--no-process-info"], &script).succeeded();
    assert!(!finished.text().is_empty());
}
