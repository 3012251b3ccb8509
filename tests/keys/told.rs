//! Which connections can be read, and why the others cannot: in the table and in JSON.

use nsntrace_testkit::Finished;

use crate::lab::{TLS12, TLS13, TlsLab};

#[track_caller]
fn told(tls: &TlsLab, done: &Finished, words: &str, keys: &str) {
    assert!(done.stderr.contains(words), "{words}: {}", done.stderr);
    assert_eq!(tls.jq("[.conversations[] | select(.protocol == \"TLS\") | .tls.keys]"), format!("{keys}\n"));
}

const REPORT: [&str; 2] = ["--report", "report.json"];

#[test]
fn keys_that_are_there_and_nonsense_that_is_none() {
    let tls = TlsLab::new();
    let script = format!(
        "echo nonsense >>$SSLKEYLOGFILE; head -c 100000 /dev/urandom | tr -d '\\n' >>$SSLKEYLOGFILE
        echo >>$SSLKEYLOGFILE; curl -sk https://{TLS13}/1 https://{TLS13}/2"
    );
    let done = tls.trace(&REPORT, &script);
    told(&tls, &done, "keys (2 of 2)\n", r#"[{"present":2}]"#);
    assert!(
        done.stderr.contains("  2 lines in the key log are no keys, and were left out\n"),
        "{}",
        done.stderr
    );
    assert_eq!((tls.jq(".ignored_key_lines"), tls.asked().len()), ("2\n".to_owned(), 2));
}

#[test]
fn a_program_that_logs_none() {
    let tls = TlsLab::new();
    let done = tls.trace(&REPORT, &tls.python("never", 2, &[TLS13]));
    told(&tls, &done, "no keys: the process does not log any (2 of 2)", r#"[{"never logged":2}]"#);
}

#[test]
fn one_child_that_logs_and_another_that_does_not() {
    let tls = TlsLab::new();
    let script = format!("{}; curl -sk https://{TLS12}/", tls.python("never", 1, &[TLS13]));
    let done = tls.trace(&REPORT, &script);
    assert!(done.stderr.contains("no keys: the process does not log any"), "{}", done.stderr);
    assert_eq!(by_process(&tls), "curl present 1\npython3 never logged 1\n");
    // Without owners the whole program is judged together.
    let done = tls.trace(&[&REPORT[..], &["--no-process-info"]].concat(), &script);
    assert!(done.stderr.contains("no keys: resumed, or by another library than the rest"), "{}", done.stderr);
    assert_eq!(by_process(&tls), " missing 1\n present 1\n");
}

/// One process that logs the keys of one connection, and not those of another.
#[test]
fn a_process_that_logs_some() {
    let tls = TlsLab::new();
    let script = format!("{}; curl -sk https://{TLS12}/", tls.python("first", 3, &[TLS13]));
    tls.trace(&REPORT, &script);
    assert_eq!(by_process(&tls), "curl present 1\npython3 missing 2\npython3 present 1\n");
}

/// Lines `PROCESS WORD COUNT`.
fn by_process(tls: &TlsLab) -> String {
    tls.jq(r#"[.conversations[] | select(.protocol == "TLS") | (.process.name // "") as $who
        | .tls.keys | to_entries[] | "\($who) \(.key) \(.value)"] | sort[]"#)
}

#[test]
fn late_keys_in_a_stream() {
    let tls = TlsLab::new();
    let program = tls.python("late", 2, &[TLS13]);
    let script = format!(
        "cd {}; {} --tls-keys --report report.json -o - --format pcapng {program} 2>said | cat >t.pcapng; cat said",
        tls.lab.dir.path().display(),
        nsntrace_testkit::nsntrace().display()
    );
    let said = tls.lab.host.sh(&script);
    assert!(said.contains("keys came too late: behind its packets (2 of 2)"), "{said}");
    assert_eq!(tls.jq("[.conversations[].tls.keys]"), "[{\"late\":2}]\n");
    assert_eq!(tls.asked().len(), 0);
}

#[test]
fn packets_that_are_cut() {
    let tls = TlsLab::new();
    let done = tls.trace(
        &[&REPORT[..], &["-f", "greater 400 or tcp[13] & 2 != 0", "-s", "2000"]].concat(),
        &format!("curl -sk https://{TLS12}/"),
    );
    assert!(done.stderr.contains("keys"), "{}", done.stderr);
}
