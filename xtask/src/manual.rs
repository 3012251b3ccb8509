//! nsntrace(1), made from the table of flags: mdoc(7), as mandoc and groff read it.

mod roff;

use std::fmt::Write as _;

use crate::options::{Flag, Value};
use roff::{escape, lines, sentences};

/// As man(1) looks for it.
pub(crate) const NAME: &str = "nsntrace.1";

/// The whole page.
pub(crate) fn page(flags: &[Flag]) -> String {
    let mut page = HEAD.to_owned();
    let mut group = "";
    for flag in flags {
        if flag.group != group {
            page.push_str(if group.is_empty() { ".Sh OPTIONS\n" } else { ".El\n" });
            // Writing to a String cannot fail.
            let _ = writeln!(page, ".Ss {}\n.Bl -tag -width Ds", flag.group);
            group = &flag.group;
        }
        page.push_str(&entry(flag));
    }
    page.push_str(".El\n");
    page.push_str(TAIL);
    page
}

/// An option: how it is typed, what it does, an example.
fn entry(flag: &Flag) -> String {
    let help = capital(&flag.help);
    let mut entry = format!(".It {}\n{}", typed(flag), lines(&format!("{help}.")));
    for sentence in sentences(&flag.more) {
        entry += &lines(sentence);
    }
    let _ = writeln!(entry, ".Pp\n.Dl {}", escape(&flag.example));
    entry
}

/// `Fl f , Fl -filter Ar EXPR`
fn typed(flag: &Flag) -> String {
    let short = flag.short.map(|short| format!("Fl {short} , ")).unwrap_or_default();
    let long = flag.long.replace('-', "\\-");
    match &flag.value {
        Value::None => format!("{short}Fl \\-{long}"),
        Value::Required(name) => format!("{short}Fl \\-{long} {}", argument(name)),
        Value::Optional(name) => format!("{short}Fl \\-{long} Ns Op = Ns {}", argument(name)),
    }
}

/// A name, or words that are typed as they are.
fn argument(name: &str) -> String {
    if !name.contains('|') {
        return format!("Ar {name}");
    }
    name.split('|').map(|word| format!("Cm {word}")).collect::<Vec<_>>().join(" | ")
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

const HEAD: &str = r".Dd November 30, 2026
.Dt NSNTRACE 1
.Os
.Sh NAME
.Nm nsntrace
.Nd run a program in a network namespace of its own and record its packets
.Sh SYNOPSIS
.Nm
.Op Ar options
.Ar program
.Op Ar arguments
.Nm
.Fl \-doctor
.Nm
.Fl \-dump\-filter
.Op Fl f Ar EXPR
.Sh DESCRIPTION
.Nm
runs
.Ar program
in a network namespace of its own, and writes every packet that it and its
children send or receive into a file: their name look\-ups, their loopback, the
first packet and the last, and no packet of anybody else.
.Pp
As root, or with
.Dv CAP_SYS_ADMIN , CAP_NET_ADMIN
and
.Dv CAP_NET_RAW ,
packets are forwarded by the host.
Anybody else's connections are passed on by a proxy.
.Pp
What
.Nm
says goes to standard error.
A signal such as that of ctrl\-c reaches the program, and the file is complete
when
.Nm
returns.
Should
.Nm
be killed, nothing stays behind on the host.
";

const TAIL: &str = r#".Sh FILES
.Bl -tag -width Ds
.It Pa nsntrace.pcap
Where packets go, if nothing else is said.
.It Pa /run/nsntrace
What runs of
.Nm
know of each other.
.El
.Sh EXIT STATUS
That of the program, and:
.Pp
.Bl -tag -width "128 + N" -compact
.It 124
The program talked to somebody that
.Fl \-expect
or
.Fl \-deny
object to.
.It 125
.Nm
itself failed.
.It 126
The program cannot be executed.
.It 127
The program is not found.
.It 128 + N
Signal N killed the program.
.El
.Sh EXAMPLES
Record a page being fetched, and look at it:
.Pp
.Dl nsntrace \-o page.pcapng curl \-s http://example.com/
.Dl tshark \-r page.pcapng
.Pp
Watch a program while it runs:
.Pp
.Dl nsntrace \-o \- wget \-q http://example.com/ 2> /dev/null | tshark \-r \-
.Pp
Look inside of a trace that runs:
.Pp
.Dl ip netns exec nsntrace\-PID ss \-tn
.Sh SEE ALSO
.Xr tcpdump 1 ,
.Xr tshark 1 ,
.Xr network_namespaces 7 ,
.Xr pcap\-filter 7 ,
.Xr ip\-netns 8
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;
    use crate::process::Result;
    use crate::workspace::Workspace;

    /// What mandoc has to say, and how the page looks.
    fn read(page: &str) -> (String, String) {
        let path = std::env::temp_dir().join(format!("nsntrace-{}.1", std::process::id()));
        std::fs::write(&path, page).unwrap();
        let mandoc = |arguments: &[&str]| {
            let output = std::process::Command::new("mandoc").args(arguments).arg(&path).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let read = (mandoc(&["-Tlint", "-Wstyle"]), mandoc(&["-Tascii", "-Owidth=100"]));
        std::fs::remove_file(&path).unwrap();
        // Bold and underlined letters are letters struck twice.
        let plain = read.1.split('\u{8}').collect::<Vec<_>>();
        let last = plain.last().copied().unwrap_or_default();
        let text: String = plain[..plain.len() - 1].iter().map(|piece| &piece[..piece.len() - 1]).collect();
        (read.0, text + last)
    }

    fn flags() -> Result<Vec<Flag>> {
        options::load(&Workspace::load()?)
    }

    #[test]
    fn mandoc_finds_nothing_wrong_and_shows_every_option_with_its_example() {
        let flags = flags().unwrap();
        let (complaints, text) = read(&page(&flags));
        // It looks for other manuals on this machine, where they need not be.
        let complaints: Vec<_> =
            complaints.lines().filter(|line| !line.contains("referenced manual not found")).collect();
        assert!(complaints.is_empty(), "{complaints:#?}");
        for flag in flags {
            assert!(text.contains(&flag.example), "{}\n{text}", flag.example);
            for spelling in flag.spellings() {
                assert!(text.contains(&spelling), "{spelling}\n{text}");
            }
        }
    }

    #[test]
    fn mandoc_does_complain() {
        let (complaints, _) = read(&page(&options::samples()).replace(".Sh NAME", ".Sg NAME"));
        assert!(complaints.contains("unknown macro"), "{complaints}");
    }

    #[test]
    fn options_are_typed_as_the_parser_reads_them() {
        let typed: Vec<_> = options::samples().iter().map(typed).collect();
        assert_eq!(typed[0], r"Fl o , Fl \-outfile Ar FILE");
        assert_eq!(typed[1], r"Fl \-net Cm auto | Cm nat | Cm proxy");
        assert_eq!(typed[5], r"Fl \-doctor Ns Op = Ns Cm text | Cm json");
        assert_eq!(typed[6], r"Fl q , Fl \-quiet");
    }
}
