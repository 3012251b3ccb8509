//! A command line in one string: split into words as a shell would, with nothing else of a shell.
//!
//! # References
//! POSIX.1-2024, Shell Command Language, 2.2 Quoting.

use std::iter::Peekable;
use std::str::Chars;

use crate::failure::Failure;

/// The words of `line`, their quotes removed. Variables, patterns and pipes are left as they are typed.
pub(super) fn split(line: &str) -> Result<Vec<String>, Failure> {
    let mut words = Vec::new();
    let mut letters = line.chars().peekable();
    loop {
        while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
        if letters.peek().is_none() {
            return Ok(words);
        }
        words.push(word(&mut letters)?);
    }
}

fn word(letters: &mut Peekable<Chars<'_>>) -> Result<String, Failure> {
    let mut word = String::new();
    while let Some(letter) = letters.next_if(|letter| !letter.is_whitespace()) {
        match letter {
            '\'' => loop {
                match letters.next().ok_or_else(|| open("'"))? {
                    '\'' => break,
                    letter => word.push(letter),
                }
            },
            '"' => double_quoted(letters, &mut word)?,
            '\\' => word.push(letters.next().ok_or_else(|| open("\\"))?),
            letter => word.push(letter),
        }
    }
    Ok(word)
}

fn double_quoted(letters: &mut Peekable<Chars<'_>>, word: &mut String) -> Result<(), Failure> {
    loop {
        match letters.next().ok_or_else(|| open("\""))? {
            '"' => return Ok(()),
            // In front of anything else it stands for itself.
            '\\' => word.push(letters.next_if(|letter| "\"\\$`".contains(*letter)).unwrap_or('\\')),
            letter => word.push(letter),
        }
    }
}

fn open(quote: &str) -> Failure {
    Failure::new(format!("the command has a {quote} that nothing closes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &[&str]) {
        assert_eq!(split(line).unwrap(), expected, "{line}");
    }

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        check("", &[]);
        check(" \t\n", &[]);
        check(" curl  -s\thttp://x/ ", &["curl", "-s", "http://x/"]);
        check("sh -c 'a \"b\" $c | d\\'", &["sh", "-c", "a \"b\" $c | d\\"]);
        check(r#"a"b c"'d e'f '' """#, &["ab cd ef", "", ""]);
        check(r#""\"\\\$\`\n" \'\ \x"#, &["\"\\$`\\n", "' x"]);
        check("$HOME *.c a|b", &["$HOME", "*.c", "a|b"]);
    }

    #[test]
    fn what_nothing_closes_is_refused() {
        for line in ["'", "a 'b", "\"a", "\"\\", "a\\", "a\"b\\\""] {
            assert!(split(line).unwrap_err().to_string().contains("nothing closes"), "{line}");
        }
    }

    /// What dash makes of it, word by word.
    #[test]
    fn a_shell_agrees() {
        for line in ["a 'b c' d", r#""a\"b" 'c'"d" \e"#, r#"x"\y"z '\' "" "#] {
            let script = format!("printf '%s\\n' {line}");
            let said = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            let said = String::from_utf8(said.stdout).unwrap();
            check(line, &said.lines().collect::<Vec<_>>());
        }
    }
}
