//! What `$?` is: the program's, 128 + n after signal n, 125 to 127 where the program never ran.
#![forbid(unsafe_code)]

use std::os::unix::process::ExitStatusExt;

use nsntrace_testkit::{Lab, Plan};

#[test]
fn smoke_the_programs_status_is_ours() {
    let lab = Lab::new(&Plan::default());
    for status in [0, 1, 2, 42, 124, 125, 126, 127, 128, 130, 255] {
        lab.start(&["sh", "-c", &format!("exit {status}")]).wait().ended_with(status);
    }
}

#[test]
fn killed_by_a_signal_is_128_and_the_signal() {
    let lab = Lab::new(&Plan::default());
    let nsntrace = nsntrace_testkit::nsntrace().display();
    for signal in [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 31] {
        let script = format!(
            "cd {}; ulimit -c 0; {nsntrace} -q sh -c 'kill -{signal} $$'; echo $?",
            lab.dir.path().display()
        );
        let mut bash = std::process::Command::new("bash");
        bash.args(["-c", &script]);
        let said = lab.host.spawn(bash).wait().text();
        assert_eq!(said, format!("{}\n", 128 + signal), "signal {signal}");
    }
}

#[test]
fn the_users_own_signals_kill_us_too_and_no_others() {
    let lab = Lab::new(&Plan::default());
    for signal in [2, 3, 1, 9, 15, 11] {
        let finished = lab.start(&["sh", "-c", &format!("ulimit -c 0; kill -{signal} $$")]).wait();
        let died_by = [2, 3].contains(&signal).then_some(signal);
        assert_eq!(finished.status.signal(), died_by, "signal {signal}");
        assert!(finished.stderr.contains("\nFinished capturing "), "{}", finished.stderr);
        finished.ended_with(128 + signal);
    }
}

#[test]
fn smoke_not_found_is_127() {
    let lab = Lab::new(&Plan::default());
    for program in ["no-such-program", "/no/such/program", "./no-such-program"] {
        let finished = lab.start(&[program]).wait().ended_with(127);
        check_said(&finished.stderr, program);
    }
}

#[test]
fn smoke_not_executable_is_126() {
    let lab = Lab::new(&Plan::default());
    std::fs::write(lab.dir.join("text"), "just words").expect("our directory");
    for program in ["./text", "/etc", "/etc/passwd"] {
        let finished = lab.start(&[program]).wait().ended_with(126);
        check_said(&finished.stderr, program);
    }
}

#[test]
fn an_unprivileged_user_may_not_run_what_he_may_not() {
    let lab = Lab::new(&Plan::default());
    let program = lab.dir.join("mine");
    lab.host.sh(&format!("cp /bin/true {0}; chmod 700 {0}", program.display()));
    let finished = lab.start(&["-u", "nobody", "./mine"]).wait().ended_with(126);
    check_said(&finished.stderr, "./mine");
}

/// The last error line names what could not be run.
#[track_caller]
fn check_said(stderr: &str, program: &str) {
    let line = stderr.lines().find(|line| line.starts_with("nsntrace: ")).expect("an error line");
    assert!(line.contains(program), "{stderr}");
}

#[test]
fn path_is_searched_as_a_shell_does() {
    let lab = Lab::new(&Plan::default());
    lab.host.sh(&format!(
        "cd {}; mkdir a b; echo no > a/tool; printf '#!/bin/sh\\necho found\\n' > b/tool; chmod +x b/tool",
        lab.dir.path().display()
    ));
    let path = format!("{0}/a:{0}/b:/usr/bin:/bin", lab.dir.path().display());
    let mut command = lab.nsntrace(&["tool"]);
    command.env("PATH", path);
    let finished = lab.host.spawn(command).wait().succeeded();
    assert_eq!(finished.text(), "found\n");
}
