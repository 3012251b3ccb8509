//! What Wireshark wants: its arguments, which are not for people and no part of the table of flags.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use lexopt::Arg;
use nsntrace_pcapwriter::Format;

use super::words;
use crate::failure::Failure;
use crate::flags::{self, Options};

/// A call of Wireshark's.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// What can be captured from?
    Interfaces,
    /// What do its packets begin with?
    Dlts,
    /// What can be chosen?
    Config,
    /// Is this filter right?
    Check(String),
    /// Capture.
    Capture(Box<Capture>),
}

/// A capture as Wireshark wants it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Capture {
    /// Where it reads.
    pub(super) fifo: PathBuf,
    /// Where the program's words go.
    pub(super) output: Option<PathBuf>,
    pub(super) options: Options,
}

/// Whether it is Wireshark that calls.
pub(crate) fn is_call<'a>(mut arguments: impl Iterator<Item = &'a OsStr>) -> bool {
    // The first decides: behind a program's name anything may come.
    arguments
        .next()
        .and_then(OsStr::to_str)
        .is_some_and(|word| word == "--capture" || word.starts_with("--extcap-"))
}

/// What a call is about; one without any is about a filter.
#[derive(Clone, Copy)]
enum Kind {
    Interfaces,
    Dlts,
    Config,
    Capture,
}

/// What was read so far.
#[derive(Default)]
struct Wishes {
    kind: Option<Kind>,
    interface: Option<String>,
    filter: Option<String>,
    fifo: Option<PathBuf>,
    command: Option<String>,
    output: Option<PathBuf>,
    options: Options,
}

impl Call {
    pub(super) fn read(arguments: impl Iterator<Item = OsString>) -> Result<Self, Failure> {
        let mut wishes = Wishes::default();
        let mut parser = lexopt::Parser::from_args(arguments);
        let refused = |error: lexopt::Error| {
            Failure::new(format!("cannot read what Wireshark wants: {}", flags::said(&error)))
        };
        wishes.read(&mut parser).map_err(refused)?;
        wishes.call()
    }
}

impl Wishes {
    fn read(&mut self, parser: &mut lexopt::Parser) -> Result<(), lexopt::Error> {
        while let Some(argument) = parser.next()? {
            let Arg::Long(name) = argument else { return Err(argument.unexpected()) };
            match name {
                "extcap-interfaces" => self.kind = Some(Kind::Interfaces),
                "extcap-dlts" => self.kind = Some(Kind::Dlts),
                "extcap-config" => self.kind = Some(Kind::Config),
                "capture" => self.kind = Some(Kind::Capture),
                "extcap-interface" => self.interface = Some(parser.value()?.into_string()?),
                "extcap-capture-filter" => self.filter = Some(parser.value()?.into_string()?),
                "fifo" => self.fifo = Some(parser.value()?.into()),
                "command" => self.command = Some(parser.value()?.into_string()?),
                "output" => self.output = Some(parser.value()?.into()).filter(|path: &PathBuf| path != ""),
                "extcap-version" | "extcap-reload-option" | "extcap-control-in" | "extcap-control-out" => {
                    parser.value()?;
                }
                _ => {
                    let name = name.to_owned();
                    self.option(&name, parser)?;
                }
            }
        }
        Ok(())
    }

    /// A field that is an option of ours.
    fn option(&mut self, name: &str, parser: &mut lexopt::Parser) -> Result<(), lexopt::Error> {
        if !super::sentences::FIELDS.iter().any(|field| field.call == name) {
            return Err(Arg::Long(name).unexpected());
        }
        flags::set(&mut self.options, name, parser)
    }

    fn call(self) -> Result<Call, Failure> {
        match self.interface.as_deref() {
            Some(INTERFACE) => {}
            Some(other) => return Err(Failure::new(format!("there is no interface '{other}' here"))),
            None if matches!(self.kind, Some(Kind::Interfaces)) => {}
            None => return Err(Failure::new("Wireshark has not said which interface it means")),
        }
        match self.kind {
            Some(Kind::Interfaces) => Ok(Call::Interfaces),
            Some(Kind::Dlts) => Ok(Call::Dlts),
            Some(Kind::Config) => Ok(Call::Config),
            Some(Kind::Capture) => self.capture().map(|capture| Call::Capture(Box::new(capture))),
            None => Ok(Call::Check(self.filter.unwrap_or_default())),
        }
    }

