//! Reading the table of flags from Rust's text.

use std::collections::BTreeMap;

use syn::{Arm, Expr, ExprLit, ExprStruct, File, ImplItem, Item, Lit, Member, Pat, Stmt};

use super::{Flag, Value};

/// The flags of `const FLAGS` in one text, with the headings that `Group::heading` gives in another.
///
/// # Errors
/// It is no Rust, or written in another way than by literals.
pub(super) fn parse(groups: &str, table: &str) -> Result<Vec<Flag>, String> {
    let file = |text| syn::parse_file(text).map_err(|error| error.to_string());
    let headings = headings(&file(groups)?).ok_or("there is no `Group::heading` made of one match")?;
    let table = file(table)?;
    let entries = entries(&table).ok_or("there is no `const FLAGS` with an array")?;
    entries.iter().map(|entry| flag(entry, &headings)).collect()
}

/// Group and heading.
fn headings(file: &File) -> Option<BTreeMap<String, String>> {
    let items = file.items.iter().filter_map(|item| match item {
        Item::Impl(item) => Some(&item.items),
        _ => None,
    });
    let heading = items.flatten().find_map(|item| match item {
        ImplItem::Fn(function) if function.sig.ident == "heading" => Some(&function.block),
        _ => None,
    })?;
    let [Stmt::Expr(Expr::Match(choice), None)] = heading.stmts.as_slice() else { return None };
    choice.arms.iter().map(heading_of).collect()
}

fn heading_of(arm: &Arm) -> Option<(String, String)> {
    let Pat::Path(group) = &arm.pat else { return None };
    Some((group.path.segments.last()?.ident.to_string(), literal(&arm.body)?))
}

fn entries(file: &File) -> Option<Vec<&ExprStruct>> {
    let value = file.items.iter().find_map(|item| match item {
        Item::Const(item) if item.ident == "FLAGS" => Some(&*item.expr),
        _ => None,
    })?;
    let Expr::Reference(reference) = value else { return None };
    let Expr::Array(array) = &*reference.expr else { return None };
    array.elems.iter().map(entry).collect()
}

fn entry(expression: &Expr) -> Option<&ExprStruct> {
    match expression {
        Expr::Struct(entry) => Some(entry),
        _ => None,
    }
}

fn flag(entry: &ExprStruct, headings: &BTreeMap<String, String>) -> Result<Flag, String> {
    let long = field(entry, "long").and_then(literal).ok_or("a flag has no `long` that is a literal")?;
    let missing = |name: &str| format!("--{long} has no `{name}` that is written as we read it");
    let text = |name: &str| field(entry, name).and_then(literal).ok_or_else(|| missing(name));
    let group = field(entry, "group").and_then(last_name).ok_or_else(|| missing("group"))?;
    Ok(Flag {
        short: field(entry, "short").and_then(short).ok_or_else(|| missing("short"))?.chars().next(),
        group: headings.get(&group).ok_or_else(|| missing("group"))?.clone(),
        value: field(entry, "effect").and_then(value).ok_or_else(|| missing("effect"))?,
        help: text("help")?,
        more: text("more")?,
        example: text("example")?,
        long,
    })
}

fn field<'entry>(entry: &'entry ExprStruct, name: &str) -> Option<&'entry Expr> {
    let is_it = |member: &Member| matches!(member, Member::Named(ident) if ident == name);
    entry.fields.iter().find(|field| is_it(&field.member)).map(|field| &field.expr)
}

/// The letter of `Some('f')`, nothing of `None`.
fn short(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Path(_) if last_name(expression)? == "None" => Some(String::new()),
        Expr::Call(call) => match call.args.first()? {
            Expr::Lit(ExprLit { lit: Lit::Char(letter), .. }) => Some(letter.value().to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// `Effect::Value("FILE", ..)` and its like.
fn value(expression: &Expr) -> Option<Value> {
    let Expr::Call(call) = expression else { return None };
    let name = || call.args.first().and_then(literal);
    match last_name(&call.func)?.as_str() {
        "Value" => Some(Value::Required(name()?)),
        "OptionalValue" => Some(Value::Optional(name()?)),
        "Switch" | "Instead" => Some(Value::None),
        _ => None,
    }
}

fn literal(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Lit(text) => match &text.lit {
            Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

fn last_name(expression: &Expr) -> Option<String> {
    let Expr::Path(path) = expression else { return None };
    Some(path.path.segments.last()?.ident.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADING: &str =
        r#"impl Group { fn heading(self) -> &'static str { match self { Self::Files => "Files", } } }"#;

    fn parse_one(effect: &str, more: &str) -> Result<Flag, String> {
        let entry = format!(
            r#"Flag {{ short: Some('o'), long: "outfile", group: Group::Files, effect: {effect}, help: "h",
               #[cfg(test)] more: {more}, #[cfg(test)] example: "e" }}"#
        );
        let table = format!("pub(crate) const FLAGS: &[Flag] = &[{entry}];");
        parse(HEADING, &table).map(|mut flags| flags.remove(0))
    }

    #[test]
    fn an_entry_becomes_a_flag() {
        let flag = parse_one(r#"Effect::Value("FILE", |options, file| Ok(()))"#, "\"a \\\n   b\"").unwrap();
        assert_eq!((flag.short, flag.long.as_str(), flag.group.as_str()), (Some('o'), "outfile", "Files"));
        assert_eq!((flag.more.as_str(), flag.value), ("a b", Value::Required("FILE".to_owned())));
        let optional = parse_one(r#"Effect::OptionalValue("a|b", f)"#, "\"\"").unwrap();
        assert_eq!(optional.value, Value::Optional("a|b".to_owned()));
        assert_eq!(parse_one("Effect::Switch(|options| {})", "\"\"").unwrap().value, Value::None);
    }

    #[test]
    fn what_is_not_written_as_we_read_it_is_named() {
        let refused = |effect: &str, more: &str| parse_one(effect, more).unwrap_err();
        assert!(refused("Effect::Switch(f)", "MORE").contains("--outfile has no `more`"));
        assert!(refused("Effect::Value(NAME, f)", "\"\"").contains("--outfile has no `effect`"));
        assert!(parse("fn main() {}", "").unwrap_err().contains("heading"));
        assert!(parse(HEADING, HEADING).unwrap_err().contains("FLAGS"));
    }
}
