//! That a binary is the same wherever it is made: the sources are copied to another folder and built there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{self, Result};
use crate::workspace::{PRODUCT, Workspace};

/// Builds once more by `build`, which is told the folder of the sources and that of what is built, and compares with `first`.
///
/// # Errors
/// It cannot be built, or has other bytes.
pub(super) fn check(
    workspace: &Workspace,
    first: &Path,
    build: impl Fn(&Path, &Path) -> Command,
    triple: &str,
) -> Result {
    let folder = Scratch(std::env::temp_dir().join(format!("nsntrace-twice-{}", std::process::id())));
    let (sources, built) = (folder.0.join("a/longer/way/down"), folder.0.join("built"));
    copy(&workspace.root, &workspace.target, &sources)?;
    process::run(&mut build(&sources, &built))?;
    let second = fs::read(built.join(triple).join("release").join(PRODUCT))?;
    compare(&fs::read(first)?, &second)?;
    println!("{triple}: built in another folder, it has the same {} bytes", second.len());
    Ok(())
}

fn compare(first: &[u8], second: &[u8]) -> Result {
    let differs = first.iter().zip(second).position(|(one, other)| one != other);
    match differs {
        Some(offset) => Err(format!("built in another folder, it differs from byte {offset} on").into()),
        None if first.len() != second.len() => {
            Err(format!("built in another folder, it has {} bytes, not {}", second.len(), first.len()).into())
        }
        None => Ok(()),
    }
}

/// All but what was built, and the history.
fn copy(root: &Path, target: &Path, to: &Path) -> Result {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if path == target || path.ends_with(".git") || path.ends_with("target") {
            continue;
        }
        process::run(Command::new("cp").arg("-R").arg(&path).arg(to))?;
    }
    Ok(())
}

/// A folder that ends with this value.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is in the folder for such things, and nobody is left to tell.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_other_byte_is_a_difference() {
        assert!(compare(b"abc", b"abc").is_ok());
        assert!(compare(b"abc", b"abd").unwrap_err().to_string().contains("byte 2"));
        assert!(compare(b"abc", b"ab").unwrap_err().to_string().contains("has 2 bytes, not 3"));
    }
}
