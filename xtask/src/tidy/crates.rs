//! Which crate may depend on which, and that nothing C is shipped.

use std::fs;
use std::path::Path;

use super::finding::Finding;
use crate::workspace::{Package, Workspace};

/// The arrows of docs/ARCHITECTURE.md, section Crates: crate, and which others of the workspace it may depend on.
const ARROWS: &[(&str, &[&str])] = &[
    (
        "nsntrace",
        &[
            "nsntrace-capture",
            "nsntrace-datapath",
            "nsntrace-filter",
            "nsntrace-keylog",
            "nsntrace-lease",
            "nsntrace-link",
            "nsntrace-live",
            "nsntrace-nat",
            "nsntrace-netns",
            "nsntrace-nfqueue",
            "nsntrace-owners",
            "nsntrace-pcapwriter",
            "nsntrace-proxy",
            "nsntrace-relay",
            "nsntrace-report",
            "nsntrace-sockdiag",
            "nsntrace-sys",
        ],
    ),
    ("nsntrace-capture", &["nsntrace-sys"]),
    (
        "nsntrace-datapath",
        &[
            "nsntrace-capture",
            "nsntrace-dissect",
            "nsntrace-owners",
            "nsntrace-pcapwriter",
            "nsntrace-report",
        ],
    ),
    ("nsntrace-dissect", &[]),
    ("nsntrace-filter", &[]),
    ("nsntrace-keylog", &[]),
    ("nsntrace-lease", &["nsntrace-sys"]),
    ("nsntrace-link", &["nsntrace-netlink", "nsntrace-sys"]),
    ("nsntrace-live", &["nsntrace-dissect"]),
    ("nsntrace-nat", &["nsntrace-netlink", "nsntrace-sys"]),
    ("nsntrace-netlink", &["nsntrace-sys"]),
    ("nsntrace-netns", &["nsntrace-netlink", "nsntrace-sys"]),
    ("nsntrace-nfqueue", &["nsntrace-netlink"]),
    ("nsntrace-owners", &["nsntrace-sys"]),
    ("nsntrace-pcapwriter", &[]),
    ("nsntrace-proxy", &["nsntrace-reactor", "nsntrace-sys"]),
    ("nsntrace-reactor", &[]),
    ("nsntrace-relay", &["nsntrace-reactor", "nsntrace-sys"]),
    ("nsntrace-report", &["nsntrace-dissect"]),
    ("nsntrace-sockdiag", &["nsntrace-netlink", "nsntrace-sys"]),
    ("nsntrace-sys", &[]),
    ("nsntrace-testkit", &[]),
    ("nsntrace-tests", &["nsntrace-testkit"]),
    ("xtask", &[]),
];

/// What any test may use besides.
const FOR_TESTS: &[&str] = &["nsntrace-sys", "nsntrace-testkit"];

/// Packages that compile or bind C, or wrap a C library.
const C_TOOLS: &[&str] = &["bindgen", "cc", "cmake", "nftnl", "pkg-config", "rustables"];

/// Named as bindings are, but all Rust: the kernel's numbers, and our own crate.
const NOT_BINDINGS: &[&str] = &["linux-raw-sys", "nsntrace-sys"];

/// Rules `arrow` and `no-c`.
pub(crate) fn check(workspace: &Workspace) -> Vec<Finding> {
    let arrows = workspace.members.iter().flat_map(|package| check_arrows(workspace, package));
    let foreign = workspace.shipped.iter().filter_map(|package| check_foreign(workspace, package));
    arrows.chain(foreign).collect()
}

fn check_arrows(workspace: &Workspace, package: &Package) -> Vec<Finding> {
    let manifest = relative(&workspace.root, &package.manifest);
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package.name) else {
        let text = format!("{} has no row in the table of xtask/src/tidy/crates.rs", package.name);
        return vec![Finding { path: manifest, line: 1, rule: "arrow", text }];
    };
    let is_ours = |name: &str| workspace.members.iter().any(|member| member.name == name);
    let wrong = package.dependencies.iter().filter(|dependency| {
        let is_allowed = allowed.contains(&dependency.name.as_str());
        is_ours(&dependency.name)
            && !is_allowed
            && !(dependency.is_dev && FOR_TESTS.contains(&dependency.name.as_str()))
    });
    wrong
        .map(|dependency| Finding {
            path: manifest.clone(),
            line: line_of(&package.manifest, &dependency.name),
            rule: "arrow",
            text: format!("{} may not depend on {}", package.name, dependency.name),
        })
        .collect()
}

