//! A directory for one test's files, gone with the test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};

/// An empty directory that everybody may read, removed with all that is in it on drop.
#[derive(Debug)]
pub struct WorkDir {
    path: PathBuf,
}

impl WorkDir {
    /// Makes the directory.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("nsntrace-test-{}-{number}", process::id()));
        fs::create_dir(&path).expect("the directory's name has our pid in it, so it is new");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of `name` in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Copies a program to `name` in it, for everybody to run.
    ///
    /// By a process of its own: what writes to a file cannot be in the hands of children that other tests start meanwhile, or the
    /// kernel refuses to run it (`ETXTBSY`, execve(2)).
    pub fn copy_program(&self, program: &Path, name: &str) -> PathBuf {
        let copy = self.join(name);
        let status = Command::new("cp").arg(program).arg(&copy).status().expect("cp is everywhere");
        assert!(status.success(), "cp {} {}", program.display(), copy.display());
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("it is ours");
        copy
    }
}

impl Default for WorkDir {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        // A mount of a machine that is just dying may still be on it; then the machine's end frees the rest.
        let _ = fs::remove_dir_all(&self.path);
    }
}