    fn capture(self) -> Result<Capture, Failure> {
        let fifo = self.fifo.ok_or_else(|| Failure::new("Wireshark has not said where it reads packets"))?;
        let mut words = words::split(self.command.as_deref().unwrap_or_default())?.into_iter();
        let program = words.next().ok_or_else(|| {
            Failure::new("no command to run")
                .hint("write one into the field Command, behind the wheel before the interface")
        })?;
        let filter = self.filter.filter(|filter| !filter.is_empty());
        let options = Options {
            program: program.into(),
            arguments: words.map(OsString::from).collect(),
            filter,
            format: Some(Format::PcapNg),
            quiet: true,
            is_hosted: true,
            ..self.options
        };
        Ok(Capture { fifo, output: self.output, options })
    }
}

/// What we are called in Wireshark's list.
pub(super) const INTERFACE: &str = "nsntrace";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Transport;

    fn read(words: &[&str]) -> Result<Call, Failure> {
        Call::read(words.iter().map(OsString::from))
    }

    fn capture(words: &[&str]) -> Capture {
        let begin = ["--capture", "--extcap-interface", "nsntrace", "--fifo", "/tmp/f"];
        match read(&[begin.as_slice(), words].concat()) {
            Ok(Call::Capture(capture)) => *capture,
            other => panic!("{words:?}: {other:?}"),
        }
    }

    #[test]
    fn wireshark_is_known_by_its_first_word() {
        let is = |word: &'static str| is_call([OsStr::new(word), OsStr::new("x")].into_iter());
        assert!(is("--extcap-interfaces") && is("--extcap-interface=x") && is("--capture"));
        assert!(!is("curl") && !is("-q") && !is("--count"));
        assert!(!is_call([].into_iter()));
    }

    #[test]
    fn questions_are_told_apart() {
        assert_eq!(read(&["--extcap-interfaces", "--extcap-version=4.0"]).unwrap(), Call::Interfaces);
        assert_eq!(read(&["--extcap-interface=nsntrace", "--extcap-dlts"]).unwrap(), Call::Dlts);
        assert_eq!(read(&["--extcap-config", "--extcap-interface", "nsntrace"]).unwrap(), Call::Config);
        let check = ["--extcap-capture-filter", "tcp", "--extcap-interface", "nsntrace"];
        assert_eq!(read(&check).unwrap(), Call::Check("tcp".into()));
    }

    #[test]
    fn a_capture_is_a_trace_with_the_options_of_its_fields() {
        let got = capture(&[
            "--extcap-capture-filter",
            "udp",
            "--command",
            "curl -s 'a b'",
            "--net",
            "proxy",
            "--tls-keys",
        ]);
        assert_eq!((got.fifo, got.output), (PathBuf::from("/tmp/f"), None));
        let options = got.options;
        assert_eq!(options.program, "curl");
        assert_eq!(options.arguments, ["-s", "a b"]);
        assert_eq!((options.filter.as_deref(), options.net), (Some("udp"), Some(Transport::Proxy)));
        assert!(options.tls_keys && options.quiet && options.is_hosted);
        assert_eq!(
            capture(&["--command=x", "--output", "", "--extcap-capture-filter="]).options.filter,
            None
        );
        assert_eq!(capture(&["--command=x", "--output=o"]).output, Some(PathBuf::from("o")));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |words: &[&str], why: &str| {
            let failure = read(words).unwrap_err();
            assert!(failure.to_string().contains(why), "{words:?}: {failure}");
        };
        refused(&["--extcap-dlts", "--extcap-interface=eth0"], "no interface 'eth0'");
        refused(&["--extcap-dlts"], "which interface");
        refused(&["--capture", "--extcap-interface=nsntrace"], "where it reads");
        refused(&["--capture", "--extcap-interface=nsntrace", "--fifo=f"], "no command");
        refused(
            &["--capture", "--extcap-interface=nsntrace", "--fifo=f", "--command=x", "--net=up"],
            "none of auto",
        );
        // No field, though an option.
        refused(&["--capture", "--direct"], "direct");
    }
}
