//! The guest's file system: all that there is besides the kernel.

use std::fs;
use std::path::Path;

use super::cpio::Archive;
use super::modules;
use super::packages::System;
use crate::process::Result;

/// An archive for qemu's `-initrd`.
///
/// # Errors
/// A part of it is missing.
pub(super) fn make(system: &System, nsntrace: &Path, burst: &Path, runs: u32) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for folder in FOLDERS {
        archive.folder(folder);
    }
    // Before the guest mounts its own /dev, init's words go here.
    archive.character_device("dev/console", 5, 1);
    for (name, path) in [("bin/busybox", &*system.busybox), ("bin/nsntrace", nsntrace), ("bin/burst", burst)]
    {
        let program = fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        archive.file(name, &program);
    }
    // The kernel's own path of it: without that, no module is loaded as it is needed.
    archive.symlink("sbin/modprobe", "/bin/busybox");
    add_modules(&mut archive, system)?;
    archive.file("init", init(runs).as_bytes());
    Ok(archive.finish())
}

fn add_modules(archive: &mut Archive, system: &System) -> Result {
    let root = format!("lib/modules/{}", system.release);
    let files = modules::files(system)?;
    archive.folder("lib");
    archive.folder("lib/modules");
    archive.folder(&root);
    let mut made = std::collections::BTreeSet::new();
    for (path, contents) in files {
        for folder in parents(&path) {
            if made.insert(folder.to_owned()) {
                archive.folder(&format!("{root}/{folder}"));
            }
        }
        archive.file(&format!("{root}/{path}"), &contents);
    }
    Ok(())
}

/// The folders that a path is in, outermost first.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(end, _)| &path[..end])
}

/// The guest's script, told how many bursts to trace.
fn init(runs: u32) -> String {
    INIT.replace("@RUNS@", &runs.to_string())
}

const INIT: &str = include_str!("init.sh");
/// No /etc: a trace needs nothing of it.
const FOLDERS: [&str; 9] = ["bin", "dev", "proc", "results", "run", "sbin", "sys", "tmp", "www"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_what_is_in_them() {
        assert_eq!(parents("a/b/c.ko").collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(parents("modules.dep").count(), 0);
    }

    #[test]
    fn the_script_is_told_how_often() {
        assert!(init(17).contains("RUNS=17\n"));
        assert!(!init(17).contains("@RUNS@"));
    }
}
