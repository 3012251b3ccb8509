//! Which kernel modules a trace needs, and what those need.
//!
//! # References
//! modules.dep(5), depmod(8); `request_module()` in the kernel, which runs modprobe with an alias.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use super::packages::System;
use crate::process::{self, Result};

/// What nsntrace makes the kernel load, by itself, as it is needed.
const WANTED: &[&str] = &[
    // The wire between the namespaces.
    "veth",
    // Masquerading; entries of connections are removed at the end.
    "nf_tables",
    "nft_chain_nat",
    "nft_ct",
    "nft_masq",
    "nf_conntrack_netlink",
    // Which connections are still closing.
    "tcp_diag",
];

/// What else it makes those kernels load that have it as a module: part of `nf_tables` since Linux 5.17.
const ONCE_WANTED: &[&str] = &["nft_counter"];

/// Files for `/lib/modules/RELEASE`: paths below it, and contents.
pub(super) type Files = Vec<(String, Vec<u8>)>;

/// The wanted modules, all that they need, and the two indices that modprobe finds them by.
///
/// # Errors
/// The kernel has one of them neither built in nor as a module.
pub(super) fn files(system: &System) -> Result<Files> {
    let folder = system.modules();
    // The package leaves that to the machine that it is installed on.
    let mut depmod = Command::new("busybox");
    depmod.arg("depmod").arg("-b").arg(&system.base).arg(&system.release);
    process::run(&mut depmod)?;
    let read = |name: &str| {
        let text = fs::read_to_string(folder.join(name));
        text.map_err(|error| format!("cannot read {name} of the kernel: {error}"))
    };
    let (dependencies, builtin, aliases) =
        (read("modules.dep")?, read("modules.builtin")?, read("modules.alias")?);
    let chosen = Chosen::new(&Dependencies::parse(&dependencies), &builtin)?;
    let mut files = chosen.read(&folder)?;
    files.push(("modules.dep".to_owned(), chosen.lines(&dependencies, path_of_line).into()));
    files.push(("modules.alias".to_owned(), chosen.lines(&aliases, name_of_alias).into()));
    Ok(files)
}

/// The names of all that are files: not built in, and not missing. [`files`] has made the index.
///
/// # Errors
/// There is no index.
pub(super) fn names(system: &System) -> Result<BTreeSet<String>> {
    let index = fs::read_to_string(system.modules().join("modules.dep"))?;
    Ok(index.lines().filter_map(path_of_line).collect())
}

/// What is in modules.dep: the path of each module, by its name, and the paths of what it needs.
struct Dependencies<'a>(BTreeMap<String, (&'a str, Vec<&'a str>)>);

impl<'a> Dependencies<'a> {
    fn parse(text: &'a str) -> Self {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        Self(lines.map(|(path, needs)| (name(path), (path, needs.split_whitespace().collect()))).collect())
    }
}

/// Paths of modules, and their names.
struct Chosen {
    paths: BTreeSet<String>,
    names: BTreeSet<String>,
}

impl Chosen {
    fn new(dependencies: &Dependencies<'_>, builtin: &str) -> Result<Self> {
        let builtin: BTreeSet<_> = builtin.lines().map(name).collect();
        let mut paths = BTreeSet::new();
        let once = ONCE_WANTED.iter().filter(|wanted| dependencies.0.contains_key(**wanted));
        for wanted in WANTED.iter().chain(once).copied().filter(|wanted| !builtin.contains(*wanted)) {
            let found = dependencies.0.get(wanted);
            let (path, needs) = found.ok_or_else(|| format!("the kernel has no module {wanted}"))?;
            paths.extend(needs.iter().chain([path]).map(|path| (*path).to_owned()));
        }
        let names = paths.iter().map(|path| name(path)).collect();
        Ok(Self { paths, names })
    }

    fn read(&self, folder: &Path) -> Result<Files> {
        let read = |path: &String| {
            let contents = fs::read(folder.join(path));
            let contents = contents.map_err(|error| format!("cannot read module {path}: {error}"))?;
            Ok((path.clone(), contents))
        };
        self.paths.iter().map(read).collect()
    }

    /// The lines of an index that are about what was chosen.
    fn lines(&self, index: &str, name_of: fn(&str) -> Option<String>) -> String {
        let is_chosen = |line: &&str| name_of(line).is_some_and(|name| self.names.contains(&name));
        index.lines().filter(is_chosen).flat_map(|line| [line, "\n"]).collect()
    }
}

fn path_of_line(line: &str) -> Option<String> {
    line.split_once(':').map(|(path, _)| name(path))
}

/// `alias rtnl-link-veth veth`.
fn name_of_alias(line: &str) -> Option<String> {
    line.rsplit_once(' ').map(|(_, name)| name.replace('-', "_"))
}

/// The name of a module, in which `-` and `_` are the same.
fn name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "k/veth.ko:\nk/nf_tables.ko: k/nfnetlink.ko k/crc.ko\nk/nfnetlink.ko:\nk/crc.ko:\n\
        k/nft-chain-nat.ko: k/nf_tables.ko k/nfnetlink.ko k/crc.ko\nk/nft_ct.ko: k/nf_tables.ko\n\
        k/nft_masq.ko: k/nf_tables.ko\nk/nf_conntrack_netlink.ko: k/nfnetlink.ko\nk/other.ko: k/veth.ko\n";

    #[test]
    fn what_is_wanted_comes_with_what_it_needs() {
        let chosen = Chosen::new(&Dependencies::parse(DEP), "k/tcp_diag.ko\n").unwrap();
        assert!(chosen.paths.contains("k/crc.ko") && chosen.paths.contains("k/nft-chain-nat.ko"));
        assert_eq!(chosen.paths.len(), 8);
        assert!(!chosen.paths.contains("k/other.ko"));
        let dep = chosen.lines(DEP, path_of_line);
        assert_eq!(dep, DEP.replace("k/other.ko: k/veth.ko\n", ""));
        let aliases = "alias rtnl-link-veth veth\nalias x other\nalias nft-chain-2-nat nft_chain_nat\n";
        assert_eq!(chosen.lines(aliases, name_of_alias), aliases.replace("alias x other\n", ""));
    }

    #[test]
    fn a_kernel_without_a_module_is_named() {
        let error = Chosen::new(&Dependencies::parse(DEP), "").err().unwrap();
        assert_eq!(error.to_string(), "the kernel has no module tcp_diag");
    }
}
