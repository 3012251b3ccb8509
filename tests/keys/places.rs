//! Every way to run, every place to write to.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use nsntrace_testkit::{CaptureFile, Plan, nsntrace};

use crate::lab::{TLS12, TLS13, TlsLab, requests};

#[test]
fn by_proxy() {
    let tls = TlsLab::new();
    tls.trace(&["--net", "proxy"], &format!("curl -sk https://{TLS13}/proxy https://{TLS12}/other"));
    assert_eq!(tls.asked(), ["/other", "/proxy"]);
}

#[test]
fn an_ordinary_user() {
    let tls = TlsLab::new();
    let binary = tls.path("nsntrace");
    fs::copy(nsntrace(), &binary).expect("the binary was built");
    for path in [binary.as_path(), tls.lab.dir.path()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("it is ours");
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all"]).arg(&binary);
    command.args(["--tls-keys", "-o", "t.pcapng", "curl", "-sk", &format!("https://{TLS13}/user")]);
    command.current_dir(tls.lab.dir.path()).stdin(Stdio::null());
    tls.lab.host.spawn(command).wait().succeeded();
    assert_eq!(tls.asked(), ["/user"]);
    assert_eq!(
        tls.lab.host.sh(&format!("stat -c '%u %a' {}/t.pcapng", tls.lab.dir.path().display())),
        "65534 600\n"
    );
}

#[test]
fn another_user() {
    let tls = TlsLab::new();
    let done = tls.trace(&["-u", "nobody"], &format!("id -un; curl -sk https://{TLS13}/nobody"));
    assert_eq!(done.text(), "nobody\nsecret /nobody\n");
    assert_eq!(tls.asked(), ["/nobody"]);
}

#[test]
fn where_names_go_past_the_wire() {
    let tls = TlsLab::planned(&Plan { private_etc: true, ..Plan::default() });
    let done =
        tls.trace(&["--use-public-dns"], &format!("cat /etc/resolv.conf; curl -sk https://{TLS13}/dns"));
    assert!(done.text().starts_with("nameserver 9.9.9.9\n"), "{}", done.text());
    assert_eq!(tls.asked(), ["/dns"]);
}

#[test]
fn smoke_a_pipe_into_tshark() {
    let tls = TlsLab::new();
    let script = format!(
        "set -o pipefail; $NT --tls-keys -q -o - --format pcapng sh -c 'for n in 1 2 3; do curl -sk https://{TLS13}/$n; sleep 0.2; done' 2>/dev/null \
         | tshark -n -r - -Y http.request -T fields -e http.request.uri 2>/dev/null"
    );
    let mut command = Command::new("bash");
    command.args(["-c", &script]).env("NT", nsntrace()).stdin(Stdio::null());
    assert_eq!(tls.lab.host.spawn(command).wait().succeeded().text(), "/1\n/2\n/3\n");
}

#[test]
fn a_compressed_file() {
    let tls = TlsLab::new();
    let script = format!("curl -sk https://{TLS13}/gz");
    tls.lab.start(&["--tls-keys", "-o", "t.pcapng.gz", "sh", "-c", &script]).wait().succeeded();
    assert_eq!(requests(&CaptureFile::new(&tls.path("t.pcapng.gz"))), ["/gz"]);
}

/// Standard output led into a file that has bytes already.
#[test]
fn a_file_that_the_shell_has_opened() {
    let tls = TlsLab::new();
    let late = tls.python("late", 3, &[TLS13]);
    let script = format!("umask 077; $NT --tls-keys -q -o - --format pcapng {late} >t.pcapng 2>/dev/null");
    let mut command = Command::new("bash");
    command.args(["-c", &script]).env("NT", nsntrace()).current_dir(tls.lab.dir.path()).stdin(Stdio::null());
    tls.lab.host.spawn(command).wait().succeeded();
    assert_eq!(tls.asked().len(), 3);
}

/// The files of a rotation, oldest first.
fn files(tls: &TlsLab) -> Vec<CaptureFile> {
    let names = tls.lab.dir.path().read_dir().expect("our directory").flatten().map(|entry| entry.path());
    let mut paths: Vec<_> =
        names.filter(|path| path.extension().is_some_and(|end| end == "pcapng")).collect();
    paths.sort();
    paths.iter().map(|path| CaptureFile::new(path)).collect()
}

#[test]
fn every_file_of_a_rotation_can_be_read() {
    for rotation in [["-G", "0.5"], ["-C", "20K"]] {
        let tls = TlsLab::new();
        let ask =
            format!("for n in 1 2 3 4 5 6; do curl -sk https://{TLS13}/$n -o /dev/null; sleep 0.2; done");
        tls.trace(&rotation, &ask);
        let files = files(&tls);
        assert!(files.len() > 1, "{rotation:?}");
        // A connection that is cut by the end of a file can be read up to there.
        let whole: usize = files.iter().map(check_whole_connections).sum();
        assert!(whole >= 3, "{rotation:?}: {whole}");
        for file in &files {
            let mode = fs::metadata(file.path()).expect("it is there").permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", file.path().display());
        }
    }
}

/// Insists that every connection of which a file has beginning and end can be read, and counts them.
#[track_caller]
fn check_whole_connections(file: &CaptureFile) -> usize {
    let streams = |filter: &str| BTreeSet::from_iter(file.field(filter, "tcp.stream"));
    let whole = &streams("tls.handshake.type == 1") & &streams("tcp.flags.fin == 1");
    let read = streams("tls && http.request");
    assert!(whole.is_subset(&read), "{}: {whole:?}, {read:?}", file.path().display());
    whole.len()
}

/// What is asked for in the second file belongs to a handshake in the first: together they can be read, whichever of them has the keys.
#[test]
fn a_connection_that_lives_has_its_keys_in_the_next_file_too() {
    let tls = TlsLab::new();
    let ask = "import http.client, ssl, time; c = ssl.create_default_context(); c.check_hostname = False; c.verify_mode = 0
h = http.client.HTTPSConnection('SERVER', context=c)
for n in range(4): h.request('GET', f'/{n}'); h.getresponse().read(); time.sleep(0.4)";
    let script = format!("/usr/bin/python3 -c \"{}\"", ask.replace("SERVER", TLS13));
    tls.trace(&["-G", "0.5"], &script);
    let files = files(&tls);
    assert!(files.len() > 1);
    let first = "CLIENT_TRAFFIC_SECRET_0 ";
    for file in &files {
        let bytes = fs::read(file.path()).expect("it is there");
        assert!(
            bytes.windows(first.len()).any(|window| window == first.as_bytes()),
            "{}",
            file.path().display()
        );
    }
}
