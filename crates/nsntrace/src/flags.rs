//! The command line: one table of flags that the parser, `--help` and later the man page are made from.
//!
//! What was typed becomes [`Options`]; what it means on this machine is found out by `plan`. Parsing stops at the program's name.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::Arg;

use crate::failure::Failure;

/// What the user asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Trace a program.
    Trace(Options),
    /// Print the program that a filter is compiled to.
    DumpFilter(Options, String),
    /// Print the help text.
    Help,
    /// Print name and version.
    Version,
}

/// A trace as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one for each switch that can be typed")]
pub(crate) struct Options {
    pub(crate) outfile: PathBuf,
    pub(crate) device: Option<String>,
    pub(crate) filter: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) use_public_dns: bool,
    pub(crate) wait_all: bool,
    pub(crate) quiet: bool,
    /// The form of `--dump-filter`, empty where none was typed.
    pub(crate) dump_filter: Option<String>,
    pub(crate) linktype: Option<String>,
    pub(crate) live: bool,
    pub(crate) program: OsString,
    pub(crate) arguments: Vec<OsString>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            outfile: DEFAULT_OUTFILE.into(),
            device: None,
            filter: None,
            user: None,
            use_public_dns: false,
            wait_all: false,
            quiet: false,
            dump_filter: None,
            linktype: None,
            live: false,
            program: OsString::new(),
            arguments: Vec::new(),
        }
    }
}

/// One flag: how it is typed, what it says of itself, what it does.
pub(crate) struct Flag {
    pub(crate) short: Option<char>,
    pub(crate) long: &'static str,
    pub(crate) effect: Effect,
    pub(crate) help: &'static str,
}

/// What a flag does to the options.
pub(crate) enum Effect {
    /// Switches something on.
    Switch(fn(&mut Options)),
    /// Takes a value, shown in the help under this name.
    Value(&'static str, fn(&mut Options, OsString) -> Result<(), lexopt::Error>),
    /// Takes a value if one is typed behind `=`.
    OptionalValue(&'static str, fn(&mut Options, Option<OsString>) -> Result<(), lexopt::Error>),
    /// Asks for something else than a trace.
    Instead(fn() -> Request),
}

/// Every flag, in the order of the help text.
pub(crate) const FLAGS: &[Flag] = &[
    Flag {
        short: Some('o'),
        long: "outfile",
        effect: Effect::Value("FILE", |options, file| {
            options.outfile = file.into();
            Ok(())
        }),
        help: "write packets to FILE [nsntrace.pcap]; pcapng when it ends in .pcapng; - is standard output",
    },
    Flag {
        short: Some('d'),
        long: "device",
        effect: Effect::Value("DEV", |options, device| {
            options.device = Some(text(device)?);
            Ok(())
        }),
        help: "let packets leave through DEV only [where the host's routes lead]",
    },
    Flag {
        short: Some('f'),
        long: "filter",
        effect: Effect::Value("EXPR", |options, filter| {
            options.filter = Some(text(filter)?);
            Ok(())
        }),
        help: "record only packets that match EXPR, in the language of pcap-filter(7)",
    },
    Flag {
        short: Some('u'),
        long: "user",
        effect: Effect::Value("USER", |options, user| {
            options.user = Some(text(user)?);
            Ok(())
        }),
        help: "run the program as USER or USER:GROUP, by name or number",
    },
    Flag {
        short: None,
        long: "use-public-dns",
        effect: Effect::Switch(|options| options.use_public_dns = true),
        help: "resolve names with public servers: 9.9.9.9, 1.1.1.1, 8.8.8.8, 208.67.222.222",
    },
    Flag {
        short: None,
        long: "wait-all",
        effect: Effect::Switch(|options| options.wait_all = true),
        help: "trace until the last process the program started has ended",
    },
    Flag {
        short: Some('q'),
        long: "quiet",
        effect: Effect::Switch(|options| options.quiet = true),
        help: "say nothing but errors and losses",
    },
    Flag {
        short: None,
        long: "dump-filter",
        effect: Effect::OptionalValue("FORM", |options, form| {
            options.dump_filter = Some(form.map_or(Ok(String::new()), text)?);
            Ok(())
        }),
        help: "print what -f is compiled to, as asm, c or dec [asm], and do nothing else",
    },
    Flag {
        short: None,
        long: "linktype",
        effect: Effect::Value("TYPE", |options, linktype| {
            options.linktype = Some(text(linktype)?);
            Ok(())
        }),
        help: "with --dump-filter: EN10MB, RAW, NULL, LINUX_SLL or LINUX_SLL2 [EN10MB]",
    },
    Flag {
        short: None,
        long: "live",
        effect: Effect::Switch(|options| options.live = true),
        help: "with --dump-filter: for a packet socket, as in a trace, not for a file",
    },
    Flag {
        short: Some('h'),
        long: "help",
        effect: Effect::Instead(|| Request::Help),
        help: "print this help",
    },
    Flag {
        short: Some('V'),
        long: "version",
        effect: Effect::Instead(|| Request::Version),
        help: "print the version",
    },
];

/// Reads a command line, the command's own name left out.
pub(crate) fn parse<I>(arguments: I) -> Result<Request, Failure>
where
    I: IntoIterator,
    I::Item: Into<OsString>,
{
    let mut parser = lexopt::Parser::from_args(arguments);
    let refused =
        |error| Failure::new(format!("cannot read the command line: {error}")).hint("see nsntrace --help");
    read(&mut parser).map_err(refused)
}

fn read(parser: &mut lexopt::Parser) -> Result<Request, lexopt::Error> {
    let mut options = Options::default();
    while let Some(argument) = parser.next()? {
        if let Arg::Value(program) = argument {
            options.program = program;
            options.arguments = parser.raw_args()?.collect();
            return request(options);
        }
        let flag = flag_of(&argument).ok_or_else(|| argument.unexpected())?;
        match &flag.effect {
            Effect::Switch(switch_on) => switch_on(&mut options),
            Effect::Value(_, set) => set(&mut options, parser.value()?)?,
            Effect::OptionalValue(_, set) => set(&mut options, parser.optional_value())?,
            Effect::Instead(request) => return Ok(request()),
        }
    }
    request(options)
}

/// What a whole command line asks for.
fn request(options: Options) -> Result<Request, lexopt::Error> {
    if let Some(form) = options.dump_filter.clone() {
        return Ok(Request::DumpFilter(options, form));
    }
    if options.live || options.linktype.is_some() {
        return Err("--live and --linktype are for --dump-filter".into());
    }
    if options.program.is_empty() && options.arguments.is_empty() {
        return Err("no program to trace".into());
    }
    Ok(Request::Trace(options))
}

fn flag_of(argument: &Arg<'_>) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| match argument {
        Arg::Short(short) => flag.short == Some(*short),
        Arg::Long(long) => flag.long == *long,
        Arg::Value(_) => false,
    })
}

