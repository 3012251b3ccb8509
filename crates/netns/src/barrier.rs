//! What keeps an ordinary user from making a user namespace, told from the few errnos that the kernel has for it.
//!
//! # Theory of operation
//! `EPERM` has half a dozen causes, so the machine is asked what it is like. One question is asked by doing:
//! unshare(2) with nothing to separate is allowed by every kernel, so that only a filter on system calls can have refused it. Where more than one cause is
//! possible the one that acts first is named.
//!
//! # Kernel interface
//! `/proc/sys/user/max_user_namespaces`, `/proc/sys/kernel/unprivileged_userns_clone` (a patch of Debian's and others),
//! `/proc/sys/kernel/apparmor_restrict_unprivileged_userns` (Ubuntu 23.10); of `/proc/self`: `Seccomp` in `status`, `ns/user`, `uid_map`,
//! `mountinfo`, `attr/apparmor/current`; `/sys/fs/selinux/enforce`; `unshare(0)`.
//!
//! # References
//! user_namespaces(7); `create_user_ns()` in kernel/user_namespace.c; `proc_setgroups_open()`, `map_write()` there; seccomp(2);
//! <https://gitlab.com/apparmor/apparmor/-/wikis/unprivileged_userns_restriction>.

use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use rustix::io::Errno;
use rustix::process::geteuid;

/// What stands between an ordinary user and a user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Barrier {
    /// The administrator allows none.
    NoneAllowed,
    /// There are as many as there may be, in number or one below the other.
    LimitReached,
    /// The administrator allows them to root alone.
    RootOnly,
    /// AppArmor makes them powerless for programs without a profile.
    AppArmor,
    /// The AppArmor profile that is in force has no rule for them.
    AppArmorProfile,
    /// SELinux says no.
    SeLinux,
    /// Some security module says no.
    SecurityModule,
    /// A filter on system calls, as container engines install, is in force.
    Seccomp,
    /// The root directory is not that of the mount namespace.
    Chroot,
    /// In the user namespace that there is already, the user is nobody.
    Unmapped,
    /// Since Linux 5.12 uid 0 cannot be mapped by somebody who lacks `CAP_SETFCAP`: it could make files that give capabilities.
    RootUnmapped,
    /// The kernel was built without them.
    NotBuilt,
}

/// How far somebody got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The user namespace could not be made.
    Making,
    /// It was made, and nobody could be mapped into it.
    Mapping {
        /// The caller has uid 0, and had no `CAP_SETFCAP` outside.
        is_root_without_setfcap: bool,
    },
}

/// What a machine says of itself and of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an answer of its own, and all are named where they are set"
)]
pub(crate) struct Facts {
    max_user_namespaces: Option<u64>,
    unprivileged_userns_clone: Option<u32>,
    apparmor_restrict_unprivileged_userns: Option<u32>,
    profile: Profile,
    is_selinux_enforcing: bool,
    /// seccomp(2)'s mode: 0 none, 1 strict, 2 filter.
    seccomp: Option<u32>,
    /// Even an unshare(2) that asks for nothing is refused.
    is_unshare_filtered: bool,
    has_user_namespaces: bool,
    is_chrooted: bool,
    is_unmapped: bool,
}

/// What AppArmor has this process in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Profile {
    /// There is no AppArmor, or it does not tell.
    #[default]
    Unknown,
    /// Nothing, or what it puts programs into that made a user namespace without being allowed to.
    Unconfined,
    /// A profile.
    Confined,
}

impl Barrier {
    /// What stands behind a refusal, if these facts tell.
    pub(crate) fn behind(errno: Errno, stage: Stage, facts: &Facts) -> Option<Self> {
        match errno {
            Errno::NOSPC | Errno::USERS if facts.max_user_namespaces == Some(0) => Some(Self::NoneAllowed),
            Errno::NOSPC | Errno::USERS => Some(Self::LimitReached),
            Errno::INVAL if !facts.has_user_namespaces => Some(Self::NotBuilt),
            Errno::PERM | Errno::ACCESS | Errno::NOSYS => {
                let of_stage = match stage {
                    Stage::Making => Self::behind_making(errno, facts),
                    Stage::Mapping { is_root_without_setfcap } => {
                        (errno == Errno::PERM && is_root_without_setfcap).then_some(Self::RootUnmapped)
                    }
                };
                of_stage.or_else(|| Self::in_force(errno, facts))
            }
            _ => None,
        }
    }

    /// What refuses to make one, in the order in which the kernel asks.
    fn behind_making(errno: Errno, facts: &Facts) -> Option<Self> {
        match errno {
            Errno::PERM | Errno::NOSYS | Errno::ACCESS if facts.is_unshare_filtered => Some(Self::Seccomp),
            Errno::PERM if facts.unprivileged_userns_clone == Some(0) => Some(Self::RootOnly),
            Errno::PERM if facts.is_chrooted => Some(Self::Chroot),
            Errno::PERM if facts.is_unmapped => Some(Self::Unmapped),
            _ => None,
        }
    }

    /// What security modules and filters forbid at any stage.
    fn in_force(errno: Errno, facts: &Facts) -> Option<Self> {
        let is_restricted = is_set(facts.apparmor_restrict_unprivileged_userns);
        match errno {
            // A process in a profile is not subject to the restriction of those without.
            Errno::PERM | Errno::ACCESS if is_restricted && facts.profile != Profile::Confined => {
                Some(Self::AppArmor)
            }
            Errno::PERM | Errno::NOSYS if facts.seccomp == Some(SECCOMP_MODE_FILTER) => Some(Self::Seccomp),
            Errno::ACCESS if facts.profile == Profile::Confined => Some(Self::AppArmorProfile),
            Errno::ACCESS if facts.is_selinux_enforcing => Some(Self::SeLinux),
            Errno::ACCESS => Some(Self::SecurityModule),
            _ => None,
        }
    }

