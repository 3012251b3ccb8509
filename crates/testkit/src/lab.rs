//! The lab: a host, an internet, and a wire between them.
//!
//! ```text
//!   host                                           wan
//!   up0  198.51.100.1/24    2001:db8:1::1/64 ====== wan0  .2/24, .10-.12   2001:db8:1::2/64
//!   up1  203.0.113.1/24     2001:db8:2::1/64 ====== wan1  .2/24            2001:db8:2::2/64   (Plan::second_uplink)
//!   default routes via up0                          lo    192.0.2.1, 2001:db8:ff::1, the public DNS servers
//! ```

use std::io::Write;
use std::process::{Command, Stdio};

use crate::machine::{Files, Machine};
use crate::process::Process;
use crate::report::Report;
use crate::servers::{self, Servers};
use crate::work_dir::WorkDir;

/// The host's address on its first uplink.
pub const HOST4: &str = "198.51.100.1";
/// The same for IPv6.
pub const HOST6: &str = "2001:db8:1::1";
/// The host's address on its second uplink.
pub const SECOND4: &str = "203.0.113.1";
/// The internet's address at the other end of the first uplink.
pub const WAN4: &str = "198.51.100.2";
/// The same for IPv6.
pub const WAN6: &str = "2001:db8:1::2";
/// An address behind the internet's, which every uplink leads to.
pub const NEUTRAL4: &str = "192.0.2.1";
/// The same for IPv6.
pub const NEUTRAL6: &str = "2001:db8:ff::1";
/// The servers that `--use-public-dns` names; the lab's internet has them all.
pub const PUBLIC_DNS: [&str; 4] = ["9.9.9.9", "1.1.1.1", "8.8.8.8", "208.67.222.222"];

#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own, and all are named where they are set"
)]
/// What a lab is to be like. The default is a plain server with IPv4 and IPv6 that forwards nothing.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `net.ipv4.ip_forward` of the host.
    pub ip_forward: bool,
    /// `net.ipv6.conf.all.forwarding` of the host.
    pub ipv6_forwarding: bool,
    /// Whether there is IPv6 at all.
    pub ipv6: bool,
    /// MTU of the uplinks, in bytes.
    pub mtu: u32,
    /// Whether the host has `up1` too, with default routes of a worse metric.
    pub second_uplink: bool,
    /// Whether the host has a forward chain that drops, as Docker or firewalld leave behind.
    pub drop_forwarded: bool,
    /// Whether the host's /etc is a copy that a test may write to.
    pub private_etc: bool,
    /// What /etc/resolv.conf of the host says.
    pub resolv_conf: String,
}

/// Two machines and a directory for the files of a test.
#[derive(Debug)]
pub struct Lab {
    // Dropped in this order: servers before the machine that they are in, files last.
    servers: Vec<Servers>,
    /// The machine that nsntrace runs on.
    pub host: Machine,
    /// The rest of the world.
    pub wan: Machine,
    /// Files of this test. Commands on the host run in it.
    pub dir: WorkDir,
    has_ipv6: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            ip_forward: false,
            ipv6_forwarding: false,
            ipv6: true,
            mtu: 1500,
            second_uplink: false,
            drop_forwarded: false,
            private_etc: false,
            resolv_conf: format!("nameserver {WAN4}\n"),
        }
    }
}

impl Lab {
    /// Builds a lab as planned and waits until its servers listen.
    #[track_caller]
    pub fn new(plan: &Plan) -> Self {
        let dir = WorkDir::new();
        let (resolv_conf, etc) = (dir.join("resolv.conf"), dir.join("etc"));
        std::fs::write(&resolv_conf, &plan.resolv_conf).expect("the directory is ours");
        let private_etc = plan.private_etc.then_some(etc.as_path());
        let host = Machine::boot(&Files { resolv_conf: Some(&resolv_conf), private_etc });
        let wan = Machine::boot(&Files::default());
        let mut lab = Self { servers: Vec::new(), host, wan, dir, has_ipv6: plan.ipv6 };
        lab.prepare_sysctls(plan);
        lab.connect(plan);
        lab.apply_policy(plan);
        let servers = Servers::start(&lab.wan, "wan", plan.ipv6, &lab.wan_addresses());
        lab.servers.push(servers);
        lab
    }

