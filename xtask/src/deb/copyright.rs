//! What a Debian package says of licences: ours, and those of everything that is linked into the binary.
//!
//! # References
//! Debian Policy, 12.5 "Copyright information".

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::process::Result;
use crate::workspace::{PRODUCT, Workspace};

/// The file, made of the folder of licences that `dist` packs: one folder per package.
///
/// # Errors
/// A text cannot be read.
pub(super) fn text(workspace: &Workspace, licences: &Path) -> Result<String> {
    let mut text = HEAD.to_owned();
    for package in workspace.shipped.iter().filter(|package| !package.name.starts_with(PRODUCT)) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {} {}: {}", package.name, package.version, package.license);
    }
    for (words, mut names) in texts(licences)? {
        names.sort();
        let _ = write!(text, "\n{}\n{}:\n\n{words}\n", "-".repeat(72), names.join(", "));
    }
    Ok(text)
}

/// Each text once, with the packages that come with it. Debian has Apache's for all packages together.
fn texts(licences: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    let mut texts: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for package in fs::read_dir(licences)? {
        let package = package?;
        for file in fs::read_dir(package.path())? {
            let words = fs::read_to_string(file?.path())?;
            let name = package.file_name().to_string_lossy().into_owned();
            if !is_apache(&words) {
                texts.entry(words.trim().to_owned()).or_default().push(name);
            }
        }
    }
    Ok(texts)
}

fn is_apache(words: &str) -> bool {
    words.contains("Apache License") && words.contains("Version 2.0, January 2004")
}

const HEAD: &str = "\
nsntrace is Copyright of the people who wrote it, and under MIT OR Apache-2.0, at your choice.

The text of Apache-2.0 is in /usr/share/common-licenses/Apache-2.0, for nsntrace
and for whatever is named with it below. The other texts follow.

The binary is static. Linked into it, or run to build it, are, under:

";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_there_once_and_apache_s_is_left_to_debian() {
        let folder = std::env::temp_dir().join(format!("nsntrace-copyright-{}", std::process::id()));
        for (name, words) in [
            ("a-1/LICENSE", "one\n"),
            ("b-1/LICENSE-MIT", "\none"),
            ("b-1/LICENSE-APACHE", "  Apache License\n Version 2.0, January 2004\n"),
            ("c-1/COPYING", "two"),
        ] {
            fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
            fs::write(folder.join(name), words).unwrap();
        }
        let text = text(&Workspace::load().unwrap(), &folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(text.matches("\none\n").count(), 1, "{text}");
        assert!(text.contains("\na-1, b-1:\n\none\n") && text.ends_with("\nc-1:\n\ntwo\n"), "{text}");
        assert!(!text.contains("January 2004"), "{text}");
        assert!(text.contains("\n  neli 0.7"), "{text}");
    }
}
