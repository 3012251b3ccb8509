//! Programs that log keys, each by what nsntrace puts into its environment, or by asking for it.

use nsntrace_testkit::CaptureFile;

use crate::lab::{HTTP2, TLS12, TLS13, TlsLab};

#[track_caller]
fn read_by_tshark(script: &str, uri: &str) {
    let tls = TlsLab::new();
    for server in [TLS13, TLS12] {
        let script = script.replace("SERVER", server).replace("CLIENT", &tls.client);
        tls.trace(&[], &script);
        assert_eq!(tls.asked(), [uri], "{script}");
    }
}

#[test]
fn smoke_curl() {
    read_by_tshark("curl -sk https://SERVER/curl", "/curl");
}

#[test]
fn python() {
    read_by_tshark("/usr/bin/python3 -I CLIENT now 1 SERVER", "/python/0");
    let default =
        "import ssl, urllib.request as u; c = ssl.create_default_context(); c.check_hostname = False
c.verify_mode = ssl.CERT_NONE; u.urlopen('https://SERVER/default', context=c).read()";
    read_by_tshark(&format!("/usr/bin/python3 -c \"{default}\""), "/default");
}

#[test]
fn node() {
    let ask =
        "require('https').get({host: 'SERVER', path: '/node', rejectUnauthorized: false}, r => r.resume())";
    read_by_tshark(&format!("node -e \"{ask}\""), "/node");
}

#[test]
fn openssl_s_client() {
    let ask = "printf 'GET /openssl HTTP/1.0\\r\\n\\r\\n' | openssl s_client -quiet -connect SERVER:443 -keylogfile \"$SSLKEYLOGFILE\"";
    // It takes offence at how the server ends the connection.
    let ask = &format!("{ask} || true");
    read_by_tshark(ask, "/openssl");
}

#[test]
fn wget_with_gnutls() {
    read_by_tshark("wget -q --no-check-certificate -O /dev/null https://SERVER/wget", "/wget");
}

#[test]
fn http2_is_read_too() {
    let tls = TlsLab::new();
    tls.trace(&[], &format!("curl -sk --http2 https://{HTTP2}/two"));
    let file = CaptureFile::new(&tls.path("t.pcapng"));
    assert_eq!(file.field("http2.headers.path", "http2.headers.path"), ["/two"]);
}

#[test]
fn fifty_connections_at_once_are_all_read() {
    let tls = TlsLab::new();
    for server in [TLS13, TLS12] {
        tls.trace(&[], &tls.python("now", 50, &[server]));
        assert_eq!(tls.asked().len(), 50, "{server}");
        let curls = format!("for n in $(seq 50); do curl -sk https://{server}/$n & done; wait");
        tls.trace(&[], &curls);
        assert_eq!(tls.asked().len(), 50, "{server}");
    }
}

/// Keys that come when the packets are long written.
#[test]
fn smoke_keys_that_come_late_are_put_before_their_packets() {
    let tls = TlsLab::new();
    for options in [&[][..], &["--direct"]] {
        tls.trace(
            &[&["--report", "report.json"], options].concat(),
            &tls.python("late", 20, &[TLS13, TLS12]),
        );
        assert_eq!(tls.asked().len(), 40, "{options:?}");
        assert_eq!(tls.jq("[.conversations[].tls.keys.present // empty] | add"), "40\n");
    }
}
