//! Who may read what has keys, and where keys are not.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::time::Duration;

use nsntrace_testkit::{CaptureFile, program_of, sh, until, worker_of};

use crate::lab::{TLS13, TlsLab};

fn mode(tls: &TlsLab, name: &str) -> u32 {
    fs::metadata(tls.path(name)).expect("it is there").permissions().mode() & 0o7777
}

#[test]
fn a_file_is_its_owners_alone_also_one_that_was_there() {
    let tls = TlsLab::new();
    let ask = format!("stat -c %a t.pcapng; curl -sk https://{TLS13}/");
    let done = tls.trace(&[], &ask);
    assert_eq!((mode(&tls, "t.pcapng"), done.text().as_str()), (0o600, "600\nsecret /\n"));
    assert_eq!(done.stderr.matches("0600").count(), 1, "said once: {}", done.stderr);
    for owner in [0, 65_534] {
        fs::write(tls.path("t.pcapng"), "older").expect("our directory");
        fs::set_permissions(tls.path("t.pcapng"), fs::Permissions::from_mode(0o644)).expect("it is ours");
        chown(tls.path("t.pcapng"), Some(owner), None).expect("we are root");
        assert_eq!(tls.trace(&[], &ask).text(), "600\nsecret /\n", "before the program starts");
        assert_eq!(tls.asked(), ["/"]);
    }
}

#[test]
fn without_keys_it_is_as_it_was() {
    let tls = TlsLab::new();
    tls.lab.start(&["-o", "t.pcapng", "true"]).wait().succeeded();
    assert_eq!(mode(&tls, "t.pcapng"), 0o644);
    let bytes = fs::read(tls.path("t.pcapng")).expect("it is there");
    assert!(bytes.len() < 4096, "and there is no room for any: {}", bytes.len());
}

#[test]
fn classic_pcap_is_refused_before_anything_is_touched() {
    let tls = TlsLab::new();
    for options in [&["-o", "t.pcap"][..], &[], &["-o", "t.pcapng", "--format", "pcap"]] {
        let refused = tls.lab.start(&[&["--tls-keys"], options, &["true"]].concat()).wait().ended_with(125);
        let said = "nsntrace: classic pcap has no place for TLS keys\nhint: name a file *.pcapng with -o, or add --format pcapng\n";
        assert_eq!(refused.stderr, said);
        assert!(!["t.pcap", "t.pcapng", "nsntrace.pcap"].iter().any(|name| tls.path(name).exists()));
    }
}

#[test]
fn no_key_is_in_a_message_or_in_the_report() {
    let tls = TlsLab::new();
    let script =
        format!("curl -sk https://{TLS13}/ >/dev/null; echo CLIENT_RANDOM nonsense >>$SSLKEYLOGFILE");
    let done = tls.trace(&["--report", "report.json"], &script);
    let said = done.stderr + &fs::read_to_string(tls.path("report.json")).expect("it was asked for");
    assert!(said.contains("never logged") || said.contains("present"), "{said}");
    let bytes = fs::read(tls.path("t.pcapng")).expect("it is there");
    let text = String::from_utf8_lossy(&bytes);
    let secrets: Vec<_> = text
        .lines()
        .filter(|line| line.contains("_SECRET"))
        .filter_map(|line| line.rsplit(' ').next())
        .collect();
    assert!(secrets.len() >= 4, "the file has them: {}", secrets.len());
    assert!(
        !secrets.iter().any(|secret| said.contains(&secret[..16])) && !said.contains("CLIENT_"),
        "{said}"
    );
}

/// At whatever moment: what is there can be read, but for a record that was cut.
#[test]
fn a_killed_recorder_leaves_a_file_with_its_keys() {
    let tls = TlsLab::new();
    let late = tls.python("late", 3, &[TLS13]);
    let script = format!("{late}; touch done; sleep 60");
    let process = tls.lab.start(&["--tls-keys", "-q", "-o", "t.pcapng", "sh", "-c", &script]);
    until("it has logged", Duration::from_mins(1), || tls.path("done").exists().then_some(()));
    // The next block brings what has come.
    let ping =
        format!("nsenter -t {} -n ping -qc1 {TLS13}", program_of(process.pid()).expect("it sleeps").pid);
    sh(&ping);
    let first = "CLIENT_TRAFFIC_SECRET_0 ";
    let keys = || {
        String::from_utf8_lossy(&fs::read(tls.path("t.pcapng")).expect("it is there")).matches(first).count()
    };
    until("they are in the file", Duration::from_mins(1), || (keys() >= 3).then_some(()));
    std::thread::sleep(Duration::from_millis(500));
    let worker = worker_of(process.pid()).expect("it lives").pid;
    sh(&format!("kill -9 {worker} {}", process.pid()));
    let asked = CaptureFile::new(&tls.path("t.pcapng")).field("tls && http.request", "http.request.uri");
    assert_eq!(asked.len(), 3);
}
