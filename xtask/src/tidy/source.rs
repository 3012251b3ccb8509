//! Rules for one file of Rust.

use std::ops::RangeInclusive;
use std::path::Path;

use proc_macro2::{LineColumn, TokenStream};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Attribute, Block, File, Item, ReturnType, Signature, Type, Visibility};

use super::finding::Finding;
use super::tokens::{self, Unsafe};

/// One file, and what may be in it.
pub(crate) struct Source<'a> {
    path: &'a str,
    text: &'a str,
    is_crate_root: bool,
    is_test: bool,
    may_be_unsafe: bool,
}

impl<'a> Source<'a> {
    /// `path` is relative to the repository; `is_crate_root` says that a crate begins with it.
    pub(crate) fn new(path: &'a str, text: &'a str, is_crate_root: bool) -> Self {
        let stem = Path::new(path).with_extension("");
        Self {
            path,
            text,
            is_crate_root,
            is_test: stem.iter().any(|part| part == "tests"),
            may_be_unsafe: UNSAFE.iter().any(|prefix| path.starts_with(prefix)),
        }
    }

    /// Part of a binary that people get.
    fn is_shipped(&self) -> bool {
        self.path.starts_with("crates/") && !self.path.starts_with("crates/testkit/") && !self.is_test
    }

    fn finding(&self, line: usize, rule: &'static str, text: impl Into<String>) -> Finding {
        Finding { path: self.path.to_owned(), line, rule, text: text.into() }
    }
}

/// Where `unsafe` may be: our one crate for it, and tests that call a C library to compare with.
const UNSAFE: &[&str] = &["crates/sys/", "tests/oracles/"];
/// From `fn` to the closing brace.
const MAX_FUNCTION_LINES: usize = 70;
/// Without tests.
const MAX_FILE_LINES: usize = 500;
/// Left in comments by who meant to come back. Put together, so as not to be found here.
const LATER: [&str; 2] = [concat!("FIX", "ME"), concat!("TO", "DO")];

/// Every rule for one file.
pub(crate) fn check(source: &Source<'_>) -> Vec<Finding> {
    let (file, stream) = match (syn::parse_file(source.text), source.text.parse::<TokenStream>()) {
        (Ok(file), Ok(stream)) => (file, stream),
        (Err(error), _) => {
            return vec![source.finding(error.span().start().line, "syntax", error.to_string())];
        }
        (_, Err(error)) => return vec![source.finding(1, "syntax", error.to_string())],
    };
    let mut items = Items::default();
    items.visit_file(&file);
    let rules = [
        check_header(source),
        check_forbid(source, &file),
        check_functions(source, &items),
        check_length(source, &items),
        check_words(source, &items, stream),
        check_later(source),
        check_debug(source, &items),
    ];
    rules.into_iter().flatten().collect()
}

fn check_header(source: &Source<'_>) -> Vec<Finding> {
    let opens = source.text.starts_with("//!");
    Vec::from_iter((!opens).then(|| source.finding(1, "header", "a file opens with `//!` and what it is")))
}

fn check_forbid(source: &Source<'_>, file: &File) -> Vec<Finding> {
    let forbids = file.attrs.iter().any(|attribute| {
        attribute.path().is_ident("forbid")
            && attribute.parse_args::<syn::Path>().is_ok_and(|lint| lint.is_ident("unsafe_code"))
    });
    let is_needed = source.is_crate_root && !source.may_be_unsafe;
    let missing = is_needed && !forbids;
    Vec::from_iter(missing.then(|| source.finding(1, "forbid", "a crate says `#![forbid(unsafe_code)]`")))
}

fn check_functions(source: &Source<'_>, items: &Items) -> Vec<Finding> {
    if source.is_test {
        return Vec::new();
    }
    let long = items.functions.iter().filter(|function| function.line_count > MAX_FUNCTION_LINES);
    let long = long.map(|function| {
        let text =
            format!("`{}` has {} lines, more than {MAX_FUNCTION_LINES}", function.name, function.line_count);
        source.finding(function.line, "long-function", text)
    });
    let silent = items.functions.iter().filter(|function| function.hides_errors);
    let silent = silent.map(|function| {
        let text = format!("`{}` returns a Result without `# Errors`", function.name);
        source.finding(function.line, "errors-doc", text)
    });
    long.chain(silent).collect()
}

fn check_length(source: &Source<'_>, items: &Items) -> Vec<Finding> {
    let in_tests: usize = items.tests.iter().map(|lines| lines.clone().count()).sum();
    let count = source.text.lines().count() - in_tests;
    let is_long = !source.is_test && count > MAX_FILE_LINES;
    let text = format!("{count} lines without tests, more than {MAX_FILE_LINES}");
    Vec::from_iter(is_long.then(|| source.finding(1, "long-file", text)))
}