fn text(value: OsString) -> Result<String, lexopt::Error> {
    value.into_string().map_err(lexopt::Error::NonUnicodeValue)
}

/// As the C tool names it.
const DEFAULT_OUTFILE: &str = "nsntrace.pcap";

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Options {
        match parse(line.split_whitespace()) {
            Ok(Request::Trace(options)) => options,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[track_caller]
    fn refused(line: &str, why: &str) {
        let failure = parse(line.split_whitespace()).unwrap_err();
        assert!(failure.to_string().contains(why), "{line}: {failure}");
    }

    #[test]
    fn the_defaults_are_the_c_tools() {
        let got = options("true");
        assert_eq!(got, Options { program: "true".into(), ..Options::default() });
        assert_eq!(got.outfile, PathBuf::from("nsntrace.pcap"));
    }

    #[test]
    fn short_and_long_mean_the_same() {
        let long = options("--outfile x --device up0 --filter tcp --user bob --quiet true");
        assert_eq!(options("-o x -d up0 -f tcp -u bob -q true"), long);
        assert_eq!(options("-ox -dup0 -ftcp -ubob -q true"), long);
        assert_eq!(options("--outfile=x --device=up0 --filter=tcp --user=bob --quiet true"), long);
        assert!(options("--use-public-dns true").use_public_dns);
        assert!(options("--wait-all true").wait_all);
    }

    #[test]
    fn everything_after_the_program_is_the_programs() {
        let got = options("-o x curl -o y --help -q -- z");
        assert_eq!(got.outfile, PathBuf::from("x"));
        assert_eq!(got.program, "curl");
        assert_eq!(got.arguments, ["-o", "y", "--help", "-q", "--", "z"]);
        assert!(!got.quiet);
    }

    #[test]
    fn two_dashes_end_our_options() {
        let got = options("-q -- -weird --name");
        assert_eq!((got.program, got.arguments), ("-weird".into(), vec!["--name".into()]));
    }

    #[test]
    fn the_last_of_two_wins_and_a_dash_is_a_value() {
        assert_eq!(options("-o x -o - true").outfile, PathBuf::from("-"));
    }

    #[test]
    fn help_and_version_need_no_program() {
        assert_eq!(parse(["-h"]).unwrap(), Request::Help);
        assert_eq!(parse(["-q", "--version", "--nonsense"]).unwrap(), Request::Version);
    }

    #[test]
    fn a_filter_can_be_dumped_without_a_program() {
        let (options, form) = match parse(["--dump-filter=c", "--live", "--linktype", "RAW", "-f", "tcp"]) {
            Ok(Request::DumpFilter(options, form)) => (options, form),
            other => panic!("{other:?}"),
        };
        assert_eq!((form.as_str(), options.live, options.linktype.as_deref()), ("c", true, Some("RAW")));
        assert!(
            matches!(parse(["-f", "tcp", "--dump-filter"]), Ok(Request::DumpFilter(_, form)) if form.is_empty())
        );
        refused("--live true", "--dump-filter");
    }

    #[test]
    fn what_is_wrong_is_named() {
        refused("", "no program to trace");
        refused("-q", "no program to trace");
        refused("--bogus true", "--bogus");
        refused("-x true", "-x");
        refused("--quiet=yes true", "yes");
        refused("-o", "missing argument");
    }
}
