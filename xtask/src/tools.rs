//! What the tests need of a Debian machine.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::process::Result;

/// A file that a test needs, and the Debian package that has it. A name without a slash is a program.
const NEEDED: &[(&str, &str)] = &[
    ("busybox", "busybox-static"),
    ("c++", "g++"),
    ("capinfos", "wireshark-common"),
    ("conntrack", "conntrack"),
    ("curl", "curl"),
    ("dig", "dnsutils"),
    ("dnsmasq", "dnsmasq-base"),
    ("dumpcap", "wireshark-common"),
    ("editcap", "wireshark-common"),
    ("elvish", "elvish"),
    ("ethtool", "ethtool"),
    ("file", "file"),
    ("fish", "fish"),
    ("ip", "iproute2"),
    ("iperf3", "iperf3"),
    ("iptables-nft", "iptables"),
    ("jq", "jq"),
    ("lintian", "lintian"),
    ("mandoc", "mandoc"),
    ("nc", "netcat-openbsd"),
    ("nft", "nftables"),
    ("node", "nodejs"),
    ("nscd", "nscd"),
    ("openssl", "openssl"),
    ("pasta", "passt"),
    ("ping", "iputils-ping"),
    ("pkg-config", "pkg-config"),
    ("ps", "procps"),
    ("python3", "python3"),
    ("qemu-aarch64-static", "qemu-user-static"),
    ("qemu-system-aarch64", "qemu-system-arm"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("strace", "strace"),
    ("tcpdump", "tcpdump"),
    ("tmux", "tmux"),
    ("tshark", "tshark"),
    ("unshare", "util-linux"),
    ("wget", "wget"),
    ("zsh", "zsh"),
    ("/usr/include/*-linux-gnu/asm/unistd_64.h", "linux-libc-dev"),
    ("/usr/include/libmnl/libmnl.h", "libmnl-dev"),
    ("/usr/include/libnftnl/table.h", "libnftnl-dev"),
    ("/usr/lib/llvm-*/lib/libclang.so", "libclang-dev"),
];

/// # Errors
/// Names everything that is missing, and how to get it.
pub(crate) fn check() -> Result {
    check_root(fs::metadata("/proc/self")?.uid())?;
    check_packages(&missing(|name| find(name).is_some()))
}

/// The path of a program.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let Some((before, after)) = name.split_once('*') else {
        // Debian keeps ip, nft and tcpdump where users do not look.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
        return folders.map(|folder: PathBuf| folder.join(name)).find(|path| is_usable(path, name));
    };
    // One star, for the part of one name that is the machine's.
    let (folder, start) = before.rsplit_once('/')?;
    let (end, rest) = after.split_once('/')?;
    let is_meant = |name: &str| name.starts_with(start) && name.ends_with(end);
    let entries = fs::read_dir(folder).ok()?.flatten();
    let folders = entries.filter(|entry| is_meant(&entry.file_name().to_string_lossy()));
    folders.map(|entry| entry.path().join(rest)).find(|path| path.exists())
}

fn is_usable(path: &Path, name: &str) -> bool {
    let is_program = !name.contains('/');
    path.metadata()
        .is_ok_and(|file| file.is_file() && (!is_program || file.permissions().mode() & 0o111 != 0))
}

fn check_root(uid: u32) -> Result {
    if uid == 0 {
        return Ok(());
    }
    Err("the tests make network namespaces, which needs root\nhint: sudo -E env \"PATH=$PATH\" cargo xtask test".into())
}

fn missing(is_there: impl Fn(&str) -> bool) -> Vec<(&'static str, &'static str)> {
    NEEDED.iter().copied().filter(|(name, _)| !is_there(name)).collect()
}

fn check_packages(missing: &[(&str, &str)]) -> Result {
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|(name, _)| *name).collect();
    let packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    let (names, packages) = (names.join(", "), packages.join(" "));
    Err(format!("the tests need what is not here: {names}\nhint: apt-get install {packages}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_missing_is_named_at_once() {
        let missing = missing(|name| name != "jq" && !name.contains("mnl"));
        let expected = "the tests need what is not here: jq, /usr/include/libmnl/libmnl.h\n\
                        hint: apt-get install jq libmnl-dev";
        assert_eq!(check_packages(&missing).unwrap_err().to_string(), expected);
        assert!(check_packages(&[]).is_ok());
    }

    #[test]
    fn nobody_but_root_is_told_how() {
        assert!(check_root(1000).unwrap_err().to_string().contains("sudo"));
        assert!(check_root(0).is_ok());
    }

    #[test]
    fn programs_and_files_are_found() {
        assert!(find("sh").is_some_and(|path| path.ends_with("sh")));
        assert_eq!(find("no-such-program"), None);
        assert_eq!(find("/etc/passwd"), Some("/etc/passwd".into()));
        assert_eq!(find("/usr/li*/os-release"), Some("/usr/lib/os-release".into()));
        assert_eq!(find("/usr/li*/no-such-file"), None);
        assert_eq!(find("/usr/l*b/os-release"), Some("/usr/lib/os-release".into()));
        assert_eq!(find("/usr/l*bs/os-release"), None);
        // A folder and a file without the right to run are no programs.
        assert_eq!(find("../etc"), None);
    }

    /// CI installs by a list of its own, before anything is built.
    #[test]
    fn ci_installs_every_package() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the workspace");
        let script = fs::read_to_string(root.join(".ci/run")).unwrap();
        let words: Vec<_> = script.split_whitespace().collect();
        let absent: Vec<_> = NEEDED.iter().filter(|(_, package)| !words.contains(package)).collect();
        assert!(absent.is_empty(), "{absent:?}");
    }
}
