//! A lab with HTTPS servers: TLS 1.3, TLS 1.2, HTTP/2.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nsntrace_testkit::{CaptureFile, Finished, Lab, Plan};

/// Speaks TLS 1.3.
pub(crate) const TLS13: &str = "198.51.100.2";
/// Speaks TLS 1.2.
pub(crate) const TLS12: &str = "198.51.100.10";
/// Speaks HTTP/2.
pub(crate) const HTTP2: &str = "198.51.100.11";

pub(crate) struct TlsLab {
    // Dropped before the machine that they are in.
    servers: Vec<Child>,
    pub(crate) lab: Lab,
    pub(crate) client: String,
}

impl TlsLab {
    pub(crate) fn new() -> Self {
        Self::planned(&Plan::default())
    }

    pub(crate) fn planned(plan: &Plan) -> Self {
        let lab = Lab::new(plan);
        let file = |name: &str, text: &str| {
            let path = lab.dir.join(name);
            std::fs::write(&path, text).expect("our directory");
            path.to_str().expect("a plain path").to_owned()
        };
        let client = file("client.py", include_str!("client.py"));
        let (server, h2) =
            (file("server.py", include_str!("server.py")), file("h2.js", include_str!("h2.js")));
        let pem = lab.dir.join("pem");
        let pem = pem.to_str().expect("a plain path");
        lab.wan.sh(&format!(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=lab -keyout {pem} -out {pem}.crt 2>&1
            cat {pem}.crt >>{pem}"
        ));
        let mut tls = Self { servers: Vec::new(), lab, client };
        tls.serve(&["/usr/bin/python3", "-I", &server, TLS13, "1.3", pem]);
        tls.serve(&["/usr/bin/python3", "-I", &server, TLS12, "1.2", pem]);
        tls.serve(&["node", &h2, HTTP2, pem]);
        tls
    }

    fn serve(&mut self, line: &[&str]) {
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = self.lab.wan.start(command);
        let mut said = String::new();
        BufReader::new(child.stdout.take().expect("a pipe was asked for"))
            .read_line(&mut said)
            .expect("a pipe");
        assert_eq!(said, "ready\n", "{line:?}");
        self.servers.push(child);
    }

    /// A file of this test.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.lab.dir.join(name)
    }

    /// `nsntrace --tls-keys options... sh -c script` into `t.pcapng`, to its end.
    #[track_caller]
    pub(crate) fn trace(&self, options: &[&str], script: &str) -> Finished {
        let all = [&["--tls-keys", "-o", "t.pcapng"], options, &["sh", "-ec", script]].concat();
        self.lab.start(&all).wait().succeeded()
    }

    /// What was asked for inside TLS, as Debian's tshark finds it without any help, sorted.
    #[track_caller]
    pub(crate) fn asked(&self) -> Vec<String> {
        requests(&CaptureFile::new(&self.path("t.pcapng")))
    }

    /// A line that runs the client.
    pub(crate) fn python(&self, when: &str, count: usize, addresses: &[&str]) -> String {
        format!("/usr/bin/python3 -I {} {when} {count} {}", self.client, addresses.join(" "))
    }

    /// Answer of the report.
    pub(crate) fn jq(&self, filter: &str) -> String {
        self.lab.host.sh(&format!("cd {}; jq -rc '{filter}' report.json", self.lab.dir.path().display()))
    }
}

impl Drop for TlsLab {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _gone = server.kill();
            let _ended = server.wait();
        }
    }
}

/// The requests of HTTP inside TLS in a file.
#[track_caller]
pub(crate) fn requests(file: &CaptureFile) -> Vec<String> {
    let mut asked = file.field("tls && http.request", "http.request.uri");
    asked.sort();
    asked
}
