//! Settings of this host's network namespace, under /proc/sys.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Reads a setting. `None` where the kernel has none of this name.
pub(crate) fn read(key: &str) -> Option<String> {
    Some(fs::read_to_string(path(key)).ok()?.trim().to_owned())
}

/// Writes a setting that goes with its device. Others are leased: crates/lease.
pub(crate) fn write(key: &str, value: &str) -> Result<(), Failure> {
    let path = path(key);
    fs::write(&path, value).map_err(|error| Failure::of(&format!("cannot write {}", path.display()), &error))
}

/// Whether the kernel has a setting of this name.
pub(crate) fn exists(key: &str) -> bool {
    path(key).exists()
}

fn path(key: &str) -> PathBuf {
    Path::new("/proc/sys").join(key)
}
