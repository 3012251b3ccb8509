//! Leases: who sets, who gives back, and what becomes of a setting whose users are killed.
#![forbid(unsafe_code)]

use std::fs;
use std::thread;

use nsntrace_lease::{Lease, LeaseError, Outcome};

use crate::common::{Fixture, KEY, Run};

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
fn the_first_user_sets_and_the_last_gives_back() {
    let fixture = Fixture::new("0");
    let first = Lease::acquire(&fixture.open(), KEY, "1").unwrap();
    assert_eq!((first.original(), first.key(), fixture.text().as_str()), ("0", KEY, "1\n"));
    let second = Lease::acquire(&fixture.open(), KEY, "1").unwrap();
    assert_eq!(second.original(), "0");
    assert_eq!(first.release().unwrap(), Outcome::StillLeased);
    assert_eq!(fixture.text(), "1\n");
    assert_eq!(second.release().unwrap(), Outcome::Restored);
    assert_eq!(fixture.text(), "0\n");
    assert!(!fixture.base().exists(), "the last one removes the directory");
}

#[test]
fn a_kept_value_stays_whoever_is_the_last() {
    let fixture = Fixture::new("0");
    let mut first = Lease::acquire(&fixture.open(), KEY, "1").unwrap();
    let second = Lease::acquire(&fixture.open(), KEY, "1").unwrap();
    first.keep().unwrap();
    assert_eq!(first.original(), "1");
    assert_eq!(first.release().unwrap(), Outcome::StillLeased);
    assert_eq!(second.release().unwrap(), Outcome::Unchanged);
    assert_eq!(fixture.text(), "1\n");
}

#[test]
fn dropping_releases() {
    let fixture = Fixture::new("0");
    let lease = Lease::acquire(&fixture.open(), KEY, "1").unwrap();
    assert_eq!(fixture.text(), "1\n");
    drop(lease);
    assert_eq!(fixture.text(), "0\n");
}

#[test]
fn a_setting_that_has_the_value_is_not_written() {
    let fixture = Fixture::new("0");
    // Our own writes end with a newline, so they would show.
    fs::write(fixture.settings().join(KEY), "1").unwrap();
    let dir = fixture.open();
    let lease = Lease::acquire(&dir, KEY, "1").unwrap();
    assert_eq!(lease.original(), "1");
    assert_eq!(fs::read_dir(fixture.base().join(common::SCOPE)).unwrap().count(), 1, "the mutex alone");
    assert_eq!(lease.release().unwrap(), Outcome::Unchanged);
    assert_eq!(fixture.text(), "1");
}

#[test]
fn a_strangers_change_stays() {
    let fixture = Fixture::new("0");
    let lease = Lease::acquire(&fixture.open(), KEY, "1").unwrap();
    fixture.set("2");
    assert_eq!(lease.release().unwrap(), Outcome::ChangedByOthers);
    assert_eq!(fixture.text(), "2\n");
    assert!(!fixture.base().exists());
}

#[test]
fn a_further_user_gives_back_what_a_stranger_set() {
    let fixture = Fixture::new("0");
    let first = Lease::acquire(&fixture.open(), KEY, "1").unwrap();
    fixture.set("2");
    let second = Lease::acquire(&fixture.open(), KEY, "1").unwrap();
    assert_eq!((second.original(), fixture.text().as_str()), ("2", "1\n"));
    assert_eq!(second.release().unwrap(), Outcome::StillLeased);
    assert_eq!(first.release().unwrap(), Outcome::Restored);
    assert_eq!(fixture.text(), "2\n");
}

#[test]
fn a_device_that_vanished_is_forgotten() {
    let fixture = Fixture::new("0");
    let lease = Lease::acquire(&fixture.open(), KEY, "1").unwrap();
    fs::remove_file(fixture.settings().join(KEY)).unwrap();
    assert_eq!(lease.release().unwrap(), Outcome::Gone);
    assert!(!fixture.base().exists());
}

#[test]
fn a_setting_that_is_not_there_leaves_nothing_behind() {
    let fixture = Fixture::new("0");
    let error = Lease::acquire(&fixture.open(), "net/ipv4/conf/eth9/forwarding", "1").unwrap_err();
    assert_eq!(error.to_string(), "cannot read the setting net/ipv4/conf/eth9/forwarding");
    assert!(!fixture.base().exists());
}

#[test]
fn two_values_for_one_setting_are_a_conflict() {
    let fixture = Fixture::new("0");
    let lease = Lease::acquire(&fixture.open(), KEY, "1").unwrap();
    let error = Lease::acquire(&fixture.open(), KEY, "2").unwrap_err();
    assert_eq!(
        error.to_string(),
        "another run keeps the setting net/ipv4/conf/eth0.5/forwarding at 1, and 2 is wanted"
    );
    assert_eq!(lease.release().unwrap(), Outcome::Restored, "the refused one does not count as a user");
}

#[test]
fn keys_that_lead_elsewhere_are_refused() {
    let fixture = Fixture::new("0");
    let dir = fixture.open();
    for key in ["", "/net", "net/../x", "net/./x", "net//x", "net/", "..", "net/\0", "net/a\nb"] {
        assert!(matches!(Lease::acquire(&dir, key, "1"), Err(LeaseError::BadKey { .. })), "{key:?}");
    }
    for value in ["1\n", " 1", "1\n2"] {
        assert!(matches!(Lease::acquire(&dir, KEY, value), Err(LeaseError::BadText { .. })), "{value:?}");
    }
    assert_eq!(fixture.text(), "0\n");
}

