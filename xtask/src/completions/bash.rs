//! For bash, with or without the package bash-completion.

use super::{fill, spellings};
use crate::options::{Flag, Kind, Value};

pub(super) fn script(flags: &[Flag]) -> String {
    let pattern = |is_meant: fn(&Flag) -> bool| spellings(flags, is_meant).join("|");
    let values = [
        ("REQUIRED", pattern(|flag| matches!(flag.value, Value::Required(_)))),
        ("OPTIONAL", pattern(|flag| matches!(flag.value, Value::Optional(_)))),
        ("FLAGS", spellings(flags, |_| true).join(" ")),
        ("VALUES", flags.iter().filter_map(arm).collect::<String>()),
    ];
    fill(TEMPLATE, &values)
}

/// How the value of a flag is completed.
fn arm(flag: &Flag) -> Option<String> {
    let reply = match flag.value.kind() {
        Kind::OneOf(words) => format!("compgen -W '{}' -- \"$word\"", words.join(" ")),
        Kind::File => "compopt -o filenames; compgen -f -- \"$word\"".to_owned(),
        Kind::Device => "compgen -W \"$(ls /sys/class/net)\" -- \"$word\"".to_owned(),
        Kind::User => "compgen -u -- \"$word\"".to_owned(),
        Kind::Free => return None,
    };
    let (setting, command) = reply.split_once("; ").unwrap_or(("", &reply));
    let setting = if setting.is_empty() { String::new() } else { format!("{setting}; ") };
    let pattern = flag.spellings().join("|");
    Some(format!("            {pattern}) {setting}mapfile -t COMPREPLY < <({command}) ;;\n"))
}

/// bash splits words at `=` and `:`, so `--net=nat` is three words here.
const TEMPLATE: &str = r#"# bash completion for nsntrace(1)

_nsntrace() {
    local word=${COMP_WORDS[COMP_CWORD]} flag='' index=1
    COMPREPLY=()
    while ((index < COMP_CWORD)); do
        flag=${COMP_WORDS[index]}
        case $flag in
            --) ((index += 1)); break ;;
            @REQUIRED@)
                [[ ${COMP_WORDS[index + 1]} == = ]] && ((index += 1))
                ((index += 2)) ;;
            @OPTIONAL@)
                [[ ${COMP_WORDS[index + 1]} == = ]] && ((index += 2))
                ((index += 1)) ;;
            -*) ((index += 1)) ;;
            *) break ;;
        esac
    done
    [[ $word == = ]] && word=''
    if ((index > COMP_CWORD)); then
        case $flag in
@VALUES@        esac
    elif ((index < COMP_CWORD)); then
        if declare -F _command_offset > /dev/null; then
            _command_offset "$index"
        else
            compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word")
        fi
    elif [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W '@FLAGS@' -- "$word")
    else
        mapfile -t COMPREPLY < <(compgen -c -- "$word")
    fi
}

complete -F _nsntrace nsntrace
"#;

#[cfg(test)]
mod tests {
    use super::super::shell;
    use super::*;

    /// What bash offers for a line as it splits it, without bash-completion.
    fn complete(words: &[&str]) -> Vec<String> {
        let quoted: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
        let last = words.len() - 1;
        let ask = format!(
            "compopt() {{ :; }}; COMP_WORDS=({}); COMP_CWORD={last}; _nsntrace; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            quoted.join(" ")
        );
        let said = shell::run(&["bash", "--norc"], &format!("{}{ask}\n", script(&shell::flags())));
        said.lines().map(str::to_owned).collect()
    }

    #[test]
    fn bash_reads_it() {
        for flags in shell::flag_sets() {
            assert_eq!(shell::run(&["bash", "-n"], &script(&flags)), "");
        }
        assert_ne!(shell::run(&["bash", "-n"], "if"), "");
    }

    #[test]
    fn flags_and_their_values_are_offered() {
        assert_eq!(complete(&["nsntrace", "--outf"]), ["--outfile"]);
        assert_eq!(complete(&["nsntrace", "--net", "p"]), ["proxy"]);
        assert_eq!(complete(&["nsntrace", "--net", "=", "n"]), ["nat"]);
        assert_eq!(complete(&["nsntrace", "--doctor", "="]), ["text", "json"]);
        assert_eq!(complete(&["nsntrace", "-d", "l"]), ["lo"]);
        assert!(complete(&["nsntrace", "-o", "/etc/passw"]).contains(&"/etc/passwd".to_owned()));
        assert!(complete(&["nsntrace", "-u", "roo"]).contains(&"root".to_owned()));
    }

    #[test]
    fn where_the_program_stands_commands_are_offered_and_no_flags_behind_it() {
        let is_offered = |words: &[&str], what: &str| complete(words).iter().any(|word| word == what);
        assert!(is_offered(&["nsntrace", "-o", "x.pcap", "tru"], "true"));
        assert!(is_offered(&["nsntrace", "-q", "--doctor", "tru"], "true"));
        assert!(is_offered(&["nsntrace", "--", "tru"], "true"));
        assert!(!is_offered(&["nsntrace", "true", "--outf"], "--outfile"));
    }

    /// As a terminal has it: keys go in, and the line that comes out is run.
    #[test]
    fn tab_completes_a_line_in_a_real_bash() {
        let said = shell::run(&["python3", "-c", TERMINAL], &script(&shell::flags()));
        assert!(said.contains("got: --outfile x.pcap --net proxy --user=root"), "{said}");
    }

    const TERMINAL: &str = r#"
import os, pty, sys, time
child, terminal = pty.fork()
if child == 0:
    os.environ.update(PS1="$ ", TERM="dumb", INPUTRC="/dev/null")
    os.execvp("bash", ["bash", "--norc", "--noprofile"])
for keys in [f". {sys.argv[1]}; nsntrace() {{ echo got: $*; }}\r",
             "nsntrace --outf\tx.pcap --net pro\t--user=roo\t\r", "exit\r"]:
    time.sleep(0.5)
    os.write(terminal, keys.encode())
said = b""
try:
    while piece := os.read(terminal, 4096):
        said += piece
except OSError:
    pass
os.waitpid(child, 0)
print(said.decode())
"#;
}
