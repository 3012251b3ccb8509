//! The file of a leased setting: its lock says who uses the setting, its text what to give back.
//!
//! All of it is called with the mutex of settings held, but for the lock's end.

use std::fmt::Write as _;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::lock::Lock;
use crate::record::Record;
use crate::{LeaseError, RunDir};

/// The locked file of a leased setting.
#[derive(Debug)]
pub(crate) struct LeaseFile {
    dir: RunDir,
    name: String,
    lock: Lock,
}

/// A setting's file, and whether others use the setting.
pub(crate) enum Share {
    /// Nobody does, and the lock is exclusive. What the file says is what the dead left.
    First(LeaseFile),
    /// Somebody does, and the lock is shared.
    Further(LeaseFile),
}

impl LeaseFile {
    /// Opens or makes the file of the setting `key`.
    pub(crate) fn create(dir: &RunDir, key: &str) -> Result<Share, LeaseError> {
        let name = file_name(key);
        let path = dir.scope().path_of(&name);
        let file = |lock| Self { dir: dir.clone(), name: name.clone(), lock };
        let fd = dir.scope().open_file(&name, OFlags::CREATE).map_err(LeaseError::file("open", &path))?;
        match Lock::try_exclusive(fd).map_err(LeaseError::file("lock", &path))? {
            Ok(lock) => Ok(Share::First(file(lock))),
            Err(fd) => Ok(Share::Further(file(Lock::shared(fd).map_err(LeaseError::file("lock", &path))?))),
        }
    }

    /// Opens the file of the setting `key` if nobody uses the setting.
    pub(crate) fn orphan(dir: &RunDir, key: &str) -> Result<Option<Self>, LeaseError> {
        let name = file_name(key);
        let path = dir.scope().path_of(&name);
        let fd = match dir.scope().open_file(&name, OFlags::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(LeaseError::file("open", path)(errno)),
        };
        let lock = Lock::try_exclusive(fd).map_err(LeaseError::file("lock", path))?;
        Ok(lock.ok().map(|lock| Self { dir: dir.clone(), name, lock }))
    }

    /// Lets others use the setting too.
    pub(crate) fn share(&self) -> Result<(), LeaseError> {
        self.lock.downgrade().map_err(self.failed("lock"))
    }

    /// Whether nobody else uses the setting. If somebody does, our own use of it ends here.
    pub(crate) fn is_last_user(&self) -> Result<bool, LeaseError> {
        self.lock.upgrade().map_err(self.failed("lock"))
    }

    /// What the file says, if anything.
    pub(crate) fn record(&self) -> Result<Option<Record>, LeaseError> {
        Record::read(self.lock.file()).map_err(self.failed("read"))
    }

    /// Writes down what to give back.
    pub(crate) fn write(&self, record: &Record) -> Result<(), LeaseError> {
        record.write(self.lock.file()).map_err(self.failed("write"))
    }

    /// Removes the file.
    pub(crate) fn remove(&self) -> Result<(), LeaseError> {
        self.dir.scope().unlink(&self.name).map_err(self.failed("remove"))
    }

    fn failed<E: Into<std::io::Error>>(&self, step: &'static str) -> impl FnOnce(E) -> LeaseError {
        LeaseError::file(step, self.dir.scope().path_of(&self.name))
    }
}

/// The settings that have a file.
pub(crate) fn keys(dir: &RunDir) -> Result<Vec<String>, LeaseError> {
    Ok(dir.scope().names(PREFIX)?.iter().filter_map(|name| key_of(name)).collect())
}

/// A name for the file of `key`: what is not plain is written as `%` and two digits, so no two keys share one.
fn file_name(key: &str) -> String {
    let mut name = PREFIX.to_owned();
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            name.push(char::from(byte));
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(name, "%{byte:02x}");
        }
    }
    name
}

/// The key that the name of a file was made from, without the prefix. `None`: not a name of our making.
fn key_of(name: &str) -> Option<String> {
    let mut parts = name.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

const PREFIX: &str = "lease-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_plain_and_lead_back_to_their_keys() {
        let keys = [
            "net/ipv4/conf/eth0/forwarding",
            "net/ipv4/conf/eth0.5/forwarding",
            "net/ipv4/conf/a%2fb/x",
            "net/ä/\\x",
        ];
        for key in keys {
            let name = file_name(key);
            assert!(!name.contains('/') && name.is_ascii(), "{name}");
            assert_eq!(name.strip_prefix(PREFIX).and_then(key_of).as_deref(), Some(key));
        }
        assert_eq!(
            file_name("net/ipv4/conf/eth0.5/forwarding"),
            "lease-net%2fipv4%2fconf%2feth0.5%2fforwarding"
        );
    }

    #[test]
    fn names_not_of_our_making_are_no_keys() {
        for name in ["%", "%2", "%zz", "a%ä", "%ff"] {
            assert_eq!(key_of(name), None, "{name}");
        }
    }
}