fn check_words(source: &Source<'_>, items: &Items, stream: TokenStream) -> Vec<Finding> {
    let lines: Vec<_> = source.text.lines().collect();
    let mut findings = Vec::new();
    tokens::walk(stream, &mut |trees| {
        let line = tokens::line(&trees[0]);
        match tokens::unsafe_at(trees) {
            Some(_) if !source.may_be_unsafe => {
                findings.push(source.finding(line, "unsafe", "`unsafe` outside crates/sys"));
            }
            Some(Unsafe::Claim) if !has_safety_comment(&lines, line) => {
                findings.push(source.finding(line, "safety", "`unsafe` without a `// SAFETY:` above it"));
            }
            _ => {}
        }
        if tokens::is_unwrap(trees) && !source.is_test && !items.is_in_test(line) {
            findings.push(source.finding(line, "unwrap", "`unwrap()` outside tests"));
        }
        findings.extend(
            tokens::undone_at(trees)
                .map(|word| source.finding(line, "undone", format!("`{word}` leaves something undone"))),
        );
    });
    findings
}

fn check_later(source: &Source<'_>) -> Vec<Finding> {
    let lines = source.text.lines().enumerate();
    let found = lines.filter_map(|(index, line)| {
        let word = LATER.into_iter().find(|word| line.contains(word))?;
        Some(source.finding(index + 1, "undone", format!("`{word}` leaves something undone")))
    });
    found.collect()
}

/// The binaries of `dist` have nothing that `Debug` could print (`-Zfmt-debug=none`).
fn check_debug(source: &Source<'_>, items: &Items) -> Vec<Finding> {
    let lines = source.text.lines().enumerate().map(|(index, line)| (index + 1, line));
    let found = lines.filter(|(number, line)| {
        let is_ours = source.is_shipped() && !items.is_in_test(*number);
        is_ours && [":?}", ":#?}"].iter().any(|sign| line.contains(sign))
    });
    found.map(|(number, _)| source.finding(number, "debug", "`{:?}` is empty in what is shipped")).collect()
}

/// Whether the comment above the statement that line `line` (from 1) is part of, or the line itself, says SAFETY.
fn has_safety_comment(lines: &[&str], line: usize) -> bool {
    let is_start = |text: &str| text.is_empty() || text.ends_with([';', '{', '}', ',']);
    let mut above = lines[..line - 1].iter().rev().map(|text| text.trim()).peekable();
    // The rest of the statement, which has no comment between its lines.
    while above.next_if(|text| !text.starts_with("//") && !is_start(text)).is_some() {}
    let mut comment = above.take_while(|text| text.starts_with("//"));
    lines[line - 1].contains("// SAFETY:") || comment.any(|text| text.starts_with("// SAFETY:"))
}

/// A function, as far as rules need to know it.
struct Function {
    name: String,
    line: usize,
    line_count: usize,
    hides_errors: bool,
}

/// The functions of a file outside its tests, and the lines of its tests.
#[derive(Default)]
struct Items {
    functions: Vec<Function>,
    tests: Vec<RangeInclusive<usize>>,
    is_in_public_trait: bool,
}

impl Items {
    fn is_in_test(&self, line: usize) -> bool {
        self.tests.iter().any(|lines| lines.contains(&line))
    }

    fn push(
        &mut self,
        signature: &Signature,
        is_public: bool,
        attributes: &[Attribute],
        body: Option<&Block>,
    ) {
        let LineColumn { line, .. } = signature.fn_token.span.start();
        let end = body.map_or(line, |block| block.brace_token.span.close().end().line);
        self.functions.push(Function {
            name: signature.ident.to_string(),
            line,
            line_count: end - line + 1,
            hides_errors: is_public && returns_result(signature) && !documents_errors(attributes),
        });
    }
}

