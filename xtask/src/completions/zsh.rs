//! For zsh: a file `_nsntrace` in a folder of `$fpath`.

use super::{fill, quote};
use crate::options::{Flag, Kind, Value};

pub(super) fn script(flags: &[Flag]) -> String {
    let specs: String = flags
        .iter()
        .flat_map(|flag| flag.spellings().into_iter().map(|spelling| spec(flag, &spelling)))
        .collect();
    fill(TEMPLATE, &[("SPECS", specs)])
}

/// `'*--outfile=[help]:FILE:_files'`, as `_arguments` of zshcompsys(1) reads it.
fn spec(flag: &Flag, spelling: &str) -> String {
    let is_long = spelling.starts_with("--");
    let (typed, behind) = match &flag.value {
        Value::None => (String::new(), String::new()),
        Value::Required(name) => {
            (if is_long { "=" } else { "+" }.to_owned(), format!(":{}:{}", escape(name), action(flag)))
        }
        // Only behind the equals sign.
        Value::Optional(name) => ("=-".to_owned(), format!("::{}:{}", escape(name), action(flag))),
    };
    let text = format!("*{spelling}{typed}[{}]{behind}", escape(&flag.help));
    format!("    {} \\\n", quote(&text))
}

fn action(flag: &Flag) -> String {
    match flag.value.kind() {
        Kind::OneOf(words) => format!("({})", words.join(" ")),
        Kind::File => "_files".to_owned(),
        Kind::Device => "_net_interfaces".to_owned(),
        Kind::User => "_users".to_owned(),
        Kind::Free => " ".to_owned(),
    }
}

fn escape(text: &str) -> String {
    let special = |letter: char| matches!(letter, '\\' | '[' | ']' | ':');
    text.chars().flat_map(|letter| special(letter).then_some('\\').into_iter().chain([letter])).collect()
}

/// The program ends our options, and what follows is its own.
const TEMPLATE: &str = r"#compdef nsntrace

_arguments -s -S -A '-*' : \
@SPECS@    '(-):program: _command_names -e' \
    '*::arguments: _normal'
";

#[cfg(test)]
mod tests {
    use super::super::shell;
    use super::*;

    #[test]
    fn zsh_reads_it() {
        for flags in shell::flag_sets() {
            assert_eq!(shell::run(&["zsh", "-fn"], &script(&flags)), "");
        }
        assert_ne!(shell::run(&["zsh", "-fn"], "case x in"), "");
    }

    #[test]
    fn what_zsh_would_read_is_escaped() {
        let samples = crate::options::samples();
        assert_eq!(
            spec(&samples[1], "--net"),
            "    '*--net=[what net does, '\\''so'\\'' \\[to say\\]\\: it]:auto|nat|proxy:(auto nat proxy)' \\\n"
        );
        assert!(spec(&samples[5], "--doctor").contains("--doctor=-["));
        assert!(spec(&samples[0], "-o").contains("*-o+["));
    }
}
