//! The files of the repository, build products aside.

use std::fs;
use std::path::Path;

use crate::process::Result;

/// Every file whose name ends in `.extension`, relative to `root`, sorted.
pub(crate) fn files(root: &Path, extension: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut open = vec![String::new()];
    while let Some(folder) = open.pop() {
        let entries =
            fs::read_dir(root.join(&folder)).map_err(|error| format!("cannot list {folder}: {error}"))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            if entry.file_type()?.is_dir() {
                open.extend((!SKIPPED.contains(&name.as_str())).then_some(path));
            } else if Path::new(&name).extension().is_some_and(|end| end == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

const SKIPPED: [&str; 2] = [".git", "target"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_files_are_found_and_build_products_are_not() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the workspace");
        let files = files(root, "rs").unwrap();
        assert!(files.contains(&"xtask/src/tidy/tree.rs".to_owned()));
        assert!(!files.iter().any(|path| path.split('/').any(|part| part == "target")));
        assert!(files.is_sorted());
    }
}