    /// Starts the lab's DNS server on `address` of the host, which is usually on loopback.
    #[track_caller]
    pub fn serve_dns_on_host(&mut self, address: &str) {
        let servers = Servers::start(&self.host, "dns", self.has_ipv6, &[address]);
        self.servers.push(servers);
    }

    /// Starts `iperf3 -s` in the internet, for one client, and waits until it listens.
    pub fn serve_iperf3(&self) -> Process {
        let mut command = Command::new("iperf3");
        command.args(["-s", "-1", "--forceflush"]).stdin(Stdio::null());
        let server = self.wan.spawn(command);
        crate::until("iperf3 listens", std::time::Duration::from_mins(1), || {
            String::from_utf8_lossy(&server.stdout()).contains("listening").then_some(())
        });
        server
    }

    /// How many datagrams the sink has got, and how many of them were different.
    pub fn sink_count(&self) -> (u64, u64) {
        let answer = servers::ask(&self.wan, "/sink");
        let mut numbers = answer.split(' ').map(|n| n.parse().expect("a number"));
        (numbers.next().expect("all"), numbers.next().expect("different"))
    }

    /// How many DNS queries the internet has got.
    pub fn dns_count(&self) -> u64 {
        servers::ask(&self.wan, "/dns").parse().expect("a number")
    }

    /// `nsntrace arguments...` on the host, in the test's directory, not started yet.
    pub fn nsntrace<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(crate::nsntrace());
        command.args(arguments).current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    /// Starts `nsntrace arguments...`.
    #[track_caller]
    pub fn start<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Process {
        self.host.spawn(self.nsntrace(arguments))
    }

    /// Traces `program` to its end into `trace.pcap`, insists on status 0 and on messages that agree with the file.
    #[track_caller]
    pub fn trace(&self, program: &[&str]) -> Report {
        self.trace_with(&[], program)
    }

    /// The same with options before the program.
    #[track_caller]
    pub fn trace_with(&self, options: &[&str], program: &[&str]) -> Report {
        let finished = self.start(&[&["-o", "trace.pcap"], options, program].concat()).wait().succeeded();
        Report::new(finished, &self.dir.join("trace.pcap"))
    }

    /// Traces a shell script.
    #[track_caller]
    pub fn trace_sh(&self, script: &str) -> Report {
        self.trace(&["sh", "-ec", script])
    }

    fn wan_addresses(&self) -> Vec<&str> {
        let mut addresses = vec![WAN4, "198.51.100.10", "198.51.100.11", "198.51.100.12", NEUTRAL4];
        addresses.extend(PUBLIC_DNS);
        if self.has_ipv6 {
            addresses.extend([WAN6, NEUTRAL6]);
        }
        addresses
    }

    fn prepare_sysctls(&self, plan: &Plan) {
        for machine in [&self.host, &self.wan] {
            machine.write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
            for scope in ["all", "default"] {
                let conf = format!("/proc/sys/net/ipv6/conf/{scope}");
                machine.write(&format!("{conf}/disable_ipv6"), if plan.ipv6 { "0" } else { "1" });
            }
        }
        self.host.write("/proc/sys/net/ipv4/ip_forward", if plan.ip_forward { "1" } else { "0" });
        let forwarding = if plan.ipv6_forwarding { "1" } else { "0" };
        self.host.write("/proc/sys/net/ipv6/conf/all/forwarding", forwarding);
    }

