//! How the program resolves names: what /etc/resolv.conf says to it, and which ways past the wire are closed to it.
//!
//! # Theory of operation
//! A look-up that goes to a daemon over a unix socket (nscd, systemd-resolved, avahi) is made by the daemon, in the host's namespace: the
//! trace would not see it. In a mount namespace of the program's own those sockets are covered; the libc then asks the servers of
//! /etc/resolv.conf. Those on loopback are relayed (crates/relay), so the file itself stays as it is. `--use-public-dns` covers it.
//!
//! # Kernel interface
//! `unshare(CLONE_NEWNS)`, mount(2) with `MS_BIND`, `MS_SLAVE`, tmpfs. `CAP_SYS_ADMIN`.
//!
//! # References
//! resolv.conf(5), nscd(8), nss-resolve(8), nss-mdns's README.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount,
};

use crate::failure::Failure;

/// What the program's mount namespace is to cover. Found out by front, done by the program's process.
#[derive(Debug, Default)]
pub(crate) struct NameService {
    /// Sockets and directories of daemons that are here.
    covered: Vec<(PathBuf, Cover)>,
    /// The file that /etc/resolv.conf leads to, if it is to be replaced.
    replaced: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug)]
enum Cover {
    /// A directory: by an empty one.
    Directory,
    /// A socket: by /dev/null, so that connect(2) says `ECONNREFUSED`.
    Socket,
}

impl NameService {
    /// Looks at what is on this machine.
    pub(crate) fn find(use_public_dns: bool) -> Result<Self, Failure> {
        let replaced = if use_public_dns {
            let found = fs::canonicalize(RESOLV_CONF);
            Some(found.map_err(|error| {
                Failure::of("cannot replace /etc/resolv.conf for --use-public-dns", &error)
            })?)
        } else {
            None
        };
        let here = |&(path, cover): &(&str, Cover)| Some((fs::canonicalize(path).ok()?, cover));
        Ok(Self { covered: PAST_THE_WIRE.iter().filter_map(here).collect(), replaced })
    }

    /// The servers on loopback that the program will ask, and that nobody answers for in a namespace of its own.
    pub(crate) fn loopback_servers(&self) -> Vec<IpAddr> {
        if self.replaced.is_some() {
            return Vec::new();
        }
        let text = fs::read(RESOLV_CONF).unwrap_or_default();
        nsntrace_relay::loopback_nameservers(&String::from_utf8_lossy(&text))
    }

    /// The servers that only the host can ask: at a link-local address of a device that is not inside.
    pub(crate) fn unreachable_servers(&self) -> Vec<String> {
        if self.replaced.is_some() {
            return Vec::new();
        }
        let text = fs::read(RESOLV_CONF).unwrap_or_default();
        let servers = nsntrace_relay::nameservers(&String::from_utf8_lossy(&text));
        let scoped = servers.iter().filter_map(|server| Some((server.address, server.scope.as_ref()?)));
        scoped.map(|(address, scope)| format!("{address}%{scope}")).collect()
    }

    /// Whether there is anything to cover on this machine.
    pub(crate) fn covers_something(&self) -> bool {
        !self.covered.is_empty() || self.replaced.is_some()
    }

    /// Moves this process into a mount namespace. What the host mounts from now on still arrives in it; nothing that is mounted in it arrives
    /// there.
    pub(crate) fn separate_mounts() -> Result<(), Failure> {
        nsntrace_sys::unshare_mounts().map_err(|error| refused_mounts("make a mount namespace", error))?;
        let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        mount_change("/", slave)
            .map_err(|errno| refused_mounts("separate the program's mounts", errno.into()))
    }

    /// Moves this process into a mount namespace and covers what there is to cover. Nothing to cover, no mount namespace.
    pub(crate) fn apply(&self) -> Result<(), Failure> {
        if !self.covers_something() {
            return Ok(());
        }
        Self::separate_mounts()?;
        self.cover()
    }

    /// Covers what there is to cover, in a mount namespace that this process has already.
    pub(crate) fn cover(&self) -> Result<(), Failure> {
        for (path, cover) in &self.covered {
            cover
                .over(path)
                .map_err(|errno| Failure::of(&format!("cannot hide {}", path.display()), &errno))?;
        }
        match &self.replaced {
            Some(file) => {
                replace(file).map_err(|error| Failure::of("cannot replace /etc/resolv.conf", &error))
            }
            None => Ok(()),
        }
    }
}

impl Cover {
    fn over(self, path: &Path) -> rustix::io::Result<()> {
        match self {
            Self::Directory => mount("tmpfs", path, "tmpfs", MountFlags::RDONLY, c"mode=755"),
            Self::Socket => mount_bind("/dev/null", path),
        }
    }
}

/// Mounts a file of ours over `target`. Nothing is written to a file system of the host: the file is in a tmpfs that nobody
/// else has ever mounted, made for a moment over the directory of `target`, and held by the bind mount alone.
fn replace(target: &Path) -> io::Result<()> {
    let directory = target.parent().unwrap_or(Path::new("/"));
    // Opened before it is hidden, and mounted on through its descriptor.
    let file = open(target, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    mount("tmpfs", directory, "tmpfs", MountFlags::empty(), c"mode=755")?;
    let ours = directory.join("resolv.conf");
    let mounted = fs::write(&ours, public_resolv_conf())
        // Whatever the umask is, the program may run as another user.
        .and_then(|()| fs::set_permissions(&ours, fs::Permissions::from_mode(0o644)))
        .and_then(|()| Ok(mount_bind(&ours, format!("/proc/self/fd/{}", file.as_raw_fd()))?));
    unmount(directory, UnmountFlags::DETACH)?;
    mounted
}

/// With a hint for those who have the capability, and are refused by a limit or a security module.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn refused_mounts(step: &str, error: io::Error) -> Failure {
    let failure = Failure::of(&format!("cannot {step}"), &error);
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOSPC) => failure.hint(TOO_MANY_MOUNT_NAMESPACES),
        Some(Errno::PERM | Errno::ACCESS) => failure.hint(NO_MOUNTS),
        _ => failure,
    }
}

fn public_resolv_conf() -> String {
    let mut text = String::new();
    for server in PUBLIC_SERVERS {
        text.push_str("nameserver ");
        text.push_str(server);
        text.push('\n');
    }
    text
}

/// resolv.conf(5).
pub(crate) const RESOLV_CONF: &str = "/etc/resolv.conf";

const TOO_MANY_MOUNT_NAMESPACES: &str = "`sysctl user.max_mnt_namespaces` says how many there may be";
const NO_MOUNTS: &str =
    "in a container, allow mount(2): --security-opt apparmor=unconfined, --cap-add SYS_ADMIN";

/// As the C tool has them: Quad9, Cloudflare, Google, OpenDNS.
const PUBLIC_SERVERS: [&str; 4] = ["9.9.9.9", "1.1.1.1", "8.8.8.8", "208.67.222.222"];

/// Where look-ups leave the program by another way than its network.
///
/// For systemd-resolved the socket alone: its directory holds the very file that /etc/resolv.conf often leads to. Its D-Bus
/// interface stays: covering the system bus would break more than it shows.
const PAST_THE_WIRE: [(&str, Cover); 3] = [
    ("/run/nscd", Cover::Directory),
    ("/run/systemd/resolve/io.systemd.Resolve", Cover::Socket),
    ("/run/avahi-daemon/socket", Cover::Socket),
];
