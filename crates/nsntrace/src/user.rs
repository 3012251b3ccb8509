//! Who the program is to run as: /etc/passwd and /etc/group read by us, as a static binary has no name service switch.
//!
//! # References
//! passwd(5), group(5), getgrouplist(3).

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::thread;

use rustix::fs::fchown;
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::failure::Failure;

/// A user as a process becomes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    uid: u32,
    gid: u32,
    /// Supplementary groups, the primary one included.
    groups: Vec<u32>,
    name: String,
    home: String,
    shell: String,
}

/// A line of passwd(5).
struct Entry<'text> {
    name: &'text str,
    uid: u32,
    gid: u32,
    home: &'text str,
    shell: &'text str,
}

impl Identity {
    /// Finds the user that `typed` names: USER or USER:GROUP, each by name or number.
    pub(crate) fn find(typed: &str) -> Result<Self, Failure> {
        let passwd = read(Path::new("/etc/passwd"));
        let group = read(Path::new("/etc/group"));
        Self::find_in(typed, &passwd, &group)
    }

    fn find_in(typed: &str, passwd: &str, group: &str) -> Result<Self, Failure> {
        let (user, gid) = match typed.split_once(':') {
            Some((user, group_typed)) => {
                (user, Some(find_group(group_typed, group).ok_or_else(|| unknown_group(group_typed))?))
            }
            None => (typed, None),
        };
        if let Some(entry) = entries(passwd).find(|entry| entry.name == user) {
            return Ok(Self::of(&entry, gid.unwrap_or(entry.gid), group));
        }
        let uid = number(user).ok_or_else(|| unknown_user(user))?;
        match entries(passwd).find(|entry| entry.uid == uid) {
            Some(entry) => Ok(Self::of(&entry, gid.unwrap_or(entry.gid), group)),
            None => Ok(Self::without_entry(uid, gid.unwrap_or(uid))),
        }
    }

    fn of(entry: &Entry<'_>, gid: u32, group: &str) -> Self {
        Self {
            uid: entry.uid,
            gid,
            groups: groups_of(entry.name, gid, group),
            name: entry.name.into(),
            home: entry.home.into(),
            // passwd(5): an empty field means this shell.
            shell: if entry.shell.is_empty() { "/bin/sh".into() } else { entry.shell.into() },
        }
    }

    fn without_entry(uid: u32, gid: u32) -> Self {
        Self { uid, gid, groups: vec![gid], name: uid.to_string(), home: "/".into(), shell: "/bin/sh".into() }
    }

    /// What login(1) would set.
    pub(crate) fn environment(&self) -> [(&'static str, OsString); 4] {
        [
            ("HOME", (&self.home).into()),
            ("USER", (&self.name).into()),
            ("LOGNAME", (&self.name).into()),
            ("SHELL", (&self.shell).into()),
        ]
    }

    pub(crate) fn uid(&self) -> u32 {
        self.uid
    }

    /// Makes a file this user's.
    pub(crate) fn give(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        Ok(fchown(file, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))?)
    }

    /// Does something with files as this user would do it. On a thread of its own, that ends with it: nobody else's rights change, and the user
    /// gets no hold of us by it.
    pub(crate) fn with_rights_on_files<T: Send>(
        &self,
        act: impl FnOnce() -> io::Result<T> + Send,
    ) -> io::Result<T> {
        let groups: Vec<_> = self.groups.iter().map(|&gid| Gid::from_raw(gid)).collect();
        let act = || {
            set_thread_groups(&groups)?;
            nsntrace_sys::become_on_files(self.uid, self.gid)?;
            act()
        };
        thread::scope(|scope| {
            let done = thread::Builder::new().spawn_scoped(scope, act)?.join();
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Makes the calling thread, its process' only one, run as this user for good.
    pub(crate) fn become_it(&self) -> rustix::io::Result<()> {
        let gid = Gid::from_raw(self.gid);
        let uid = Uid::from_raw(self.uid);
        let groups: Vec<_> = self.groups.iter().map(|&gid| Gid::from_raw(gid)).collect();
        // Groups first: once the uid is another, the kernel allows none of this.
        set_thread_groups(&groups)?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)
    }
}

fn unknown_user(typed: &str) -> Failure {
    let failure = Failure::new(format!("unknown user '{typed}': not in /etc/passwd"));
    failure.hint("users from elsewhere (LDAP, sssd) are known by number only, which id -u NAME tells")
}

fn unknown_group(typed: &str) -> Failure {
    let failure = Failure::new(format!("unknown group '{typed}': not in /etc/group"));
    failure.hint("groups from elsewhere (LDAP, sssd) are known by number only: -u USER:GID")
}

/// The number of a group, typed as a name or a number.
fn find_group(typed: &str, group: &str) -> Option<u32> {
    let mut lines = group.lines().map(|line| line.split(':'));
    let named = lines.find_map(|mut fields| {
        let is_it = fields.next() == Some(typed) && !typed.is_empty();
        if is_it { fields.nth(1)?.parse().ok() } else { None }
    });
    named.or_else(|| number(typed))
}

/// A UID or GID in digits.
fn number(typed: &str) -> Option<u32> {
    let is_digits = !typed.is_empty() && typed.bytes().all(|byte| byte.is_ascii_digit());
    typed.parse().ok().filter(|&id| is_digits && id != NO_ID)
}

fn entries(passwd: &str) -> impl Iterator<Item = Entry<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        let _password = fields.next()?;
        let uid = fields.next()?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let _full_name = fields.next()?;
        let home = fields.next()?;
        Some(Entry { name, uid, gid, home, shell: fields.next().unwrap_or("") })
    })
}

