//! Refusals and their causes, of machines that there are and of machines that were made up.

use nsntrace_testkit::WorkDir;

use super::*;

const PLAIN: Facts = Facts {
    max_user_namespaces: Some(63_000),
    unprivileged_userns_clone: None,
    apparmor_restrict_unprivileged_userns: None,
    profile: Profile::Unknown,
    is_selinux_enforcing: false,
    seccomp: Some(0),
    is_unshare_filtered: false,
    has_user_namespaces: true,
    is_chrooted: false,
    is_unmapped: false,
};
const MAPPING: Stage = Stage::Mapping { is_root_without_setfcap: false };

#[track_caller]
fn check(errno: Errno, facts: Facts, expected: Option<Barrier>) {
    check_at(Stage::Making, errno, facts, expected);
}

#[track_caller]
fn check_at(stage: Stage, errno: Errno, facts: Facts, expected: Option<Barrier>) {
    assert_eq!(Barrier::behind(errno, stage, &facts), expected, "{errno:?} {stage:?} {facts:?}");
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
    check(Errno::PERM, PLAIN, None);
    check(Errno::PERM, Facts { unprivileged_userns_clone: Some(0), ..PLAIN }, Some(Barrier::RootOnly));
    check(Errno::PERM, Facts { unprivileged_userns_clone: Some(1), ..PLAIN }, None);
    check(Errno::PERM, Facts { is_chrooted: true, ..PLAIN }, Some(Barrier::Chroot));
    check(Errno::PERM, Facts { is_unmapped: true, ..PLAIN }, Some(Barrier::Unmapped));
    let restricted = Facts { apparmor_restrict_unprivileged_userns: Some(1), ..PLAIN };
    check(Errno::PERM, restricted, Some(Barrier::AppArmor));
    check(Errno::ACCESS, restricted, Some(Barrier::AppArmor));
    check(Errno::PERM, Facts { seccomp: Some(2), ..PLAIN }, Some(Barrier::Seccomp));
    check(Errno::NOSYS, Facts { seccomp: Some(2), ..PLAIN }, Some(Barrier::Seccomp));
    check(Errno::ACCESS, PLAIN, Some(Barrier::SecurityModule));
    check(Errno::ACCESS, Facts { is_selinux_enforcing: true, ..PLAIN }, Some(Barrier::SeLinux));
    check(Errno::ACCESS, Facts { profile: Profile::Confined, ..PLAIN }, Some(Barrier::AppArmorProfile));
}

#[test]
fn who_acts_first_is_named() {
    let all = Facts {
        unprivileged_userns_clone: Some(0),
        apparmor_restrict_unprivileged_userns: Some(1),
        seccomp: Some(2),
        is_unshare_filtered: true,
        ..PLAIN
    };
    check(Errno::PERM, all, Some(Barrier::Seccomp));
    // A filter that lets unshare(2) be, as every service of systemd may have, is not to blame first.
    check(Errno::PERM, Facts { is_unshare_filtered: false, ..all }, Some(Barrier::RootOnly));
    let restricted = Facts { is_unshare_filtered: false, unprivileged_userns_clone: None, ..all };
    check(Errno::PERM, restricted, Some(Barrier::AppArmor));
    // The restriction is one of programs without a profile, and a container has one.
    check(Errno::PERM, Facts { profile: Profile::Confined, ..restricted }, Some(Barrier::Seccomp));
}

#[test]
fn what_was_made_and_cannot_be_mapped_has_other_causes() {
    let root = Stage::Mapping { is_root_without_setfcap: true };
    check_at(root, Errno::PERM, PLAIN, Some(Barrier::RootUnmapped));
    check_at(MAPPING, Errno::PERM, PLAIN, None);
    // In a new user namespace nobody is mapped.
    check_at(MAPPING, Errno::PERM, Facts { is_unmapped: true, ..PLAIN }, None);
    let ubuntu = Facts {
        apparmor_restrict_unprivileged_userns: Some(1),
        profile: Profile::Unconfined,
        is_unmapped: true,
        ..PLAIN
    };
    check_at(MAPPING, Errno::ACCESS, ubuntu, Some(Barrier::AppArmor));
    check_at(MAPPING, Errno::PERM, ubuntu, Some(Barrier::AppArmor));
}

#[test]
fn a_kernel_without_them_is_not_a_wrong_call() {
    check(Errno::INVAL, Facts { has_user_namespaces: false, ..PLAIN }, Some(Barrier::NotBuilt));
    check(Errno::INVAL, PLAIN, None);
}

