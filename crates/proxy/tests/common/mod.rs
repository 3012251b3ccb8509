//! A program's namespace t, its router r with a proxy, a host, and an internet behind it.
#![expect(dead_code, reason = "each test binary uses a part")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{self, PipeWriter};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Output};
use std::thread::JoinHandle;

use nsntrace_proxy::{Config, Inside, Limits, Proxy, ProxyError};
use nsntrace_testkit::{Netns, eventually, sh};

/// Addresses of the internet that servers listen at.
pub(crate) const PEER4: &str = "198.51.100.1";
pub(crate) const PEER6: &str = "2001:db8:ffff::1";

/// Four namespaces. The test itself is in the host's.
pub(crate) struct World {
    pub(crate) t: Netns,
    pub(crate) r: Netns,
    pub(crate) internet: Netns,
    stop: Option<PipeWriter>,
    proxy: Option<JoinHandle<Result<(), ProxyError>>>,
}

impl World {
    /// With a proxy that runs.
    pub(crate) fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    /// With a proxy that does no more than `limits` at once.
    pub(crate) fn with_limits(limits: Limits) -> Self {
        let [t, r, internet] = [Netns::new(), Netns::new(), Netns::new()];
        uplink(&internet);
        veth(&t, &r);
        let inside = r.inside(|| Inside::open().unwrap());
        rules(&r, &inside);
        let config = Config {
            ifindex: r.sh("ip -o link show nst0 | cut -d: -f1").parse().unwrap(),
            mac: ROUTER_MAC,
            program_mac: PROGRAM_MAC,
            mtu: 1500,
            router_v4: Ipv4Addr::new(10, 9, 0, 1),
            router_v6: Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 1),
            device: None,
            limits,
        };
        let mut proxy = Proxy::new(inside, config).unwrap();
        let (stopped, stop) = io::pipe().unwrap();
        let proxy = std::thread::spawn(move || proxy.run(stopped.as_fd()));
        Self { t, r, internet, stop: Some(stop), proxy: Some(proxy) }
    }

    /// Tells the proxy to come to an end, and waits until it has.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(proxy) = self.proxy.take() {
            proxy.join().unwrap().unwrap();
        }
    }

    /// What a Python program prints in t.
    #[track_caller]
    pub(crate) fn program(&self, text: &str) -> String {
        printed(&self.t.inside(|| python(text).output().unwrap()))
    }

    /// A Python program in t that goes on while the test does.
    pub(crate) fn start(&self, text: &str) -> Running {
        self.t.inside(|| Running(python(text).spawn().unwrap()))
    }

    /// A Python program in the internet.
    pub(crate) fn serve(&self, text: &str) -> Running {
        self.internet.inside(|| Running(python(text).spawn().unwrap()))
    }

    /// Waits until somebody listens on this TCP port of the internet.
    pub(crate) fn listens(&self, port: u16) {
        eventually(|| !self.internet.sh(&format!("ss -Hltn sport = {port}")).is_empty());
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.stop.take());
        let result = self.proxy.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            result.transpose().unwrap().transpose().unwrap();
        }
    }
}

/// A process that ends with this value.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Waits until it has ended by itself, well.
    #[track_caller]
    pub(crate) fn finish(mut self) {
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail for one that has ended already, and then there is nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[track_caller]
pub(crate) fn printed(output: &Output) -> String {
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success(), "{}\n{stdout}\n{stderr}", output.status);
    stdout.trim_end().to_owned()
}

fn python(text: &str) -> Command {
    let mut command = Command::new("python3");
    command.args(["-c", &format!("{PRELUDE}\n{text}")]);
    command
}

/// The host's way to the internet. No packet of the host's own is forwarded.
fn uplink(internet: &Netns) {
    sh(&format!(
        "ip link set lo up
         ip link add up0 type veth peer name up1 netns {}
         ip addr add 203.0.113.2/24 dev up0
         ip addr add 2001:db8:1::2/64 dev up0 nodad
         ip link set up0 up",
        internet.path().display()
    ));
    internet.sh(&format!(
        "ip link set lo up
         ip addr add {PEER4}/32 dev lo
         ip addr add {PEER6}/128 dev lo
         ip addr add 203.0.113.1/24 dev up1
         ip addr add 2001:db8:1::1/64 dev up1 nodad
         ip link set up1 up"
    ));
    sh("ip route add default via 203.0.113.1
        ip -6 route add default via 2001:db8:1::1");
}

/// The program's wire.
fn veth(t: &Netns, r: &Netns) {
    r.sh(&format!(
        "ip link set lo up
         ip link add nst0 address 02:00:00:00:00:01 type veth peer name eth0 address 02:00:00:00:00:02 netns {}
         ip addr add 10.9.0.1/30 dev nst0
         ip addr add fd00:9::1/64 dev nst0 nodad
         ip link set nst0 up
         echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter",
        t.path().display()
    ));
    t.sh("ip link set lo up
          ip addr add 10.9.0.2/30 dev eth0
          ip addr add fd00:9::2/64 dev eth0 nodad
          ip link set eth0 up
          ip route add default via 10.9.0.1
          ip -6 route add default via fd00:9::1");
    r.sh("ip route add local default dev lo table main
          ip -6 route add local default dev lo table main");
}

/// What leads to the proxy, and what keeps r from answering by itself.
fn rules(r: &Netns, inside: &Inside) {
    let (tcp, udp) = (inside.tcp_port(), inside.udp_port());
    r.sh(&format!(
        "nft -f - <<'END'
         table inet proxy {{
           chain prerouting {{
             type filter hook prerouting priority mangle; policy accept;
             iifname nst0 tcp flags & (fin|syn|rst|ack) == syn drop
             iifname nst0 icmp type echo-request drop
             iifname nst0 icmpv6 type echo-request drop
             iifname lo meta nfproto ipv4 meta l4proto tcp tproxy ip to :{tcp} accept
             iifname lo meta nfproto ipv6 meta l4proto tcp tproxy ip6 to :{tcp} accept
             iifname nst0 meta nfproto ipv4 meta l4proto udp tproxy ip to :{udp} accept
             iifname nst0 meta nfproto ipv6 meta l4proto udp tproxy ip6 to :{udp} accept
           }}
         }}
END"
    ));
}

const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PROGRAM_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// What every Python program begins with.
pub(crate) const PRELUDE: &str = "\
import errno, hashlib, os, select, socket, struct, sys, threading, time
socket.setdefaulttimeout(30)
def listen(address, port):
    return socket.create_server((address, port), family=socket.AF_INET6 if ':' in address else socket.AF_INET, backlog=4096)
def reason(address, port, timeout=10):
    try:
        socket.create_connection((address, port), timeout)
        return 'OK'
    except TimeoutError as e:
        return errno.errorcode.get(e.errno, 'nothing')
    except OSError as e:
        return errno.errorcode[e.errno]
def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    s.close()
def read_all(s):
    parts = []
    while part := s.recv(1 << 16):
        parts.append(part)
    return b''.join(parts)
";
