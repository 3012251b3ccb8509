//! The workspace as `cargo metadata` describes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::process::{self, Result};

/// The workspace that we are part of.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) members: Vec<Package>,
    /// What is built, and linked or run, to make the `nsntrace` package, itself included.
    pub(crate) shipped: Vec<Package>,
}

/// One package.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    /// As cargo tells packages apart.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    /// In the words of SPDX.
    pub(crate) license: String,
    /// The oldest Rust that it promises to build with.
    pub(crate) rust_version: String,
    /// Whether it may be published, which not to is said in its manifest.
    pub(crate) is_published: bool,
    pub(crate) manifest: PathBuf,
    /// The native library that it links, if it says so.
    pub(crate) links: Option<String>,
    pub(crate) dependencies: Vec<Dependency>,
    /// The packages, by id, that cargo chose for them, but for those of tests.
    pub(crate) needs: BTreeSet<String>,
    /// The file that each crate of it begins with.
    pub(crate) roots: Vec<PathBuf>,
}

/// One line under `[dependencies]` and its like.
#[derive(Clone, Debug)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) is_dev: bool,
}

impl Workspace {
    /// Asks cargo, as for a Linux target: packages for other systems are left out.
    pub(crate) fn load() -> Result<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let arguments = ["metadata", "--format-version=1", "--filter-platform", "x86_64-unknown-linux-musl"];
        let text = process::output(&mut process::cargo(here, arguments))?;
        Self::parse(&serde_json::from_str(&text)?)
    }

    /// Reads what `cargo metadata` prints.
    pub(crate) fn parse(metadata: &Value) -> Result<Self> {
        let mut packages: BTreeMap<_, _> =
            array(metadata, "packages").map(|value| (text(value, "id"), package(value))).collect();
        for node in array(&metadata["resolve"], "nodes") {
            if let Some(package) = packages.get_mut(&text(node, "id")) {
                package.needs = needs(node).collect();
            }
        }
        let chosen = |ids: BTreeSet<String>| -> Vec<Package> {
            ids.iter().filter_map(|id| packages.get(id)).cloned().collect()
        };
        let member_ids = strings(metadata, "workspace_members");
        let product = member_ids.iter().find(|id| packages.get(*id).is_some_and(|one| one.name == PRODUCT));
        let product = product.ok_or("the workspace has no package `nsntrace`")?;
        Ok(Self {
            root: text(metadata, "workspace_root").into(),
            target: text(metadata, "target_directory").into(),
            shipped: chosen(reachable(&packages, product)),
            members: chosen(member_ids),
        })
    }

    /// The package that users get.
    pub(crate) fn product(&self) -> Result<&Package> {
        let found = self.members.iter().find(|package| package.name == PRODUCT);
        Ok(found.ok_or("the workspace has no package `nsntrace`")?)
    }
}

/// The text of a file of the repository.
pub(crate) fn read(root: &Path, path: &str) -> Result<String> {
    let text = fs::read_to_string(root.join(path));
    Ok(text.map_err(|error| format!("cannot read {path}: {error}"))?)
}

/// The name of the package that users get.
pub(crate) const PRODUCT: &str = "nsntrace";

fn package(value: &Value) -> Package {
    Package {
        id: text(value, "id"),
        name: text(value, "name"),
        version: text(value, "version"),
        license: text(value, "license"),
        rust_version: text(value, "rust_version"),
        // A list of registries; nothing stands for any.
        is_published: value["publish"].as_array().is_none_or(|registries| !registries.is_empty()),
        manifest: text(value, "manifest_path").into(),
        links: value["links"].as_str().map(str::to_owned),
        dependencies: array(value, "dependencies").map(dependency).collect(),
        needs: BTreeSet::new(),
        roots: array(value, "targets").map(|target| text(target, "src_path").into()).collect(),
    }
}

fn dependency(value: &Value) -> Dependency {
    Dependency { name: text(value, "name"), is_dev: value["kind"] == "dev" }
}

/// The ids of `from` and of everything it needs, development dependencies aside.
fn reachable(packages: &BTreeMap<String, Package>, from: &str) -> BTreeSet<String> {
    let (mut found, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
    while let Some(id) = open.pop() {
        if let Some(package) = packages.get(&id) {
            open.extend(package.needs.iter().cloned());
        }
        found.insert(id);
        open.retain(|next| !found.contains(next));
    }
    found
}

fn needs(node: &Value) -> impl Iterator<Item = String> {
    array(node, "deps").filter(|edge| is_shipped(edge)).map(|edge| text(edge, "pkg"))
}

fn is_shipped(edge: &Value) -> bool {
    array(edge, "dep_kinds").any(|kind| kind["kind"] != "dev")
}

fn array<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn strings(value: &Value, key: &str) -> BTreeSet<String> {
    array(value, key).filter_map(Value::as_str).map(str::to_owned).collect()
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_ships_is_what_is_reached_without_development_dependencies() {
        let edge = |to: &str, kind: &str| json!({"pkg": to, "dep_kinds": [{"kind": kind}]});
        let metadata = json!({
            "workspace_root": "/r", "target_directory": "/r/target",
            "workspace_members": ["n", "t"],
            "packages": [
                {"id": "n", "name": "nsntrace"}, {"id": "t", "name": "testkit"},
                {"id": "a", "name": "a"}, {"id": "b", "name": "b", "links": "b"},
            ],
            "resolve": {"nodes": [
                {"id": "n", "deps": [edge("a", "normal"), edge("t", "dev")]},
                {"id": "a", "deps": [edge("b", "build"), edge("n", "normal")]},
            ]},
        });
        let workspace = Workspace::parse(&metadata).unwrap();
        let names = |packages: &[Package]| packages.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&workspace.shipped), ["a", "b", "nsntrace"]);
        assert_eq!(names(&workspace.members), ["nsntrace", "testkit"]);
        assert_eq!(workspace.shipped[1].links.as_deref(), Some("b"));
    }

    #[test]
    fn our_own_workspace_is_understood() {
        let workspace = Workspace::load().unwrap();
        assert_eq!(workspace.product().unwrap().name, "nsntrace");
        let private = workspace.members.iter().filter(|one| !one.is_published).map(|one| one.name.as_str());
        assert_eq!(private.collect::<Vec<_>>(), ["nsntrace-testkit", "nsntrace-tests", "xtask"]);
        let root = workspace.members.iter().find(|one| one.name == "xtask").unwrap();
        assert!(root.roots[0].ends_with("xtask/src/main.rs"));
        assert!(root.dependencies.iter().any(|one| one.name == "syn" && !one.is_dev));
    }
}