/// The primary group and every group whose list of members has `name`, each once.
fn groups_of(name: &str, primary: u32, group: &str) -> Vec<u32> {
    let mut groups = vec![primary];
    for line in group.lines() {
        let mut fields = line.split(':').skip(2);
        let (Some(gid), Some(members)) = (fields.next().and_then(|gid| gid.parse().ok()), fields.next())
        else {
            continue;
        };
        if members.split(',').any(|member| member == name) && !groups.contains(&gid) {
            groups.push(gid);
        }
    }
    groups
}

/// Lossy: a full name in an old encoding must not hide the users around it.
fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// `(uid_t) -1` means "leave as it is" to setresuid(2), and is nobody's.
const NO_ID: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
        # comment\n\
        +::::::\n\
        bob:x:1000:1000:Bob,,,:/home/bob:/bin/zsh\n\
        1007:x:1008:1008::/home/odd:\n\
        broken:x:nan:0::/:/bin/sh\n";
    const GROUP: &str =
        "root:x:0:\nwheel:x:10:alice,bob\nbob:x:1000:\nshort:x\ndup:x:10:bob\nbobby:x:11:bobby\n";

    #[track_caller]
    fn found(typed: &str) -> Identity {
        Identity::find_in(typed, PASSWD, GROUP).unwrap()
    }

    #[test]
    fn a_name_brings_groups_home_and_shell() {
        let bob = found("bob");
        assert_eq!((bob.uid, bob.gid, &bob.groups[..]), (1000, 1000, &[1000, 10][..]));
        assert_eq!(bob.environment()[0], ("HOME", "/home/bob".into()));
        assert_eq!(bob.environment()[3], ("SHELL", "/bin/zsh".into()));
    }

    #[test]
    fn a_number_with_an_entry_is_that_user() {
        assert_eq!(found("1000"), found("bob"));
        assert_eq!(found("1000:10").gid, 10);
        assert_eq!(found("bob:wheel").groups, [10]);
    }

    #[test]
    fn a_number_without_an_entry_is_fine() {
        let nobody = found("4242");
        assert_eq!((nobody.uid, nobody.gid, &nobody.groups[..]), (4242, 4242, &[4242][..]));
        assert_eq!(nobody.environment()[1], ("USER", "4242".into()));
        assert_eq!(found("4242:7").gid, 7);
        assert_eq!(found("4242:wheel").gid, 10);
    }

    #[test]
    fn a_name_made_of_digits_is_a_name_first() {
        assert_eq!(found("1007").uid, 1008);
        assert_eq!(found("1007").environment()[3], ("SHELL", "/bin/sh".into()));
    }

    #[test]
    fn what_is_no_user_says_so_and_how_to_go_on() {
        let refused = |typed: &str, what: &str| {
            let failure = Identity::find_in(typed, PASSWD, GROUP).unwrap_err();
            assert!(failure.message.starts_with(what), "{typed}: {failure}");
            assert!(failure.hint.unwrap().contains("number"), "{typed}");
        };
        for typed in ["alice", "", "broken", "-1", "+5", "4294967295", ":5", "99999999999"] {
            refused(typed, "unknown user");
        }
        for typed in ["5:", "5:x", "bob:-1", "bob:short"] {
            refused(typed, "unknown group");
        }
    }
}
