//! A host with an uplink to an internet, both made of namespaces: nothing of the machine itself is touched.

use std::process::Command;

use crate::process::{self, Result};

/// Runs `command` in a network namespace of its own, which becomes the host. The process namespace sees to it that
/// nothing started in it is left behind.
pub(super) fn enter(command: &[&str]) -> Result {
    let flags = ["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"];
    process::run(Command::new("unshare").args(flags).args(command))
}

/// Runs `bench WORDS` of this same program in such namespaces.
pub(super) fn run_inside(words: &[&str]) -> Result {
    let own = own_path()?;
    enter(&[&[own.as_str(), "bench"], words].concat())
}

/// The path of this program, which is also what is traced where nothing else would do.
///
/// # Errors
/// It is not UTF-8.
pub(super) fn own_path() -> Result<String> {
    let own = std::env::current_exe()?;
    Ok(own.into_os_string().into_string().map_err(|own| format!("{} is not UTF-8", own.display()))?)
}

/// Makes the internet and the host's way there. To be called inside.
pub(super) fn prepare() -> Result {
    process::run(Command::new("sh").args(["-euc", SCRIPT]))
}

/// The internet's address, where servers listen.
pub(super) const SERVER: &str = "198.51.100.1";
/// The same for IPv6.
pub(super) const SERVER6: &str = "2001:db8::1";

/// Addresses of RFC 5737 and RFC 3849. /run is private, as namespaces have their names there. Ports of connections that have
/// ended are used again: many short ones in a row would use them up within their minute of TIME_WAIT.
const SCRIPT: &str = "
mount -t tmpfs none /run
echo 1 >/proc/sys/net/ipv4/tcp_tw_reuse
echo 1024 65535 >/proc/sys/net/ipv4/ip_local_port_range
ip link set lo up
ip netns add internet
ip link add uplink type veth peer name peer netns internet
ip addr add 198.51.100.2/24 dev uplink
ip -6 addr add 2001:db8::2/64 dev uplink nodad
ip link set uplink up
ip -n internet addr add 198.51.100.1/24 dev peer
ip -n internet -6 addr add 2001:db8::1/64 dev peer nodad
ip -n internet link set peer up
ip -n internet link set lo up
ip route add default via 198.51.100.1
ip -6 route add default via 2001:db8::1
";
