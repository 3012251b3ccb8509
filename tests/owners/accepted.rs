//! Connections that come to the program: from its host, which alone has a way to it.

use nsntrace_testkit::{Lab, Plan, Report};

use crate::{commented, said};

/// One process listens; another, which has the listener from it, accepts. Each line is `PID PORT` of who listens and of who connects.
const LISTENER: &str = "
import os, socket, sys
s = socket.create_server(('0.0.0.0', 8000))
print('it listens', file=sys.stderr)
if os.fork() == 0:
    for _ in range(3):
        c, peer = s.accept()
        c.sendall(c.recv(1))
        os.write(1, b'%d %d\\n' % (os.getppid(), peer[1]))
        c.close()
    os._exit(0)
os.wait()
";

#[test]
fn what_is_accepted_is_of_whoever_listens() {
    let lab = Lab::new(&Plan::default());
    let options = ["-o", "trace.pcapng", "--report", "trace.json", "python3", "-c", LISTENER];
    let mut process = lab.start(&options);
    process.await_stderr("it listens\n");
    let stderr = process.stderr();
    let (_, address) = stderr.split_once("Your IP address in this trace is ").expect("it is said");
    let address = address.split(".\n").next().expect("it is a line").to_owned();
    for _ in 0..3 {
        lab.host.sh(&format!("echo x | timeout 60 nc -N {address} 8000"));
    }
    let report = Report::new(process.wait().succeeded(), &lab.dir.join("trace.pcapng"));
    assert_eq!(commented(&report, "tcp.srcport", "<- "), said(&report));
    let json = std::fs::read(lab.dir.join("trace.json")).expect("it was written");
    let json: serde_json::Value = serde_json::from_slice(&json).expect("it is JSON");
    let conversation = &json["conversations"][0];
    assert_eq!(conversation["process"]["certainty"], serde_json::json!({"listener": 3}), "{json}");
    assert_eq!(conversation["local_port"], 8000);
}