    /// What can be done about it, by whom.
    pub fn hint(self) -> &'static str {
        match self {
            Self::NoneAllowed => {
                "run nsntrace as root, or let root allow some: sysctl user.max_user_namespaces=10000"
            }
            Self::LimitReached => "run nsntrace as root, or look at sysctl user.max_user_namespaces",
            Self::RootOnly => {
                "run nsntrace as root, or let root allow them to users: sysctl kernel.unprivileged_userns_clone=1"
            }
            Self::AppArmor => {
                "run nsntrace as root, or let root give it an AppArmor profile with the rule `userns,`, or allow them to all: \
                 sysctl kernel.apparmor_restrict_unprivileged_userns=0"
            }
            Self::AppArmorProfile => {
                "run nsntrace as root, or let root add the rule `userns,` to the profile that /proc/self/attr/current names"
            }
            Self::SeLinux => {
                "run nsntrace as root, or let root look at `ausearch -m avc -ts recent` and allow user_namespace { create } to \
                 this domain"
            }
            Self::SecurityModule => "run nsntrace as root, or look for the denial in the kernel's log",
            Self::Seccomp => {
                "run nsntrace outside of the container, or give the container CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW, \
                 or a seccomp profile that allows unshare(2)"
            }
            Self::Chroot => "run nsntrace as root, or outside of the chroot",
            Self::Unmapped => {
                "run nsntrace outside of that user namespace, or map the user into it (unshare --map-current-user, \
                 podman --userns=keep-id)"
            }
            Self::RootUnmapped => "run nsntrace as another user, or as root with all of root's capabilities",
            Self::NotBuilt => "run nsntrace as root",
        }
    }
}

impl fmt::Display for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoneAllowed => "user.max_user_namespaces is 0",
            Self::LimitReached => "there are as many as there may be",
            Self::RootOnly => "kernel.unprivileged_userns_clone is 0",
            Self::AppArmor => "kernel.apparmor_restrict_unprivileged_userns is 1",
            Self::AppArmorProfile => "the AppArmor profile in force forbids it",
            Self::SeLinux => "SELinux forbids it",
            Self::SecurityModule => "a security module forbids it",
            Self::Seccomp => "a seccomp filter forbids it",
            Self::Chroot => "a process in a chroot may not have one",
            Self::Unmapped => "the user is not mapped in the user namespace that it is in",
            Self::RootUnmapped => "uid 0 lacks CAP_SETFCAP",
            Self::NotBuilt => "this kernel lacks CONFIG_USER_NS",
        })
    }
}

impl Facts {
    /// Asks this machine and this process.
    pub(crate) fn of_this_machine() -> Self {
        let is_unshare_filtered = nsntrace_sys::is_unshare_filtered();
        Self { is_unshare_filtered, ..Self::read(Path::new("/"), geteuid().as_raw()) }
    }

    /// What the files below `root` tell of a process whose effective uid is `uid`.
    fn read(root: &Path, uid: u32) -> Self {
        let text = |path: &str| fs::read_to_string(root.join(path)).ok();
        let status = text("proc/self/status").unwrap_or_default();
        Self {
            max_user_namespaces: text("proc/sys/user/max_user_namespaces").and_then(number),
            unprivileged_userns_clone: text("proc/sys/kernel/unprivileged_userns_clone").and_then(number),
            apparmor_restrict_unprivileged_userns: text(
                "proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            )
            .and_then(number),
            profile: text("proc/self/attr/apparmor/current")
                .map_or(Profile::Unknown, |text| Profile::of(&text)),
            is_selinux_enforcing: is_set(text("sys/fs/selinux/enforce").and_then(number)),
            seccomp: status.lines().find_map(|line| number(line.strip_prefix("Seccomp:")?)),
            is_unshare_filtered: false,
            has_user_namespaces: root.join("proc/self/ns/user").exists(),
            is_chrooted: text("proc/self/mountinfo")
                .is_some_and(|text| !text.lines().any(is_mounted_at_root)),
            is_unmapped: text("proc/self/uid_map")
                .is_some_and(|text| !text.lines().any(|line| has_uid(line, uid))),
        }
    }
}

impl Profile {
    /// `NAME (MODE)`, or `unconfined`.
    fn of(text: &str) -> Self {
        match text.split_whitespace().next() {
            None => Self::Unknown,
            Some("unconfined" | "unprivileged_userns") => Self::Unconfined,
            Some(_name) => Self::Confined,
        }
    }
}

/// Whether a line of proc(5)'s `mountinfo` is about what is mounted at `/`: the fifth field. A process in a chroot sees no such mount, unless
/// somebody mounted something at its root.
fn is_mounted_at_root(line: &str) -> bool {
    line.split(' ').nth(4) == Some("/")
}

/// Whether a line of user_namespaces(7)'s `uid_map`, first uid inside, first uid outside, how many, is about this uid inside.
fn has_uid(line: &str, uid: u32) -> bool {
    let mut fields = line.split_whitespace().map(str::parse::<u32>);
    let (Some(Ok(first)), Some(Ok(_)), Some(Ok(count))) = (fields.next(), fields.next(), fields.next())
    else {
        return false;
    };
    uid.checked_sub(first).is_some_and(|offset| offset < count)
}

fn number<T: FromStr>(text: impl AsRef<str>) -> Option<T> {
    text.as_ref().trim().parse().ok()
}

fn is_set(switch: Option<u32>) -> bool {
    switch.is_some_and(|value| value != 0)
}

/// include/uapi/linux/seccomp.h
const SECCOMP_MODE_FILTER: u32 = 2;

#[cfg(test)]
mod tests;
