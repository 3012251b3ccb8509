//! For elvish: read in by rc.elv.

use super::fill;
use crate::options::{Flag, Kind, Value};

pub(super) fn script(flags: &[Flag]) -> String {
    let values = [
        ("VALUES", flags.iter().flat_map(values).collect()),
        ("HELP", flags.iter().flat_map(help).collect()),
    ];
    fill(TEMPLATE, &values)
}

/// `&-o=$files~`, for each flag that takes its value as a word.
fn values(flag: &Flag) -> Vec<String> {
    if !matches!(flag.value, Value::Required(_)) {
        return Vec::new();
    }
    let action = match flag.value.kind() {
        Kind::OneOf(words) => format!("{{|_| put {} }}", words.join(" ")),
        Kind::File => "{|word| edit:complete-filename $word }".to_owned(),
        Kind::Device => "{|_| each {|path| path:base $path } [/sys/class/net/*] }".to_owned(),
        Kind::User => "{|_| cut -d: -f1 /etc/passwd | from-lines }".to_owned(),
        Kind::Free => "{|_| }".to_owned(),
    };
    flag.spellings().iter().map(|spelling| format!("    &{spelling}={action}\n")).collect()
}

fn help(flag: &Flag) -> Vec<String> {
    let words = match (&flag.value, flag.value.kind()) {
        (Value::Optional(_), Kind::OneOf(words)) => words,
        _ => Vec::new(),
    };
    let with_value = words.iter().map(|word| format!("--{}={word}", flag.long));
    let spellings = flag.spellings().into_iter().chain(with_value);
    spellings.map(|spelling| format!("    &{}={}\n", spelling_key(&spelling), quote(&flag.help))).collect()
}

/// A key with an equals sign is quoted.
fn spelling_key(spelling: &str) -> String {
    if spelling.contains('=') { quote(spelling) } else { spelling.to_owned() }
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

const TEMPLATE: &str = r"# elvish completion for nsntrace(1)

use path
use str

var nsntrace-values = [
@VALUES@]

var nsntrace-help = [
@HELP@]

set edit:completion:arg-completer[nsntrace] = {|@words|
    var flag = ''
    var program = $false
    for word $words[1..-1] {
        if (not-eq $flag '') {
            set flag = ''
        } elif (has-key $nsntrace-values $word) {
            set flag = $word
        } elif (not (str:has-prefix $word -)) {
            set program = $true
            break
        }
    }
    if $program {
        edit:complete-filename $words[-1]
    } elif (not-eq $flag '') {
        $nsntrace-values[$flag] $words[-1]
    } elif (str:has-prefix $words[-1] -) {
        each {|flag| edit:complex-candidate $flag &display=$flag'  '$nsntrace-help[$flag] } [(keys $nsntrace-help)]
    } else {
        edit:complete-sudo '' $words[-1]
    }
}
";

#[cfg(test)]
mod tests {
    use super::super::shell;
    use super::*;

    /// The editor is there only with a terminal: what is used of it stands in for it.
    const EDITOR: &str = "var edit: = (ns [&completion:=(ns [&arg-completer=[&]]) \
        &complete-filename~={|@words| put file } &complete-sudo~={|@words| put command } \
        &complex-candidate~={|word &display=''| put $word }])\n";

    fn complete(words: &str) -> Vec<String> {
        let ask = format!(
            "$edit:completion:arg-completer[nsntrace] nsntrace {words} | each {{|word| echo $word}}\n"
        );
        let said = shell::run(&["elvish", "-norc"], &format!("{EDITOR}{}{ask}", script(&shell::flags())));
        said.lines().map(str::to_owned).collect()
    }

    #[test]
    fn elvish_reads_it() {
        for flags in shell::flag_sets() {
            let text = format!("{EDITOR}{}", script(&flags));
            assert_eq!(shell::run(&["elvish", "-norc", "-compileonly"], &text), "");
        }
        assert_ne!(shell::run(&["elvish", "-norc", "-compileonly"], "put ["), "");
    }

    #[test]
    fn flags_values_and_programs_are_offered() {
        assert_eq!(complete("--net ''"), ["auto", "nat", "proxy"]);
        assert_eq!(complete("-o x --outfile ''"), ["file"]);
        assert_eq!(complete("-q tr"), ["command"]);
        assert!(complete("-").contains(&"--doctor=json".to_owned()));
        assert_eq!(complete("true ''"), ["file"]);
    }
}