#[test]
fn one_of_three_killed_changes_nothing() {
    let fixture = Fixture::new("0");
    let [first, second, third] = [fixture.start_run(), fixture.start_run(), fixture.start_run()];
    first.kill();
    assert_eq!(fixture.text(), "1\n");
    second.end();
    assert_eq!(fixture.text(), "1\n");
    third.end();
    assert_eq!(fixture.text(), "0\n");
}

#[test]
fn what_the_killed_left_is_healed_and_the_living_are_left_alone() {
    let fixture = Fixture::new("0");
    let run = fixture.start_run();
    assert!(fixture.open().heal_leases().unwrap().is_empty());
    assert_eq!(fixture.text(), "1\n");
    run.kill();
    assert_eq!(fixture.text(), "1\n", "nobody was left to give it back");
    let healed = fixture.open().heal_leases().unwrap();
    let [healed] = healed.as_slice() else { panic!("one setting was leased: {healed:?}") };
    assert_eq!((healed.key.as_str(), healed.outcome.as_ref().unwrap()), (KEY, &Outcome::Restored));
    assert_eq!(fixture.text(), "0\n");
}

#[test]
fn a_new_user_takes_the_killed_ones_original_over() {
    let fixture = Fixture::new("0");
    fixture.start_run().kill();
    fixture.start_run().kill(); // This one asserts that it was told 0, too.
    let lease = Lease::acquire(&fixture.open(), KEY, "1").unwrap();
    assert_eq!((lease.original(), fixture.text().as_str()), ("0", "1\n"));
    assert_eq!(lease.release().unwrap(), Outcome::Restored);
    assert_eq!(fixture.text(), "0\n");
}

#[test]
fn a_killed_ones_original_is_not_taken_over_once_a_stranger_set_it() {
    let fixture = Fixture::new("0");
    fixture.start_run().kill();
    fixture.set("2");
    let lease = Lease::acquire(&fixture.open(), KEY, "1").unwrap();
    assert_eq!(lease.original(), "2");
    assert_eq!(lease.release().unwrap(), Outcome::Restored);
    assert_eq!(fixture.text(), "2\n");
}

#[test]
fn a_record_whose_writer_changed_nothing_is_healed_without_a_write() {
    let fixture = Fixture::new("0");
    fixture.start_run().kill();
    fs::write(fixture.settings().join(KEY), "0").unwrap();
    let healed = fixture.open().heal_leases().unwrap();
    assert_eq!(healed.len(), 1);
    assert_eq!(healed[0].outcome.as_ref().unwrap(), &Outcome::Unchanged);
    assert_eq!(fixture.text(), "0");
}

#[test]
fn what_cannot_be_given_back_is_left_to_the_next_run() {
    let fixture = Fixture::new("0");
    fixture.start_run().kill();
    let setting = fixture.settings().join(KEY);
    fs::remove_file(&setting).unwrap();
    fs::create_dir(&setting).unwrap();
    let healed = fixture.open().heal_leases().unwrap();
    assert_eq!(
        healed[0].outcome.as_ref().unwrap_err().to_string(),
        "cannot read the setting net/ipv4/conf/eth0.5/forwarding"
    );
    // A run that cannot lease it now must not lose the record either.
    assert!(Lease::acquire(&fixture.open(), KEY, "1").is_err());
    fs::remove_dir(&setting).unwrap();
    fixture.set("1");
    assert_eq!(fixture.open().heal_leases().unwrap()[0].outcome.as_ref().unwrap(), &Outcome::Restored);
    assert_eq!(fixture.text(), "0\n");
}

#[test]
fn twenty_at_once_of_which_half_are_killed() {
    let fixture = Fixture::new("0");
    let runs: Vec<Run> = thread::scope(|scope| {
        let starts: Vec<_> = (0..20).map(|_| scope.spawn(|| fixture.start_run())).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert_eq!(fixture.text(), "1\n");
    thread::scope(|scope| {
        for (index, run) in runs.into_iter().enumerate() {
            scope.spawn(move || if index % 2 == 0 { run.kill() } else { run.end() });
        }
    });
    let dir = fixture.open();
    for healed in dir.heal_leases().unwrap() {
        assert_eq!(healed.outcome.unwrap(), Outcome::Restored);
    }
    assert_eq!(fixture.text(), "0\n");
    let stale = dir.stale().unwrap();
    assert_eq!(stale.len(), 10);
    for stale in stale {
        stale.forget().unwrap();
    }
    drop(dir);
    assert!(!fixture.base().exists());
}

#[test]
fn threads_that_come_and_go_always_see_the_value() {
    let fixture = Fixture::new("0");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let lease = Lease::acquire(&fixture.open(), KEY, "1").unwrap();
                    assert_eq!((lease.original(), fixture.text().as_str()), ("0", "1\n"));
                }
            });
        }
    });
    assert_eq!(fixture.text(), "0\n");
    assert!(!fixture.base().exists());
}
