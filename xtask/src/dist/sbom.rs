//! A list of what is in a binary, as CycloneDX 1.5 in JSON, made from what cargo says. It has no time and no random number: the same
//! sources give the same list.
//!
//! # References
//! CycloneDX v1.5 JSON Reference; the package URL of `cargo` in the purl specification.

use serde_json::{Value, json};

use crate::process::Result;
use crate::workspace::{Package, Workspace};

/// The document.
///
/// # Errors
/// The workspace has no product.
pub(super) fn document(workspace: &Workspace) -> Result<String> {
    let product = workspace.product()?;
    let others: Vec<_> = workspace.shipped.iter().filter(|package| package.name != product.name).collect();
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": component(product, "application"),
            "tools": { "components": [{ "type": "application", "name": "xtask" }] },
        },
        "components": others.iter().map(|package| component(package, "library")).collect::<Vec<_>>(),
        "dependencies": workspace.shipped.iter().map(|package| edges(package, workspace)).collect::<Vec<_>>(),
    });
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn component(package: &Package, kind: &str) -> Value {
    json!({
        "type": kind,
        "bom-ref": url(package),
        "name": package.name,
        "version": package.version,
        "licenses": [{ "expression": package.license.replace('/', " OR ") }],
        "purl": url(package),
    })
}

/// What a package needs of what is shipped.
fn edges(package: &Package, workspace: &Workspace) -> Value {
    let urls: Vec<_> =
        workspace.shipped.iter().filter(|other| package.needs.contains(&other.id)).map(url).collect();
    json!({ "ref": url(package), "dependsOn": urls })
}

fn url(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_shipped_is_listed_once_with_its_licence_and_what_it_needs() {
        let workspace = Workspace::load().unwrap();
        let document: Value = serde_json::from_str(&document(&workspace).unwrap()).unwrap();
        let components = document["components"].as_array().unwrap();
        assert_eq!(components.len() + 1, workspace.shipped.len());
        let find = |name: &str| components.iter().find(|one| one["name"] == name).unwrap();
        assert_eq!(find("libc")["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert!(components.iter().all(|one| one["licenses"][0]["expression"] != ""), "{components:#?}");
        let edges = document["dependencies"].as_array().unwrap();
        let of_thiserror = edges.iter().find(|edge| edge["ref"].as_str().unwrap().contains("/thiserror@"));
        assert!(of_thiserror.unwrap()["dependsOn"][0].as_str().unwrap().contains("thiserror-impl"));
        let refs: Vec<_> = edges.iter().flat_map(|edge| edge["dependsOn"].as_array().unwrap()).collect();
        assert!(
            refs.iter().all(|one| edges.iter().any(|edge| edge["ref"] == **one)),
            "an edge leads nowhere"
        );
    }
}
