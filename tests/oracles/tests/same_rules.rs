//! Three libraries, one ruleset. Each makes it in a network namespace of its own, and nft reads it there.
#![forbid(unsafe_code)]

use nsntrace_nat::{Nat, Owner, Spec};
use nsntrace_netns::Netns;
use nsntrace_oracles::{listing, with_nftnl, with_rustables};

const TABLE: &str = "nsntrace-77";

const PLAIN: Spec<'_> = Spec {
    owner: Owner { pid: 77, start_time: 1 },
    device: 7,
    device_prefix: "nst",
    ipv4: None,
    ipv6: None,
    only_via: None,
    guarded: &[],
};

/// What nft lists in a new namespace after `install`, for as long as what that returned lives.
fn listed<T>(install: impl FnOnce() -> T + Send) -> Vec<String> {
    let inside = || {
        let _alive = install();
        listing::ruleset()
    };
    Netns::create(inside).expect("this test runs as root").1
}

fn ours(spec: &Spec<'_>) -> Vec<String> {
    listed(|| Nat::install(spec).expect("the kernel takes it"))
}

#[track_caller]
fn check(spec: &Spec<'_>) {
    let ours = ours(spec);
    let rules = ours.iter().filter(|object| object.starts_with(r#"{"rule":"#)).count();
    let masqueraded = usize::from(spec.ipv4.is_some()) + usize::from(spec.ipv6.is_some());
    assert_eq!(rules, masqueraded + 3 + usize::from(spec.only_via.is_some()) + spec.guarded.len());
    assert_eq!(ours, listed(|| with_nftnl::install(TABLE, spec)), "nftnl");
    assert_eq!(ours, listed(|| with_rustables::install(TABLE, spec)), "rustables");
}

#[test]
fn forwarding_alone() {
    check(&PLAIN);
}

#[test]
fn masquerading_ipv4() {
    check(&Spec { ipv4: Some([10, 1, 2, 3].into()), ..PLAIN });
}

#[test]
fn masquerading_ipv6() {
    check(&Spec { ipv6: Some("2001:db8:1:2:3:4:5:6".parse().unwrap()), ..PLAIN });
}

#[test]
fn one_way_out() {
    let (ipv4, ipv6) = (Some([10, 1, 2, 3].into()), Some("2001:db8::1".parse().unwrap()));
    check(&Spec { ipv4, ipv6, only_via: Some("up0.5"), ..PLAIN });
}

#[test]
fn guarded_devices() {
    check(&Spec { guarded: &["eth0"], ..PLAIN });
    check(&Spec { guarded: &["eth0", "wlan0", "fifteen-bytes-x"], ..PLAIN });
}

#[test]
fn everything_at_once_under_the_greatest_number() {
    check(&Spec {
        device: i32::MAX.cast_unsigned(),
        ipv4: Some([192, 0, 2, 255].into()),
        ipv6: Some("::ffff:192.0.2.1".parse().unwrap()),
        only_via: Some("n"),
        guarded: &["eth0", "eth1"],
        ..PLAIN
    });
}

#[test]
fn guards_put_in_place_of_others_are_like_new_ones() {
    let changed = listed(|| {
        let mut nat =
            Nat::install(&Spec { guarded: &["eth0", "eth1"], ..PLAIN }).expect("the kernel takes it");
        nat.set_guarded(&["eth2"]).expect("the kernel takes it");
        nat
    });
    assert_eq!(changed, listed(|| with_nftnl::install(TABLE, &Spec { guarded: &["eth2"], ..PLAIN })));
}

#[test]
fn a_table_without_an_owner_has_the_same_rules() {
    let spec = Spec { ipv4: Some([10, 1, 2, 3].into()), ..PLAIN };
    let plain = listed(|| Nat::install_plain(&spec).expect("the kernel takes it"));
    assert_eq!(plain, ours(&spec));
}

#[test]
fn the_listing_tells_rules_apart() {
    let spec = Spec { ipv4: Some([10, 1, 2, 3].into()), only_via: Some("eth0"), guarded: &["eth0"], ..PLAIN };
    let others = [
        Spec { ipv4: Some([10, 1, 2, 4].into()), ..spec },
        Spec { only_via: Some("eth1"), ..spec },
        Spec { device: 8, ..spec },
        Spec { device_prefix: "nst0", ..spec },
        Spec { guarded: &["eth1"], ..spec },
    ];
    let ours = ours(&spec);
    for other in others {
        assert_ne!(ours, listed(|| with_nftnl::install(TABLE, &other)), "{other:?}");
        assert_ne!(ours, listed(|| with_rustables::install(TABLE, &other)), "{other:?}");
    }
}
