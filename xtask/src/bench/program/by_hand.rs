//! A program's way out, made by hand as nsntrace makes it: namespace, veth pair, route, masquerade. The program that
//! nobody traces takes it, and the one that is recorded by a tool that makes no namespace.

use std::process::Command;

use crate::process::{self, Result};

/// The way out, for as long as it lives.
pub(super) struct ByHand(());

/// What the ends of a veth pair leave to a network card that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offload {
    /// Checksums and segmentation: the default.
    Full,
    /// Nothing: packets are as they would be on a wire.
    Off,
}

impl ByHand {
    /// # Errors
    /// A step fails; its complaint is in the message.
    pub(super) fn make(offload: Offload) -> Result<Self> {
        // From here on, a failure takes back what there is.
        let made = Self(());
        shell(MAKE)?;
        if offload == Offload::Off {
            shell(NO_OFFLOAD)?;
        }
        Ok(made)
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        // What is still there is found by whoever waits until nothing is left.
        let _left = shell(REMOVE);
    }
}

/// A command that runs inside.
pub(super) fn inside() -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", "byhand"]);
    command
}

fn shell(script: &str) -> Result {
    process::output(Command::new("sh").args(["-euc", script])).map(drop)
}

/// Addresses of RFC 5737.
const MAKE: &str = "
ip netns add byhand
ip link add byhand type veth peer name eth0 netns byhand
ip addr add 192.0.2.1/30 dev byhand
ip link set byhand up
ip -n byhand addr add 192.0.2.2/30 dev eth0
ip -n byhand link set eth0 up
ip -n byhand link set lo up
ip -n byhand route add default via 192.0.2.1
nft -f - <<END
table ip byhand {
    chain post { type nat hook postrouting priority srcnat; ip saddr 192.0.2.2 masquerade; }
}
END
sysctl -q -w net.ipv4.conf.byhand.forwarding=1 net.ipv4.conf.uplink.forwarding=1
";

const NO_OFFLOAD: &str = "
ethtool -K byhand tx off >/dev/null
ip netns exec byhand ethtool -K eth0 tx off >/dev/null
";

const REMOVE: &str = "
ip link del byhand || true
ip netns del byhand || true
nft delete table ip byhand || true
sysctl -q -w net.ipv4.conf.uplink.forwarding=0
conntrack -F >/dev/null 2>&1 || true
";