impl<'ast> Visit<'ast> for Items {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = attributes(item);
        if !attributes.iter().any(is_test_attribute) {
            return visit::visit_item(self, item);
        }
        let first = attributes.iter().map(|attribute| attribute.span().start().line).min();
        let span = item.span();
        self.tests.push(first.unwrap_or_else(|| span.start().line)..=span.end().line);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.push(&item.sig, is_public(&item.vis), &item.attrs, Some(&item.block));
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.push(&item.sig, is_public(&item.vis), &item.attrs, Some(&item.block));
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.is_in_public_trait = is_public(&item.vis);
        visit::visit_item_trait(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.push(&item.sig, self.is_in_public_trait, &item.attrs, item.default.as_ref());
        visit::visit_trait_item_fn(self, item);
    }
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn returns_result(signature: &Signature) -> bool {
    let ReturnType::Type(_, kind) = &signature.output else { return false };
    let Type::Path(path) = &**kind else { return false };
    path.path.segments.last().is_some_and(|last| last.ident == "Result")
}

fn documents_errors(attributes: &[Attribute]) -> bool {
    attributes.iter().filter_map(doc_text).any(|text| text.trim() == "# Errors")
}

fn doc_text(attribute: &Attribute) -> Option<String> {
    let named = attribute.meta.require_name_value().ok().filter(|meta| meta.path.is_ident("doc"))?;
    match &named.value {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    }
}

/// `#[test]`, or a `#[cfg(..)]` that holds in tests only.
fn is_test_attribute(attribute: &Attribute) -> bool {
    let is_cfg_test = || {
        let words = attribute.meta.require_list().map(|list| list.tokens.to_string()).unwrap_or_default();
        let mut words = words.split(|sign: char| !sign.is_alphanumeric() && sign != '_');
        words.clone().any(|word| word == "test") && !words.any(|word| word == "not")
    };
    attribute.path().is_ident("test") || (attribute.path().is_ident("cfg") && is_cfg_test())
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `text` after a header, so from line 2 on, in a plain file of a crate.
    #[track_caller]
    fn check_text(text: &str, expected: &[&str]) {
        check_file("crates/link/src/a.rs", false, &format!("//! A file.\n{text}"), expected);
    }

    /// Expected findings are `line: rule`.
    #[track_caller]
    fn check_file(path: &str, is_crate_root: bool, text: &str, expected: &[&str]) {
        let mut findings = check(&Source::new(path, text, is_crate_root));
        findings.sort();
        let found: Vec<_> = findings.iter().map(|one| format!("{}: {}", one.line, one.rule)).collect();
        assert_eq!(found, expected, "{findings:?}");
    }

    #[test]
    fn a_good_file_has_no_findings() {
        check_text("fn f() {}\n", &[]);
    }

    #[test]
    fn a_file_opens_with_what_it_is() {
        check_file("crates/link/src/a.rs", false, "fn f() {}\n", &["1: header"]);
        check_file("crates/link/src/a.rs", false, "\n//! Late.\n", &["1: header"]);
    }

    #[test]
    fn nothing_is_shipped_that_debug_would_print() {
        let text = "fn f() { g(\"{x:?}\") }\nfn h() { g(\"{:#?}\") }\n";
        check_text(text, &["2: debug", "3: debug"]);
        check_text(&format!("#[cfg(test)]\nmod tests {{\n{text}}}\n"), &[]);
        check_file("crates/testkit/src/a.rs", false, &format!("//! T.\n{text}"), &[]);
    }

    #[test]
    fn what_cannot_be_parsed_is_said() {
        check_text("fn f( {}\n", &["2: syntax"]);
    }

    #[test]
    fn functions_have_70_lines_at_most() {
        check_text(&function("f", 70), &[]);
        check_text(&function("f", 71), &["2: long-function"]);
        check_text(&format!("struct S;\nimpl S {{\n{}}}\n", function("f", 71)), &["4: long-function"]);
        check_text(&format!("trait T {{\n{}}}\n", function("f", 71)), &["3: long-function"]);
        check_text(&format!("mod m {{\n{}}}\n", function("f", 71)), &["3: long-function"]);
    }

    #[test]
    fn tests_may_be_long() {
        check_text(&format!("#[test]\n{}", function("f", 90)), &[]);
        check_text(&format!("#[cfg(test)]\nmod tests {{\n{}}}\n", function("f", 90)), &[]);
        check_text(&format!("#[cfg(not(test))]\n{}", function("f", 90)), &["3: long-function"]);
        check_file("crates/link/tests/a.rs", false, &format!("//! T.\n{}", function("f", 90)), &[]);
        check_file("crates/link/src/a/tests.rs", false, &format!("//! T.\n{}", function("f", 90)), &[]);
    }

    #[test]
    fn files_have_500_lines_at_most() {
        let comments = "// x\n".repeat(499);
        check_text(&comments, &[]);
        check_text(&format!("{comments}fn f() {{}}\n"), &["1: long-file"]);
        check_text(&format!("{comments}#[cfg(test)]\nmod tests {{\n\n}}\n"), &[]);
        check_file("tests/src/lib.rs", false, &format!("//! T.\n{comments}{comments}"), &[]);
    }

    #[test]
    fn unsafe_is_in_sys_only() {
        check_text("fn f() { unsafe { g() } }\n", &["2: unsafe"]);
        check_text("unsafe fn f() {}\n", &["2: unsafe"]);
        check_text("#[unsafe(no_mangle)]\nfn f() {}\n", &["2: unsafe"]);
        check_text("macro_rules! m { () => { unsafe { g() } } }\n", &["2: unsafe"]);
        check_text("const S: &str = \"unsafe { }\"; // unsafe { }\n", &[]);
        let text = "//! T.\nfn f() {\n    // SAFETY: g has no conditions.\n    unsafe { g() }\n}\n";
        check_file("crates/link/tests/a.rs", false, text, &["4: unsafe"]);
        check_file("crates/sys/src/a.rs", false, text, &[]);
        check_file("tests/oracles/src/lib.rs", true, text, &[]);
    }

    #[track_caller]
    fn check_sys(text: &str, expected: &[&str]) {
        check_file("crates/sys/src/a.rs", false, &format!("//! A file.\n{text}"), expected);
    }

    #[test]
    fn each_unsafe_block_says_why_it_is_safe() {
        check_sys("fn f() {\n    unsafe { g() }\n}\n", &["3: safety"]);
        check_sys(
            "fn f() {\n    // It is fine.\n    unsafe { g() }\n}\n",
            &["3: safety"].map(|_| "4: safety"),
        );
        check_sys("// SAFETY: said too early.\nfn f() {\n    unsafe { g() }\n}\n", &["4: safety"]);
        check_sys(
            "fn f() {\n    // SAFETY: one\n    // two.\n    let x =\n        unsafe { g() };\n}\n",
            &[],
        );
        check_sys(
            "fn f() {\n    // SAFETY: of g.\n    unsafe { g() };\n    unsafe { h() }\n}\n",
            &["5: safety"],
        );
        check_sys("unsafe impl Send for S {}\n", &["2: safety"]);
        check_sys("// SAFETY: S owns it.\nunsafe impl Send for S {}\n", &[]);
        check_sys("unsafe fn f() {}\n", &[]);
    }

    #[test]
    fn crates_forbid_unsafe_code() {
        check_file("crates/link/src/lib.rs", true, "//! L.\n", &["1: forbid"]);
        check_file("crates/link/src/lib.rs", true, "//! L.\n#![deny(unsafe_code)]\n", &["1: forbid"]);
        check_file("crates/link/src/lib.rs", true, "//! L.\n#![forbid(unsafe_code)]\n", &[]);
        check_file("crates/link/tests/a.rs", true, "//! L.\n", &["1: forbid"]);
        check_file("crates/sys/src/lib.rs", true, "//! S.\n", &[]);
    }

    #[test]
    fn a_public_result_documents_its_errors() {
        check_text("pub fn f() -> Result<(), E> { g() }\n", &["2: errors-doc"]);
        check_text("pub fn f() -> io::Result<()> { g() }\n", &["2: errors-doc"]);
        check_text("/// Does.\n///\n/// # Errors\n/// Never.\npub fn f() -> io::Result<()> { g() }\n", &[]);
        check_text("pub(crate) fn f() -> Result<(), E> { g() }\n", &[]);
        check_text("pub fn f() -> Option<()> { g() }\n", &[]);
        check_text("impl S {\n    pub fn f() -> Result<(), E> { g() }\n}\n", &["3: errors-doc"]);
        check_text("pub trait T {\n    fn f() -> Result<(), E>;\n}\n", &["3: errors-doc"]);
        check_text("trait T {\n    fn f() -> Result<(), E>;\n}\n", &[]);
    }

    #[test]
    fn unwrap_is_for_tests() {
        check_text("fn f() { g().unwrap(); }\n", &["2: unwrap"]);
        check_text("fn f() { h!(g().unwrap()); }\n", &["2: unwrap"]);
        check_text("fn f() { g().unwrap_or(1); }\n", &[]);
        check_text("/// ```\n/// g().unwrap();\n/// ```\nfn f() {}\n", &[]);
        check_text("#[cfg(test)]\nmod tests {\n    fn f() { g().unwrap(); }\n}\n", &[]);
        check_file("crates/link/tests/a.rs", false, "//! T.\nfn f() { g().unwrap(); }\n", &[]);
    }

    #[test]
    fn nothing_is_left_undone() {
        check_text("fn f() { todo!() }\n", &["2: undone"]);
        check_text("fn f() { unimplemented!(\"later\") }\n", &["2: undone"]);
        check_text("#[test]\n#[ignore = \"slow\"]\nfn f() {}\n", &["3: undone"]);
        check_text("#[test]\n#[ignore]\nfn f() {}\n", &["3: undone"]);
        check_text("fn f() { g(\"todo!()\") } // not todo!\n", &[]);
        for word in LATER {
            check_text(&format!("// {word}: later\n"), &["2: undone"]);
        }
    }

    fn function(name: &str, line_count: usize) -> String {
        format!("fn {name}() {{\n{}}}\n", "    g();\n".repeat(line_count - 2))
    }
}
