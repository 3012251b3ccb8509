//! Completions for four shells, made from the table of flags. Behind the program's name they are the program's own.

mod bash;
mod elvish;
mod fish;
mod zsh;

use crate::options::Flag;

/// A file for a shell.
pub(crate) struct Script {
    /// As the shell looks for it.
    pub(crate) name: &'static str,
    pub(crate) text: String,
}

/// One for each shell.
pub(crate) fn scripts(flags: &[Flag]) -> [Script; 4] {
    let [bash, zsh, fish, elvish] = NAMES;
    [
        Script { name: bash, text: bash::script(flags) },
        Script { name: zsh, text: zsh::script(flags) },
        Script { name: fish, text: fish::script(flags) },
        Script { name: elvish, text: elvish::script(flags) },
    ]
}

/// What each file is called: for bash, zsh, fish and elvish.
pub(crate) const NAMES: [&str; 4] = ["nsntrace.bash", "_nsntrace", "nsntrace.fish", "nsntrace.elv"];

/// Every spelling of the flags that `is_meant`.
fn spellings(flags: &[Flag], is_meant: impl Fn(&Flag) -> bool) -> Vec<String> {
    flags.iter().filter(|flag| is_meant(flag)).flat_map(Flag::spellings).collect()
}

/// `template` with each `@NAME@` replaced.
fn fill(template: &str, values: &[(&str, String)]) -> String {
    values.iter().fold(template.to_owned(), |text, (name, value)| text.replace(&format!("@{name}@"), value))
}

/// In single quotes, as bash and zsh read them.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// For the tests of each shell: what it says of a script, and what it completes.
#[cfg(test)]
mod shell {
    use std::process::Command;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::options;
    use crate::workspace::Workspace;

    /// What a shell says, on standard output and error, that reads `text` from a file.
    #[track_caller]
    pub(super) fn run(shell: &[&str], text: &str) -> String {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("nsntrace-{}-{number}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).arg(&path).env("LC_ALL", "C.UTF-8");
        let output = command.output().unwrap_or_else(|error| panic!("cannot run {}: {error}", shell[0]));
        std::fs::remove_file(&path).unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }

    /// Tests run side by side.
    static NEXT: AtomicUsize = AtomicUsize::new(0);

    /// The flags as they are, and one of each kind that is hard to quote.
    pub(super) fn flag_sets() -> [Vec<Flag>; 2] {
        [options::load(&Workspace::load().unwrap()).unwrap(), options::samples()]
    }

    /// Our own flags.
    pub(super) fn flags() -> Vec<Flag> {
        let [flags, _] = flag_sets();
        flags
    }
}
