//! Rules that are about words: found as tokens, so that strings and comments do not count and macros do.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Calls `visit` with each token and what follows it in the same group.
pub(crate) fn walk(tokens: TokenStream, visit: &mut dyn FnMut(&[TokenTree])) {
    let trees: Vec<_> = tokens.into_iter().collect();
    for (index, tree) in trees.iter().enumerate() {
        visit(&trees[index..]);
        if let TokenTree::Group(group) = tree {
            walk(group.stream(), visit);
        }
    }
}

/// The line that a token begins on.
pub(crate) fn line(tree: &TokenTree) -> usize {
    tree.span().start().line
}

/// What `unsafe` is before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsafe {
    /// A block or an implementation: it needs its reason beside it.
    Claim,
    /// A function, a trait, an attribute: it needs one in its documentation.
    Other,
}

/// Whether `unsafe` is what `trees` begin with.
pub(crate) fn unsafe_at(trees: &[TokenTree]) -> Option<Unsafe> {
    if !is_ident(trees.first()?, "unsafe") {
        return None;
    }
    match trees.get(1) {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => Some(Unsafe::Claim),
        Some(next) if is_ident(next, "impl") => Some(Unsafe::Claim),
        _ => Some(Unsafe::Other),
    }
}

/// Whether `trees` begin with `.unwrap()`.
pub(crate) fn is_unwrap(trees: &[TokenTree]) -> bool {
    match trees {
        [dot, name, TokenTree::Group(call), ..] => {
            is_punct(dot, '.') && is_ident(name, "unwrap") && call.stream().is_empty()
        }
        _ => false,
    }
}

/// The name of what is left undone, if `trees` begin with it.
pub(crate) fn undone_at(trees: &[TokenTree]) -> Option<&'static str> {
    match trees {
        [name, bang, ..] if is_punct(bang, '!') => {
            ["todo", "unimplemented"].into_iter().find(|word| is_ident(name, word))
        }
        [hash, TokenTree::Group(attribute), ..] if is_punct(hash, '#') => {
            let first = attribute.stream().into_iter().next()?;
            is_ident(&first, "ignore").then_some("ignore")
        }
        _ => None,
    }
}

fn is_ident(tree: &TokenTree, name: &str) -> bool {
    matches!(tree, TokenTree::Ident(ident) if ident == name)
}

fn is_punct(tree: &TokenTree, sign: char) -> bool {
    matches!(tree, TokenTree::Punct(punct) if punct.as_char() == sign)
}
