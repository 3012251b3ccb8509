//! For fish: a file in a folder of `$fish_complete_path`.

use super::{fill, spellings};
use crate::options::{Flag, Kind, Value};

pub(super) fn script(flags: &[Flag]) -> String {
    let required = spellings(flags, |flag| matches!(flag.value, Value::Required(_)));
    let lines: String = flags.iter().map(line).collect();
    fill(TEMPLATE, &[("REQUIRED", required.join(" ")), ("LINES", lines)])
}

fn line(flag: &Flag) -> String {
    let short = flag.short.map(|short| format!(" -s {short}")).unwrap_or_default();
    let value = match (&flag.value, flag.value.kind()) {
        (Value::None, _) => String::new(),
        // fish has a value behind `=` only where it is one of the words that can be typed.
        (Value::Optional(_), Kind::OneOf(words)) => {
            let long: Vec<_> = words.iter().map(|word| format!("--{}={word}", flag.long)).collect();
            format!(" -a {}", quote(&long.join(" ")))
        }
        (_, Kind::OneOf(words)) => format!(" -x -a {}", quote(&words.join(" "))),
        (_, Kind::File) => " -r -F".to_owned(),
        (_, Kind::Device) => " -x -a '(__fish_print_interfaces)'".to_owned(),
        (_, Kind::User) => " -x -a '(__fish_complete_users)'".to_owned(),
        (_, Kind::Free) => " -x".to_owned(),
    };
    let value = if matches!(flag.value, Value::Optional(_)) { String::new() } else { value };
    format!(
        "complete -c nsntrace -n '! __nsntrace_program'{short} -l {}{value} -d {}\n",
        flag.long,
        quote(&flag.help)
    )
}

/// In single quotes, as fish reads them.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}

const TEMPLATE: &str = r"# fish completion for nsntrace(1)

function __nsntrace_program -d 'Has the program been named?'
    set -l words (commandline -opc)
    set -e words[1]
    while set -q words[1]
        switch $words[1]
            case @REQUIRED@
                set -e words[1]
            case '-*'
            case '*'
                return 0
        end
        set -e words[1]
    end
    return 1
end

complete -c nsntrace -x -a '(__fish_complete_subcommand @REQUIRED@)'
@LINES@";

#[cfg(test)]
mod tests {
    use super::super::shell;
    use super::*;

    fn complete(line: &str) -> Vec<String> {
        let input = format!("{}complete -C '{line}'\n", script(&shell::flags()));
        let said = shell::run(&["fish", "--no-config"], &input);
        said.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn fish_reads_it() {
        for flags in shell::flag_sets() {
            assert_eq!(shell::run(&["fish", "--no-config", "--no-execute"], &script(&flags)), "");
        }
        assert_ne!(shell::run(&["fish", "--no-config", "--no-execute"], "end"), "");
    }

    #[test]
    fn flags_values_and_programs_are_offered() {
        assert_eq!(complete("nsntrace --outf"), ["--outfile"]);
        assert_eq!(complete("nsntrace --net pro"), ["proxy"]);
        assert!(complete("nsntrace -o x.pcap tru").contains(&"true".to_owned()));
        assert!(!complete("nsntrace true --outf").contains(&"--outfile".to_owned()));
    }
}
