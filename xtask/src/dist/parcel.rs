//! The archive of a target: the binary with its manual, completions, licences and list of parts. Packed twice, it has the same bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{self, Result};
use crate::workspace::{PRODUCT, Package, Workspace};
use crate::{completions, manual, options};

use super::sbom;

/// Packs `binary` into `PRODUCT-VERSION-TRIPLE.tar.gz` beside it, and returns its path.
///
/// # Errors
/// A file cannot be read or written, a package has no licence text, or tar fails.
pub(super) fn pack(workspace: &Workspace, binary: &Path, triple: &str) -> Result<PathBuf> {
    let folder = binary.parent().ok_or("the binary is in no folder")?;
    let name = name(workspace, triple)?;
    let tree = tree(workspace, folder, triple)?;
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    put(&tree.join(PRODUCT), &fs::read(binary)?)?;
    fs::set_permissions(tree.join(PRODUCT), fs::metadata(binary)?.permissions())?;
    put(&tree.join("README.md"), &fs::read(workspace.root.join("README.md"))?)?;
    put(&tree.join("sbom.cdx.json"), sbom::document(workspace)?.as_bytes())?;
    put_manual(&tree, workspace)?;
    put_licences(&tree.join("licences"), workspace)?;
    let archive = folder.join(format!("{name}.tar.gz"));
    process::run(&mut tar(&archive, &folder.join("trees"), &name))?;
    Ok(archive)
}

/// What is packed, below the folder of the archive.
pub(super) fn tree(workspace: &Workspace, folder: &Path, triple: &str) -> Result<PathBuf> {
    Ok(folder.join("trees").join(name(workspace, triple)?))
}

fn name(workspace: &Workspace, triple: &str) -> Result<String> {
    Ok(format!("{PRODUCT}-{}-{triple}", workspace.product()?.version))
}

fn put_manual(tree: &Path, workspace: &Workspace) -> Result {
    let flags = options::load(workspace)?;
    put(&tree.join("man/man1").join(manual::NAME), manual::page(&flags).as_bytes())?;
    for script in completions::scripts(&flags) {
        put(&tree.join("completions").join(script.name), script.text.as_bytes())?;
    }
    Ok(())
}

/// The texts that each package comes with; ours are the workspace's.
fn put_licences(folder: &Path, workspace: &Workspace) -> Result {
    let ours: Vec<_> = workspace.members.iter().map(|member| &member.name).collect();
    put_texts(&folder.join(PRODUCT), &workspace.root)?;
    for package in workspace.shipped.iter().filter(|package| !ours.contains(&&package.name)) {
        let target = folder.join(format!("{}-{}", package.name, package.version));
        put_texts(&target, home(package)?)
            .map_err(|error| format!("{} {}: {error}", package.name, package.version))?;
    }
    Ok(())
}

/// A package of many that are kept together may leave its texts to the others; then its licence is named.
fn put_texts(target: &Path, source: &Path) -> Result {
    let mut names: Vec<_> =
        fs::read_dir(source)?.map(|entry| Ok(entry?.file_name())).collect::<Result<_>>()?;
    names.retain(|name| is_licence(&name.to_string_lossy()) && source.join(name).is_file());
    for name in &names {
        put(&target.join(name), &fs::read(source.join(name))?)?;
    }
    if names.is_empty() {
        let manifest = fs::read_to_string(source.join("Cargo.toml"))?;
        let line =
            manifest.lines().find(|line| line.starts_with("license = ")).ok_or("it names no licence")?;
        put(&target.join("LICENSE"), format!("{line}\n").as_bytes())?;
    }
    Ok(())
}

fn is_licence(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"]
        .iter()
        .any(|start| name.starts_with(start))
}

fn home(package: &Package) -> Result<&Path> {
    Ok(package.manifest.parent().ok_or("a manifest is in no folder")?)
}

fn put(path: &Path, bytes: &[u8]) -> Result {
    fs::create_dir_all(path.parent().ok_or("a file is in no folder")?)?;
    fs::write(path, bytes).map_err(|error| format!("cannot write {}: {error}", path.display()).into())
}

/// Nothing of this machine or of now is in it: not the time, the user, the mask, or the order of folders.
fn tar(archive: &Path, folder: &Path, name: &str) -> Command {
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--format=ustar"]);
    tar.args(["--mode=u=rwX,go=rX", "--use-compress-program=gzip -9n"]);
    tar.arg("--create").arg("--file").arg(archive).arg("--directory").arg(folder).arg(name);
    tar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parcel_has_everything_and_the_same_bytes_again() {
        let workspace = Workspace::load().unwrap();
        let folder = std::env::temp_dir().join(format!("nsntrace-parcel-{}", std::process::id()));
        let pack = |part: &str| {
            let binary = folder.join(part).join("binary");
            put(&binary, b"\x7fELF").unwrap();
            fs::read(super::pack(&workspace, &binary, "none").unwrap()).unwrap()
        };
        let first = pack("one");
        let archives = folder.join("one");
        let listing = process::output(
            Command::new("tar").arg("-tzf").arg(
                fs::read_dir(&archives)
                    .unwrap()
                    .find_map(|entry| {
                        Some(entry.unwrap().path())
                            .filter(|path| path.extension().is_some_and(|end| end == "gz"))
                    })
                    .unwrap(),
            ),
        )
        .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let second = pack("two");
        fs::remove_dir_all(&folder).unwrap();
        assert!(first == second, "packed twice, it differs");
        for name in [
            "/nsntrace\n",
            "man1/nsntrace.1",
            "_nsntrace",
            "nsntrace.elv",
            "sbom.cdx.json",
            "licences/nsntrace/LICENSE-MIT",
        ] {
            assert!(listing.contains(name), "{name} is not in\n{listing}");
        }
        for package in &workspace.shipped {
            let is_named = listing.contains(&format!("licences/{}-{}/", package.name, package.version));
            assert!(is_named || package.name.starts_with(PRODUCT), "{}", package.name);
        }
    }

    #[test]
    fn licence_texts_are_known_by_their_names() {
        assert!(is_licence("LICENSE-MIT") && is_licence("license.txt") && is_licence("COPYING"));
        assert!(!is_licence("README.md") && !is_licence("src"));
    }
}
