//! The directory of runs: who may use it, how it comes and goes, who is alive in it.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nsntrace_lease::{LeaseError, Presence, RunDir};

use crate::common::{Fixture, SCOPE};

mod common;

#[test]
fn a_run_is_a_process() {
    if common::be_a_run() {
        return;
    }
    let fixture = Fixture::new("0");
    let run = fixture.start_run();
    assert_eq!(fixture.text(), "1\n");
    run.end();
    assert_eq!(fixture.text(), "0\n");
    assert!(!fixture.base().exists(), "a run that ends by itself leaves nothing");
}

#[test]
fn the_directory_is_ours_alone_and_goes_with_its_last_user() {
    let fixture = Fixture::new("0");
    let [first, second] = [fixture.open(), fixture.open()];
    for path in [fixture.base(), fixture.base().join(SCOPE)] {
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o7777, 0o700);
    }
    drop(first.clone());
    drop(first);
    assert!(fixture.base().join(SCOPE).exists());
    drop(second);
    assert!(!fixture.base().exists());
}

#[test]
fn another_scope_keeps_the_base() {
    let fixture = Fixture::new("0");
    let other = RunDir::open(&fixture.base(), "net-2").unwrap();
    drop(fixture.open());
    assert!(fixture.base().join("net-2").exists() && !fixture.base().join(SCOPE).exists());
    drop(other);
    assert!(!fixture.base().exists());
}

#[track_caller]
fn check_untrusted(fixture: &Fixture, expected: &str) {
    let error = RunDir::open(&fixture.base(), SCOPE).expect_err("it cannot be trusted");
    assert!(matches!(error, LeaseError::Untrusted { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(expected), "{text}");
}

#[test]
fn links_files_and_open_directories_are_refused() {
    let fixture = Fixture::new("0");
    symlink(fixture.settings(), fixture.base()).unwrap();
    check_untrusted(&fixture, "is not a directory");
    fs::remove_file(fixture.base()).unwrap();
    fs::write(fixture.base(), "").unwrap();
    check_untrusted(&fixture, "is not a directory");
    fs::remove_file(fixture.base()).unwrap();
    fs::create_dir(fixture.base()).unwrap();
    for mode in [0o755, 0o770, 0o701] {
        fs::set_permissions(fixture.base(), fs::Permissions::from_mode(mode)).unwrap();
        check_untrusted(&fixture, "is open to other users");
    }
}

#[test]
fn a_directory_of_another_user_is_refused() {
    let fixture = Fixture::new("0");
    fs::create_dir(fixture.base()).unwrap();
    fs::set_permissions(fixture.base(), fs::Permissions::from_mode(0o700)).unwrap();
    chown(fixture.base(), Some(12345), None)
        .expect("this test gives a directory away, which needs CAP_CHOWN: run it as root");
    check_untrusted(&fixture, "belongs to another user");
}

#[test]
fn a_scope_is_one_plain_name() {
    let fixture = Fixture::new("0");
    for scope in ["", ".", "..", "a/b", "a\0b"] {
        assert!(matches!(RunDir::open(&fixture.base(), scope), Err(LeaseError::BadText { .. })), "{scope:?}");
    }
    assert!(!fixture.base().exists());
}

#[test]
fn one_guard_at_a_time_while_the_directory_comes_and_goes() {
    let fixture = Fixture::new("0");
    let inside = AtomicU32::new(0);
    let turns = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let dir = fixture.open();
                    let guard = dir.exclusive().unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    turns.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                    drop(guard);
                }
            });
        }
    });
    assert_eq!(turns.into_inner(), 1600);
    assert!(!fixture.base().exists());
}

#[test]
fn a_lease_can_be_had_under_the_guard() {
    let fixture = Fixture::new("0");
    let dir = fixture.open();
    let _guard = dir.exclusive().unwrap();
    assert_eq!(nsntrace_lease::Lease::acquire(&dir, common::KEY, "1").unwrap().original(), "0");
}

#[test]
fn the_living_are_not_stale_and_the_killed_tell_what_to_undo() {
    let fixture = Fixture::new("0");
    let run = fixture.start_run();
    let dir = fixture.open();
    let _own = Presence::register(&dir, std::process::id()).unwrap();
    assert!(dir.stale().unwrap().is_empty());
    let pid = run.pid();
    run.kill();
    let stale = dir.stale().unwrap();
    assert_eq!(stale.len(), 1);
    assert_eq!(
        (stale[0].pid, stale[0].notes.as_slice()),
        (pid, [format!("netns-name nsntrace-{pid}")].as_slice())
    );
    assert!(dir.stale().unwrap().is_empty(), "a second healer does not get it");
    drop(stale);
    let again = dir.stale().unwrap();
    assert_eq!(again.len(), 1, "not undone, so found again");
    for stale in again {
        stale.forget().unwrap();
    }
    assert!(dir.stale().unwrap().is_empty());
}

#[test]
fn a_reused_process_id_does_not_hide_what_the_dead_noted() {
    let fixture = Fixture::new("0");
    let run = fixture.start_run();
    let pid = run.pid();
    run.kill();
    let dir = fixture.open();
    let mut presence = Presence::register(&dir, pid).unwrap();
    presence.note("rule 77").unwrap();
    let stale = dir.stale().unwrap();
    assert_eq!(stale.len(), 1);
    assert_eq!(stale[0].notes, [format!("netns-name nsntrace-{pid}")]);
}

#[test]
fn a_note_is_one_line() {
    let fixture = Fixture::new("0");
    let mut presence = Presence::register(&fixture.open(), 1).unwrap();
    for note in ["", "a\nb", "a\n"] {
        assert!(matches!(presence.note(note), Err(LeaseError::BadText { .. })), "{note:?}");
    }
}

#[test]
fn an_unfinished_note_and_strange_files_are_overlooked() {
    let fixture = Fixture::new("0");
    let dir = fixture.open();
    let scope = fixture.base().join(SCOPE);
    fs::write(scope.join("run-7"), "first\nsecond\nthi").unwrap();
    fs::write(scope.join("run-x"), "first\n").unwrap();
    fs::write(scope.join("other"), "first\n").unwrap();
    let stale = dir.stale().unwrap();
    assert_eq!(stale.len(), 1);
    assert_eq!(
        (stale[0].pid, stale[0].notes.as_slice()),
        (7, ["first".to_owned(), "second".to_owned()].as_slice())
    );
}

#[test]
fn healers_that_race_with_newcomers_never_take_the_living() {
    let fixture = Fixture::new("0");
    let dir = fixture.open();
    thread::scope(|scope| {
        for thread in 0..4 {
            let (fixture, dir) = (&fixture, &dir);
            scope.spawn(move || {
                for _ in 0..200 {
                    let mut presence = Presence::register(&fixture.open(), thread).unwrap();
                    presence.note("alive").unwrap();
                }
            });
            scope.spawn(move || {
                for _ in 0..200 {
                    for stale in dir.stale().unwrap() {
                        // A newcomer's file may be met before it is locked, and is empty then.
                        assert!(stale.notes.is_empty(), "took a living run's file");
                        stale.forget().unwrap();
                    }
                }
            });
        }
    });
    assert!(dir.stale().unwrap().is_empty());
}
