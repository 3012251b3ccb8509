//! `tidy`: the rules of the house that clippy does not know. All findings are printed, then the task fails.

mod crates;
mod finding;
mod markdown;
mod source;
mod tokens;
mod tree;

use crate::process::Result;
use crate::workspace::{Workspace, read};
use finding::Finding;
use source::Source;

/// Prints every finding as `file:line: rule: text`.
pub(crate) fn run() -> Result {
    let workspace = Workspace::load()?;
    let findings = findings(&workspace)?;
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        count => Err(format!("tidy: {count} findings").into()),
    }
}

fn findings(workspace: &Workspace) -> Result<Vec<Finding>> {
    let mut findings = crates::check(workspace);
    for path in tree::files(&workspace.root, "rs")? {
        let text = read(&workspace.root, &path)?;
        let absolute = workspace.root.join(&path);
        let is_root = workspace.members.iter().any(|package| package.roots.contains(&absolute));
        findings.extend(source::check(&Source::new(&path, &text, is_root)));
    }
    for path in tree::files(&workspace.root, "md")? {
        findings.extend(markdown::check_links(&workspace.root, &path, &read(&workspace.root, &path)?));
    }
    findings.extend(markdown::check_decisions(&workspace.root)?);
    findings.sort();
    Ok(findings)
}
