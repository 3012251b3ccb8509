//! The help text, made from the table of flags.

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
            let _ = writeln!(help, "  {:<26} {}", spelling(flag), flag.help);
        }
    }
    help.push_str(TAIL);
    help
}

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
Runs a program in a network namespace of its own and records every packet it sends or receives.

Usage: nsntrace [options] program [arguments]
";

const TAIL: &str = "
The exit status is the program's; 128+N when signal N killed it; 124 when --expect or --deny object; 125 when nsntrace
itself failed, 126 when the program cannot be executed, 127 when it is not found. All words but those that were asked
for go to standard error.

Example: nsntrace -o page.pcapng curl -s http://example.com/
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_in_the_help_and_lines_fit_a_screen() {
        let help = text();
        for flag in FLAGS {
            assert!(help.contains(&format!("--{}", flag.long)), "{}", flag.long);
        }
        assert!(help.lines().all(|line| line.len() <= 120), "{help}");
        assert!(help.lines().count() <= 52, "{help}");
    }
}
