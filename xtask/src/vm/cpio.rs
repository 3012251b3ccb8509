//! Archives of the kind that the kernel unpacks as its first file system.
//!
//! ```text
//! entry   magic "070701", then 8 hexadecimal digits each: ino mode uid gid nlink mtime filesize devmajor devminor
//!         rdevmajor rdevminor namesize check; the name with a NUL, the contents, each padded to 4 bytes
//! ```
//!
//! # References
//! Documentation/driver-api/early-userspace/buffer-format.rst; cpio(5).

/// An archive that is being written. Everything in it belongs to root, and names are relative to the root.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    pub(super) fn folder(&mut self, name: &str) {
        self.entry(name, S_IFDIR | 0o755, (0, 0), &[]);
    }

    /// A file; a program, too.
    pub(super) fn file(&mut self, name: &str, contents: &[u8]) {
        self.entry(name, S_IFREG | 0o755, (0, 0), contents);
    }

    pub(super) fn symlink(&mut self, name: &str, target: &str) {
        self.entry(name, S_IFLNK | 0o777, (0, 0), target.as_bytes());
    }

    pub(super) fn character_device(&mut self, name: &str, major: u32, minor: u32) {
        self.entry(name, S_IFCHR | 0o600, (major, minor), &[]);
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry(LAST, 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, (major, minor): (u32, u32), contents: &[u8]) {
        self.entries += 1;
        let length = |bytes: usize| u32::try_from(bytes).expect("nobody boots from files of 4 GiB");
        let name_size = length(name.len() + 1);
        let fields =
            [self.entries, mode, 0, 0, 1, 0, length(contents.len()), 0, 0, major, minor, name_size, 0];
        self.bytes.extend(b"070701");
        self.bytes.extend(fields.iter().flat_map(|field| format!("{field:08x}").into_bytes()));
        self.padded(&[name.as_bytes(), b"\0"].concat());
        self.padded(contents);
    }

    fn padded(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// The name that ends an archive.
const LAST: &str = "TRAILER!!!";
// inode(7).
const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;
const S_IFLNK: u32 = 0o120_000;
const S_IFCHR: u32 = 0o020_000;

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    /// What busybox finds in an archive.
    fn list(archive: Archive) -> String {
        let mut cpio = Command::new("busybox")
            .args(["cpio", "-tv"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        cpio.stdin.take().unwrap().write_all(&archive.finish()).unwrap();
        let output = cpio.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn others_read_what_we_write() {
        let mut archive = Archive::default();
        archive.folder("bin");
        for len in 0..5 {
            archive.file(&format!("bin/{}", "x".repeat(len + 1)), &vec![b'.'; len]);
        }
        archive.symlink("init", "bin/x");
        archive.character_device("console", 5, 1);
        let listing = list(archive);
        // Mode, owner, size, date, time, name.
        let seen: Vec<_> = listing
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .map(|words| (words[0], words[1], words[2], words[5..].join(" ")))
            .collect();
        let entry = |mode, size, name: &str| (mode, "0/0", size, name.to_owned());
        assert_eq!(seen[0], entry("drwxr-xr-x", "0", "bin"));
        assert_eq!(seen[1], entry("-rwxr-xr-x", "0", "bin/x"));
        assert_eq!(seen[5], entry("-rwxr-xr-x", "4", "bin/xxxxx"));
        assert_eq!(seen[6], entry("lrwxrwxrwx", "0", "init -> bin/x"));
        assert_eq!(seen[7], entry("crw-------", "0", "console"));
        assert_eq!(seen.len(), 8);
    }
}
