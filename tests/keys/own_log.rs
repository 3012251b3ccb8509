//! A key log that the user has asked for himself: as whole as without us.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Stdio;
use std::time::Duration;

use nsntrace_testkit::{Finished, until};

use crate::lab::{TLS13, TlsLab};

/// `SSLKEYLOGFILE=log nsntrace --tls-keys -o t.pcapng options... sh -c script`.
fn trace(tls: &TlsLab, log: &str, options: &[&str], script: &str) -> Finished {
    let mut command =
        tls.lab.nsntrace(&[&["--tls-keys", "-o", "t.pcapng"], options, &["sh", "-ec", script]].concat());
    command.env("SSLKEYLOGFILE", log).stdin(Stdio::null());
    tls.lab.host.spawn(command).wait()
}

fn lines(tls: &TlsLab, name: &str) -> usize {
    fs::read_to_string(tls.path(name))
        .expect("it is there")
        .lines()
        .filter(|line| line.contains("_SECRET"))
        .count()
}

#[test]
fn it_gets_every_byte_through_a_link_behind_what_it_had() {
    let tls = TlsLab::new();
    fs::write(tls.path("real"), "# mine\n").expect("our directory");
    symlink("real", tls.path("link")).expect("our directory");
    let script = format!(
        "echo nonsense >>$SSLKEYLOGFILE; curl -sk https://{TLS13}/own; printf unfinished >>$SSLKEYLOGFILE"
    );
    trace(&tls, "link", &[], &script).succeeded();
    assert_eq!(tls.asked(), ["/own"]);
    let text = fs::read_to_string(tls.path("real")).expect("it was there");
    assert!(text.starts_with("# mine\nnonsense\n") && text.ends_with("\nunfinished"), "{text}");
    assert!(lines(&tls, "real") >= 4);
}

#[test]
fn it_is_made_for_its_owner_alone_and_belongs_to_the_user_of_u() {
    let tls = TlsLab::new();
    fs::set_permissions(tls.lab.dir.path(), fs::Permissions::from_mode(0o777)).expect("it is ours");
    trace(&tls, "log", &["-u", "nobody"], &format!("curl -sk https://{TLS13}/")).succeeded();
    let stat = tls.lab.host.sh(&format!("stat -c '%U %a' {}/log", tls.lab.dir.path().display()));
    assert_eq!((stat.as_str(), lines(&tls, "log")), ("nobody 600\n", 5));
}

#[test]
fn what_the_program_could_not_write_to_is_refused_before_anything_is_touched() {
    let tls = TlsLab::new();
    fs::write(tls.path("roots"), "").expect("our directory");
    fs::set_permissions(tls.path("roots"), fs::Permissions::from_mode(0o600)).expect("it is ours");
    for (log, options) in [("no/such/folder", &[][..]), ("roots", &["-u", "nobody"])] {
        let refused = trace(&tls, log, options, "touch started").ended_with(125);
        let said = format!("nsntrace: cannot write to '{log}', which SSLKEYLOGFILE names: ");
        assert!(
            refused.stderr.starts_with(&said) && refused.stderr.contains("\nhint: "),
            "{}",
            refused.stderr
        );
        assert!(!tls.path("started").exists() && !tls.path("t.pcapng").exists());
    }
}

#[test]
fn it_goes_on_when_the_recording_has_ended() {
    let tls = TlsLab::new();
    let script = format!(
        "curl -sk https://{TLS13}/1; sleep 0.5; curl -sk https://{TLS13}/2; curl -sk https://{TLS13}/3"
    );
    trace(&tls, "log", &["-c", "3"], &script).succeeded();
    assert_eq!(lines(&tls, "log"), 15);
}

/// They have no network any more, but they can log, and none waits for ever.
#[test]
fn who_outlives_the_trace_logs_to_it_or_to_nobody() {
    let tls = TlsLab::new();
    let script = "(while [ ! -e go ]; do sleep 0.1; done; echo CLIENT_RANDOM_SECRET late >>$SSLKEYLOGFILE; touch gone) >/dev/null 2>&1 &";
    let outlived = || {
        fs::write(tls.path("go"), "").expect("our directory");
        until("it has logged", Duration::from_mins(1), || tls.path("gone").exists().then_some(()));
        fs::remove_file(tls.path("go"))
            .and_then(|()| fs::remove_file(tls.path("gone")))
            .expect("both are there");
    };
    trace(&tls, "log", &[], script).succeeded();
    outlived();
    assert_eq!(lines(&tls, "log"), 1);
    trace(&tls, "", &[], script).succeeded();
    outlived();
}

#[test]
fn a_pipe_that_nobody_reads_holds_up_nobody_for_ever() {
    let tls = TlsLab::new();
    tls.lab.host.sh(&format!("mkfifo {}/pipe", tls.lab.dir.path().display()));
    let _open = fs::OpenOptions::new().read(true).write(true).open(tls.path("pipe")).expect("both ends");
    let script = format!(
        "for n in $(seq 100); do echo '# {}' >>$SSLKEYLOGFILE; done; curl -sk https://{TLS13}/",
        "x".repeat(2000)
    );
    trace(&tls, "pipe", &[], &script).succeeded();
    assert_eq!(tls.asked(), ["/"]);
}