#[test]
fn this_machine_can_be_asked() {
    let facts = Facts::of_this_machine();
    assert!(facts.has_user_namespaces && facts.max_user_namespaces.is_some(), "{facts:?}");
    assert!(facts.seccomp.is_some_and(|mode| mode <= SECCOMP_MODE_FILTER), "{facts:?}");
    assert!(!facts.is_chrooted && !facts.is_unmapped && !facts.is_unshare_filtered, "{facts:?}");
}

/// What is read of a machine that consists of these files, over those that every machine has.
fn made_up(files: &[(&str, &str)]) -> Facts {
    let root = WorkDir::new();
    let usual = [
        ("proc/self/status", "Name:\tnsntrace\nSeccomp:\t0\nSeccomp_filters:\t0\n"),
        ("proc/self/ns/user", ""),
        ("proc/self/uid_map", "         0          0 4294967295\n"),
        ("proc/self/mountinfo", "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n"),
        ("proc/sys/user/max_user_namespaces", "63000\n"),
    ];
    for (path, text) in usual.iter().chain(files) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    Facts::read(root.path(), 1000)
}

#[track_caller]
fn check_made_up(files: &[(&str, &str)], stage: Stage, errno: Errno, said: &str, hint: &str) {
    let barrier = Barrier::behind(errno, stage, &made_up(files)).expect("a cause");
    assert_eq!(barrier.to_string(), said);
    assert!(barrier.hint().contains(hint), "{}", barrier.hint());
}

const RESTRICTED: (&str, &str) = ("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n");
const FILTERED: (&str, &str) = ("proc/self/status", "Name:\tnsntrace\nSeccomp:\t2\nSeccomp_filters:\t1\n");

#[test]
fn a_made_up_plain_machine_refuses_for_no_known_cause() {
    assert_eq!(made_up(&[]), PLAIN);
}

#[test]
fn a_made_up_debian_10_names_its_sysctl() {
    check_made_up(
        &[("proc/sys/kernel/unprivileged_userns_clone", "0\n")],
        Stage::Making,
        Errno::PERM,
        "kernel.unprivileged_userns_clone is 0",
        "sysctl kernel.unprivileged_userns_clone=1",
    );
}

#[test]
fn a_made_up_ubuntu_names_its_sysctl_and_the_rule_of_a_profile() {
    let (said, cure) = (
        "kernel.apparmor_restrict_unprivileged_userns is 1",
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    );
    let unconfined = [RESTRICTED, ("proc/self/attr/apparmor/current", "unconfined\n")];
    check_made_up(&unconfined, Stage::Making, Errno::PERM, said, cure);
    // Since 24.04 it can be made, and takes the process to a profile that has no capability there.
    let made = [
        RESTRICTED,
        ("proc/self/attr/apparmor/current", "unprivileged_userns (enforce)\n"),
        ("proc/self/uid_map", ""),
    ];
    check_made_up(&made, MAPPING, Errno::ACCESS, said, cure);
    check_made_up(&made, MAPPING, Errno::PERM, said, "`userns,`");
}

#[test]
fn a_made_up_container_on_ubuntu_names_its_filter_or_its_profile() {
    let files = [RESTRICTED, FILTERED, ("proc/self/attr/apparmor/current", "docker-default (enforce)\n")];
    let container = "seccomp profile that allows unshare(2)";
    check_made_up(&files, Stage::Making, Errno::PERM, "a seccomp filter forbids it", container);
    let profile = "the AppArmor profile in force forbids it";
    check_made_up(&files, Stage::Making, Errno::ACCESS, profile, "/proc/self/attr/current");
}

#[test]
fn a_made_up_fedora_names_selinux() {
    let files = [("sys/fs/selinux/enforce", "1")];
    check_made_up(&files, Stage::Making, Errno::ACCESS, "SELinux forbids it", "user_namespace { create }");
    let permissive = [("sys/fs/selinux/enforce", "0")];
    check_made_up(&permissive, Stage::Making, Errno::ACCESS, "a security module forbids it", "kernel's log");
}

#[test]
fn a_made_up_chroot_and_a_made_up_nobody_are_seen() {
    let inside = [("proc/self/mountinfo", "31 30 0:22 / /proc rw,relatime shared:2 - proc proc rw\n")];
    check_made_up(&inside, Stage::Making, Errno::PERM, "a process in a chroot may not have one", "chroot");
    for map in ["", "0 100000 1000\n", "0 1000 1\n1001 1001 9\n"] {
        let nobody = [("proc/self/uid_map", map)];
        let said = "the user is not mapped in the user namespace that it is in";
        check_made_up(&nobody, Stage::Making, Errno::PERM, said, "--map-current-user");
    }
    assert!(!made_up(&[("proc/self/uid_map", "0 100000 1\n1000 1000 1\n")]).is_unmapped);
}
