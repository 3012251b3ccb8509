//! The help text, made from the table of flags: one screen. The manual, made from the same, has room for more.

use std::fmt::Write as _;

use crate::flags::{Effect, FLAGS, Flag, Group};

/// What `nsntrace --version` prints.
pub(crate) const VERSION: &str = concat!("nsntrace ", env!("CARGO_PKG_VERSION"), "\n");
/// The number alone.
pub(crate) const VERSION_NUMBER: &str = env!("CARGO_PKG_VERSION");

/// What `nsntrace --help` prints.
pub(crate) fn text() -> String {
    let mut help = String::from(HEAD);
    for group in Group::ALL {
        // Writing to a String cannot fail.
        let _ = writeln!(help, "\n{}:", group.heading());
        for flag in FLAGS.iter().filter(|flag| flag.group == group) {
            let _ = writeln!(help, "  {:<COLUMN$} {}", spelling(flag), flag.help);
        }
    }
    help.push_str(TAIL);
    help
}

/// How wide flags are, with their values.
const COLUMN: usize = 29;

fn spelling(flag: &Flag) -> String {
    let short = flag.short.map_or_else(|| "    ".into(), |short| format!("-{short}, "));
    let value = match flag.effect {
        Effect::Value(name, _) => format!(" {name}"),
        Effect::OptionalValue(name, _) => format!("[={name}]"),
        _ => String::new(),
    };
    format!("{short}--{}{value}", flag.long)
}

const HEAD: &str = "\
Runs a program in a network namespace of its own and records its packets.
Usage: nsntrace [options] program [arguments]
";

const TAIL: &str = "
The exit status is the program's; 128+N if signal N killed it, 126 or 127 if it
cannot be run, 124 if --expect or --deny object, 125 if nsntrace failed.
Example: nsntrace -o page.pcapng curl -s http://example.com/
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags;

    #[test]
    fn every_flag_is_in_the_help_and_it_fits_a_screen() {
        let help = text();
        for flag in FLAGS {
            assert!(help.contains(&format!("--{}", flag.long)), "{}", flag.long);
        }
        assert!(!FLAGS.iter().any(|flag| spelling(flag).len() > COLUMN), "the column is too narrow");
        let long: Vec<_> = help.lines().filter(|line| line.len() > 80).collect();
        assert!(long.is_empty(), "say more in `more`, which the manual shows: {long:#?}");
        assert!(help.lines().count() <= 54, "{} lines\n{help}", help.lines().count());
    }

    #[test]
    fn every_example_is_a_command_line_that_uses_its_flag() {
        for flag in FLAGS {
            let words = words(flag.example);
            let spelled = format!("--{}", flag.long);
            let short = flag.short.map(|short| format!("-{short}"));
            let uses = |word: &String| {
                word.split('=').next() == Some(&spelled) || short.as_ref().is_some_and(|short| word == short)
            };
            assert_eq!(words[0], "nsntrace", "{}", flag.example);
            assert!(words.iter().any(uses), "{spelled}: {}", flag.example);
            flags::parse(&words[1..]).unwrap_or_else(|failure| panic!("{}: {failure}", flag.example));
        }
    }

    #[test]
    fn what_the_manual_adds_is_in_sentences() {
        for flag in FLAGS.iter().filter(|flag| !flag.more.is_empty()) {
            assert!(flag.more.ends_with('.'), "{}: {}", flag.long, flag.more);
        }
    }

    /// The words of the first command, as a shell splits them: blanks, and single quotes.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut is_quoted = false;
        for letter in line.chars().take_while(|letter| !matches!(letter, '|' | '>')) {
            match letter {
                '\'' => is_quoted = !is_quoted,
                ' ' if !is_quoted => words.push(String::new()),
                _ => words.last_mut().expect("one is there").push(letter),
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }
}