fn check_foreign(workspace: &Workspace, package: &Package) -> Option<Finding> {
    let name = package.name.as_str();
    let reason = if let Some(library) = &package.links {
        format!("links the native library `{library}`")
    } else if C_TOOLS.contains(&name) {
        "is a way to C".to_owned()
    } else if name.ends_with("-sys") && !NOT_BINDINGS.contains(&name) {
        "is named as bindings to C are".to_owned()
    } else {
        return None;
    };
    let path = workspace
        .product()
        .map_or_else(|_| "Cargo.toml".to_owned(), |product| relative(&workspace.root, &product.manifest));
    let text = format!("{name} {} would ship, and it {reason}", package.version);
    Some(Finding { path, line: 1, rule: "no-c", text })
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

/// The line of a manifest that names a dependency; 1 where it cannot be told.
fn line_of(manifest: &Path, dependency: &str) -> usize {
    let text = fs::read_to_string(manifest).unwrap_or_default();
    text.lines().position(|line| line.starts_with(dependency)).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use super::*;
    use crate::workspace::Dependency;

    #[track_caller]
    fn check_member(name: &str, dependency: &str, is_dev: bool, expected: &[&str]) {
        let mut member = package(name);
        member.dependencies.push(Dependency { name: dependency.to_owned(), is_dev });
        let others = ["nsntrace-netlink", "nsntrace-sys", "nsntrace-nat", "nsntrace-testkit", "xtask"];
        let others = others.into_iter().filter(|other| *other != name).map(package);
        let workspace = workspace(others.chain([member]).collect(), Vec::new());
        let texts: Vec<_> = check(&workspace).into_iter().map(|finding| finding.to_string()).collect();
        assert_eq!(texts, expected);
    }

    #[test]
    fn arrows_point_down_only() {
        check_member("nsntrace-link", "nsntrace-netlink", false, &[]);
        check_member("nsntrace-link", "nsntrace-testkit", true, &[]);
        check_member("nsntrace-link", "serde", false, &[]);
        let sibling = "p/nsntrace-link/Cargo.toml:1: arrow: nsntrace-link may not depend on nsntrace-nat";
        check_member("nsntrace-link", "nsntrace-nat", false, &[sibling]);
        check_member("nsntrace-link", "nsntrace-nat", true, &[sibling]);
        let testkit = "p/nsntrace-link/Cargo.toml:1: arrow: nsntrace-link may not depend on nsntrace-testkit";
        check_member("nsntrace-link", "nsntrace-testkit", false, &[testkit]);
        let up = "p/nsntrace-sys/Cargo.toml:1: arrow: nsntrace-sys may not depend on nsntrace-netlink";
        check_member("nsntrace-sys", "nsntrace-netlink", false, &[up]);
    }

    #[test]
    fn a_new_crate_needs_a_row() {
        let expected = "p/nsntrace-new/Cargo.toml:1: arrow: nsntrace-new has no row in the table of xtask/src/tidy/crates.rs";
        check_member("nsntrace-new", "serde", false, &[expected]);
    }

    #[track_caller]
    fn check_shipped(shipped: Package, expected: Option<&str>) {
        let workspace =
            workspace(Vec::new(), vec![package("nsntrace-sys"), package("linux-raw-sys"), shipped]);
        let texts: Vec<_> = check(&workspace).into_iter().map(|finding| finding.text).collect();
        assert_eq!(texts, Vec::from_iter(expected));
    }

    #[test]
    fn nothing_of_c_ships() {
        check_shipped(package("rustix"), None);
        check_shipped(package("cc"), Some("cc 1.0.0 would ship, and it is a way to C"));
        check_shipped(package("rustables"), Some("rustables 1.0.0 would ship, and it is a way to C"));
        check_shipped(
            package("mnl-sys"),
            Some("mnl-sys 1.0.0 would ship, and it is named as bindings to C are"),
        );
        let linking = Package { links: Some("z".to_owned()), ..package("compress") };
        check_shipped(linking, Some("compress 1.0.0 would ship, and it links the native library `z`"));
    }

    fn package(name: &str) -> Package {
        Package {
            id: name.to_owned(),
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: String::new(),
            is_published: true,
            rust_version: String::new(),
            manifest: PathBuf::from(format!("/r/p/{name}/Cargo.toml")),
            links: None,
            dependencies: Vec::new(),
            needs: BTreeSet::new(),
            roots: Vec::new(),
        }
    }

    fn workspace(members: Vec<Package>, shipped: Vec<Package>) -> Workspace {
        Workspace { root: "/r".into(), target: "/r/target".into(), members, shipped }
    }
}
