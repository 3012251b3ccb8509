//! What keeps an ordinary user from making a user namespace, told from the few errnos that the kernel has for it.
//!
//! # Kernel interface
//! `/proc/sys/user/max_user_namespaces`, `/proc/sys/kernel/unprivileged_userns_clone` (a patch of Debian's and others),
//! `/proc/sys/kernel/apparmor_restrict_unprivileged_userns` (Ubuntu 23.10), `Seccomp` of `/proc/self/status`, `/proc/self/ns/user`.
//!
//! # References
//! user_namespaces(7); `create_user_ns()` in kernel/user_namespace.c; `proc_setgroups_open()`, `map_write()` there; seccomp(2).

use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use rustix::io::Errno;

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
    /// SELinux or another security module says no.
    SecurityModule,
    /// A filter on system calls, as container engines install, is in force.
    Seccomp,
    /// Since Linux 5.12 uid 0 cannot be mapped by somebody who lacks `CAP_SETFCAP`: it could make files that give capabilities.
    RootUnmapped,
    /// The kernel was built without them.
    NotBuilt,
}

/// What this machine says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    max_user_namespaces: Option<u64>,
    unprivileged_userns_clone: Option<u32>,
    apparmor_restrict_unprivileged_userns: Option<u32>,
    /// seccomp(2)'s mode: 0 none, 1 strict, 2 filter.
    seccomp: Option<u32>,
    has_user_namespaces: bool,
    /// The caller has uid 0, and had no `CAP_SETFCAP` outside.
    is_root_without_setfcap: bool,
}

impl Barrier {
    /// What stands behind a refusal, if these facts tell.
    pub(crate) fn behind(errno: Errno, facts: &Facts) -> Option<Self> {
        match errno {
            Errno::NOSPC | Errno::USERS if facts.max_user_namespaces == Some(0) => Some(Self::NoneAllowed),
            Errno::NOSPC | Errno::USERS => Some(Self::LimitReached),
            Errno::INVAL if !facts.has_user_namespaces => Some(Self::NotBuilt),
            Errno::PERM if facts.is_root_without_setfcap => Some(Self::RootUnmapped),
            Errno::PERM if facts.unprivileged_userns_clone == Some(0) => Some(Self::RootOnly),
            Errno::PERM | Errno::ACCESS if is_set(facts.apparmor_restrict_unprivileged_userns) => {
                Some(Self::AppArmor)
            }
            Errno::PERM | Errno::NOSYS if facts.seccomp == Some(SECCOMP_MODE_FILTER) => Some(Self::Seccomp),
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
            Self::SecurityModule => "run nsntrace as root, or look for the denial in the kernel's log",
            Self::Seccomp => {
                "run nsntrace outside of the container, or give the container CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW, \
                 or a seccomp profile that allows unshare(2)"
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
            Self::SecurityModule => "a security module forbids it",
            Self::Seccomp => "a seccomp filter forbids it",
            Self::RootUnmapped => "uid 0 lacks CAP_SETFCAP",
            Self::NotBuilt => "this kernel lacks CONFIG_USER_NS",
        })
    }
}

impl Facts {
    /// Asks this machine; what the process was before it entered its user namespace it cannot tell.
    pub(crate) fn of_this_machine(is_root_without_setfcap: bool) -> Self {
        let sysctl = |key: &str| fs::read_to_string(Path::new("/proc/sys").join(key)).ok();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            max_user_namespaces: sysctl("user/max_user_namespaces").and_then(|text| number(&text)),
            unprivileged_userns_clone: sysctl("kernel/unprivileged_userns_clone")
                .and_then(|text| number(&text)),
            apparmor_restrict_unprivileged_userns: sysctl("kernel/apparmor_restrict_unprivileged_userns")
                .and_then(|text| number(&text)),
            seccomp: status.lines().find_map(|line| number(line.strip_prefix("Seccomp:")?)),
            has_user_namespaces: Path::new("/proc/self/ns/user").exists(),
            is_root_without_setfcap,
        }
    }
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    text.trim().parse().ok()
}

fn is_set(switch: Option<u32>) -> bool {
    switch.is_some_and(|value| value != 0)
}

/// include/uapi/linux/seccomp.h
const SECCOMP_MODE_FILTER: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Facts = Facts {
        max_user_namespaces: Some(63_000),
        unprivileged_userns_clone: None,
        apparmor_restrict_unprivileged_userns: None,
        seccomp: Some(0),
        has_user_namespaces: true,
        is_root_without_setfcap: false,
    };

    #[track_caller]
    fn check(errno: Errno, facts: Facts, expected: Option<Barrier>) {
        assert_eq!(Barrier::behind(errno, &facts), expected, "{errno:?} {facts:?}");
    }

    #[test]
    fn limits_are_told_apart() {
        let none = Facts { max_user_namespaces: Some(0), ..PLAIN };
        check(Errno::NOSPC, none, Some(Barrier::NoneAllowed));
        check(Errno::USERS, none, Some(Barrier::NoneAllowed));
        check(Errno::NOSPC, PLAIN, Some(Barrier::LimitReached));
        check(Errno::NOSPC, Facts { max_user_namespaces: None, ..PLAIN }, Some(Barrier::LimitReached));
    }

    #[test]
    fn one_errno_has_many_causes() {
        let debian = Facts { unprivileged_userns_clone: Some(0), ..PLAIN };
        check(Errno::PERM, debian, Some(Barrier::RootOnly));
        check(Errno::PERM, Facts { unprivileged_userns_clone: Some(1), ..PLAIN }, None);
        let ubuntu = Facts { apparmor_restrict_unprivileged_userns: Some(1), ..debian };
        check(Errno::ACCESS, ubuntu, Some(Barrier::AppArmor));
        check(Errno::PERM, Facts { unprivileged_userns_clone: Some(1), ..ubuntu }, Some(Barrier::AppArmor));
        let docker = Facts { seccomp: Some(2), apparmor_restrict_unprivileged_userns: Some(0), ..PLAIN };
        check(Errno::PERM, docker, Some(Barrier::Seccomp));
        check(Errno::NOSYS, docker, Some(Barrier::Seccomp));
        check(Errno::ACCESS, docker, Some(Barrier::SecurityModule));
        check(Errno::PERM, Facts { is_root_without_setfcap: true, ..PLAIN }, Some(Barrier::RootUnmapped));
        check(Errno::PERM, PLAIN, None);
    }

    #[test]
    fn a_kernel_without_them_is_not_a_wrong_call() {
        check(Errno::INVAL, Facts { has_user_namespaces: false, ..PLAIN }, Some(Barrier::NotBuilt));
        check(Errno::INVAL, PLAIN, None);
    }

    #[test]
    fn this_machine_can_be_asked() {
        let facts = Facts::of_this_machine(false);
        assert!(facts.has_user_namespaces && facts.max_user_namespaces.is_some(), "{facts:?}");
        assert!(facts.seccomp.is_some_and(|mode| mode <= SECCOMP_MODE_FILTER), "{facts:?}");
    }
}
