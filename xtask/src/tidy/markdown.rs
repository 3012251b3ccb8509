//! Rules for documents: links that lead somewhere, and decisions that can be found.

use std::fs;
use std::path::Path;

use super::finding::Finding;
use crate::process::Result;

/// Rule `link`: a relative link names a file or folder that exists.
pub(crate) fn check_links(root: &Path, path: &str, text: &str) -> Vec<Finding> {
    let folder = root.join(path).parent().map(Path::to_owned).unwrap_or_default();
    let dead = links(text).filter(|(_, target)| is_local(target) && !folder.join(file_of(target)).exists());
    dead.map(|(line, target)| Finding {
        path: path.to_owned(),
        line,
        rule: "link",
        text: format!("`{target}` does not exist"),
    })
    .collect()
}

/// Rule `decision`: each record is linked from the list of them.
pub(crate) fn check_decisions(root: &Path) -> Result<Vec<Finding>> {
    let Ok(entries) = fs::read_dir(root.join(DECISIONS)) else { return Ok(Vec::new()) };
    let list = fs::read_to_string(root.join(DECISIONS).join("README.md")).unwrap_or_default();
    let listed: Vec<_> = links(&list).map(|(_, target)| file_of(target)).collect();
    let mut findings = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let is_record = Path::new(&name).extension().is_some_and(|end| end == "md") && name != "README.md";
        if is_record && !listed.contains(&name.as_str()) {
            let text = format!("not listed in {DECISIONS}/README.md");
            findings.push(Finding { path: format!("{DECISIONS}/{name}"), line: 1, rule: "decision", text });
        }
    }
    Ok(findings)
}

const DECISIONS: &str = "docs/decisions";

/// Line (from 1) and target of each link outside code: `[text](target)` and `[name]: target`.
fn links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    let lines = text.lines().enumerate().filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    });
    lines.flat_map(|(index, line)| links_of_line(line).map(move |target| (index + 1, target)))
}

fn links_of_line(line: &str) -> impl Iterator<Item = &str> {
    let definition = line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target);
    // What is between backticks is every other piece.
    let prose = line.split('`').step_by(2);
    let inline = prose.flat_map(|piece| piece.split("](").skip(1)).filter_map(|rest| rest.split(')').next());
    inline.chain(definition).filter_map(|target| target.split_whitespace().next())
}

fn is_local(target: &str) -> bool {
    !target.starts_with('#') && !target.contains("://") && !target.starts_with("mailto:")
}

fn file_of(target: &str) -> &str {
    target.split('#').next().unwrap_or(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str, files: &[(&str, &str)]) -> std::path::PathBuf {
        let root = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("it has one")).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn dead_links_are_found() {
        let root = folder("links", &[("docs/a.md", ""), ("README.md", "")]);
        let text = "[a](a.md) [b](b.md) [up](../README.md#top) [web](https://x.invalid/b.md) [here](#b)\n\
                    ```\n[code](c.md)\n```\n`[code](d.md)` [e](e.md \"title\") [`f`](f.md)\n\n[g]: g.md\n[h]: a.md\n";
        let findings = check_links(&root, "docs/x.md", text);
        let found: Vec<_> = findings.iter().map(|one| format!("{}: {}", one.line, one.text)).collect();
        fs::remove_dir_all(root).unwrap();
        let expected = ["1: `b.md`", "5: `e.md`", "5: `f.md`", "7: `g.md`"];
        assert_eq!(found, expected.map(|start| format!("{start} does not exist")));
    }

    #[test]
    fn each_decision_is_listed() {
        let list = "- [one](0001-one.md)\n- 0002-two.md\n";
        let files = [("README.md", list), ("0001-one.md", ""), ("0002-two.md", ""), ("picture.svg", "")]
            .map(|(name, text)| (format!("docs/decisions/{name}"), text));
        let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), *text)).collect();
        let root = folder("decisions", &files);
        let findings = check_decisions(&root).unwrap();
        fs::remove_dir_all(root).unwrap();
        let found: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["docs/decisions/0002-two.md:1: decision: not listed in docs/decisions/README.md"]);
    }
}