    fn connect(&self, plan: &Plan) {
        self.add_pair("up0", "wan0", 10, plan.mtu);
        batch(&self.host, &plan.adapt(&FIRST_HOST.join("\n")));
        batch(&self.wan, &plan.adapt(&FIRST_WAN.join("\n")));
        for address in PUBLIC_DNS {
            batch(&self.wan, &format!("address add {address}/32 dev lo"));
        }
        if plan.second_uplink {
            self.add_pair("up1", "wan1", 11, plan.mtu);
            batch(&self.host, &plan.adapt(&SECOND_HOST.join("\n")));
            batch(&self.wan, &plan.adapt(&SECOND_WAN.join("\n")));
        }
    }

    /// Adds a veth pair with one end in each machine. The other namespace has no name: it goes to `ip` as a descriptor.
    ///
    /// The ends' indices must differ. Were they equal, `linkwatch_urgent_event()` in net/core/link_watch.c would take the link for
    /// a physical one, and its carrier would be told to IPv6 up to a second late.
    fn add_pair(&self, ours: &str, theirs: &str, index: u32, mtu: u32) {
        let mut command = Command::new("ip");
        let line = format!(
            "link add {ours} index {index} mtu {mtu} type veth \
             peer name {theirs} mtu {mtu} netns /proc/self/fd/0"
        );
        command.args(line.split_whitespace()).stdin(self.wan.netns());
        self.host.spawn(command).wait().succeeded();
    }

    fn apply_policy(&self, plan: &Plan) {
        if plan.drop_forwarded {
            self.host.sh(
                "nft add table inet firewall
                 nft add chain inet firewall forward '{ type filter hook forward priority filter; policy drop; }'",
            );
        }
    }
}

impl Plan {
    /// Leaves out the lines about IPv6 where there is none.
    fn adapt(&self, lines: &str) -> String {
        let wanted = |line: &&str| self.ipv6 || !line.contains("2001:db8:") && !line.contains("addrgenmode");
        lines.lines().filter(wanted).collect::<Vec<_>>().join("\n") + "\n"
    }
}

/// Feeds `ip -batch`.
#[track_caller]
fn batch(machine: &Machine, lines: &str) {
    let mut command = Command::new("ip");
    command.args(["-batch", "-"]).stdin(Stdio::piped());
    let mut process = machine.spawn(command);
    process.stdin().write_all(lines.as_bytes()).expect("ip reads");
    process.wait().succeeded();
}

const FIRST_HOST: [&str; 7] = [
    "link set lo up",
    "link set up0 addrgenmode none",
    "address add 198.51.100.1/24 dev up0",
    "address add 2001:db8:1::1/64 dev up0 nodad",
    "link set up0 up",
    "route add default via 198.51.100.2",
    "route add default via 2001:db8:1::2",
];

const FIRST_WAN: [&str; 10] = [
    "link set lo up",
    "link set wan0 addrgenmode none",
    "address add 198.51.100.2/24 dev wan0",
    "address add 198.51.100.10/24 dev wan0",
    "address add 198.51.100.11/24 dev wan0",
    "address add 198.51.100.12/24 dev wan0",
    "address add 192.0.2.1/32 dev lo",
    "address add 2001:db8:1::2/64 dev wan0 nodad",
    "address add 2001:db8:ff::1/128 dev lo nodad",
    "link set wan0 up",
];

const SECOND_HOST: [&str; 6] = [
    "link set up1 addrgenmode none",
    "address add 203.0.113.1/24 dev up1",
    "address add 2001:db8:2::1/64 dev up1 nodad",
    "link set up1 up",
    "route add default via 203.0.113.2 dev up1 metric 200",
    "route add default via 2001:db8:2::2 dev up1 metric 2000",
];

const SECOND_WAN: [&str; 4] = [
    "link set wan1 addrgenmode none",
    "address add 203.0.113.2/24 dev wan1",
    "address add 2001:db8:2::2/64 dev wan1 nodad",
    "link set wan1 up",
];
