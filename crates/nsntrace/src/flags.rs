//! The command line.
//!
//! What was typed becomes [`Options`]; what it means on this machine is found out by `plan`. Parsing stops at the program's name.

mod flag;
mod quantity;
mod table;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lexopt::Arg;
use nsntrace_capture::DEFAULT_BUFFER;
use nsntrace_pcapwriter::{Compression, Format, MAX_SNAPLEN};

pub(crate) use self::flag::{Effect, Flag, Group};
pub(crate) use self::table::FLAGS;
use crate::doctor::Form;
use nsntrace_report::{Expectation, ExpectationError};

use crate::failure::Failure;
use crate::text_file::STDERR;
use crate::transport::Transport;

/// What the user asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Trace a program.
    Trace(Options),
    /// Say what works on this host.
    Doctor(Form),
    /// Print the program that a filter is compiled to.
    DumpFilter(Options, String),
    /// Have Wireshark find us, in this folder, or where it looks if none was typed.
    InstallExtcap(OsString),
    /// Print the help text.
    Help,
    /// Print name and version.
    Version,
}

/// A trace as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one for each switch that can be typed")]
pub(crate) struct Options {
    /// Where packets go, if it was typed.
    pub(crate) outfile: Option<PathBuf>,
    /// The format, if the file's name is not to decide.
    pub(crate) format: Option<Format>,
    pub(crate) device: Option<String>,
    pub(crate) filter: Option<String>,
    pub(crate) user: Option<String>,
    /// How packets get to the world, if the user has a say in it.
    pub(crate) net: Option<Transport>,
    /// Never past a firewall that drops.
    pub(crate) respect_firewall: bool,
    /// Where the report goes, as JSON.
    pub(crate) report: Option<PathBuf>,
    /// Where a line for each packet goes.
    pub(crate) print: Option<PathBuf>,
    /// Show how much has been recorded, while the terminal is nobody else's.
    pub(crate) progress: bool,
    /// Have the program log its TLS keys, and write them down.
    pub(crate) tls_keys: bool,
    /// What is found out about the processes that packets are of.
    pub(crate) process_info: ProcessInfo,
    /// Whom the program may talk to; with none, anybody.
    pub(crate) expected: Vec<Expectation>,
    /// Whom it may not.
    pub(crate) denied: Vec<Expectation>,
    pub(crate) use_public_dns: bool,
    pub(crate) wait_all: bool,
    pub(crate) quiet: bool,
    /// Packets go to a Wireshark that we open.
    pub(crate) wireshark: bool,
    /// Wireshark has started us and will stop us.
    pub(crate) is_hosted: bool,
    /// Past the page cache.
    pub(crate) direct: bool,
    /// Frames as they would be on a wire.
    pub(crate) no_offload: bool,
    /// Bytes of a packet that are recorded at most.
    pub(crate) snaplen: u32,
    /// The size of the ring, in bytes.
    pub(crate) buffer: u64,
    /// How long closing connections are waited for.
    pub(crate) linger: Duration,
    pub(crate) limits: Limits,
    pub(crate) rotation: Rotation,
    /// The form of `--dump-filter`, empty where none was typed.
    pub(crate) dump_filter: Option<String>,
    pub(crate) linktype: Option<String>,
    pub(crate) live: bool,
    pub(crate) doctor: Option<Form>,
    /// The folder of `--install-extcap`, empty where none was typed.
    pub(crate) install_extcap: Option<OsString>,
    pub(crate) program: OsString,
    pub(crate) arguments: Vec<OsString>,
}

/// How much is said of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProcessInfo {
    /// Nothing.
    None,
    /// Names and paths.
    Names,
    /// Command lines, too, which may hold secrets.
    Full,
}

impl ProcessInfo {
    pub(crate) fn is_wanted(self) -> bool {
        self != Self::None
    }

    pub(crate) fn has_command_lines(self) -> bool {
        self == Self::Full
    }
}

/// Where the recording ends, if not with the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// After so many packets.
    pub(crate) count: Option<u64>,
    /// After so much time.
    pub(crate) duration: Option<Duration>,
}

/// When a new file is begun, and how many there are at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rotation {
    /// When a file has so many bytes.
    pub(crate) size: Option<u64>,
    /// When a file has been written to for so long.
    pub(crate) time: Option<Duration>,
    /// How many of the newest files are kept.
    pub(crate) keep: Option<usize>,
}

impl Rotation {
    pub(crate) fn is_on(self) -> bool {
        self.size.is_some() || self.time.is_some()
    }
}

impl Options {
    /// Where packets go.
    pub(crate) fn outfile(&self) -> &Path {
        self.outfile.as_deref().unwrap_or(Path::new(DEFAULT_OUTFILE))
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            outfile: None,
            format: None,
            device: None,
            filter: None,
            user: None,
            net: None,
            respect_firewall: false,
            report: None,
            print: None,
            progress: false,
            tls_keys: false,
            process_info: ProcessInfo::Names,
            expected: Vec::new(),
            denied: Vec::new(),
            use_public_dns: false,
            wait_all: false,
            quiet: false,
            wireshark: false,
            is_hosted: false,
            direct: false,
            no_offload: false,
            snaplen: MAX_SNAPLEN,
            buffer: DEFAULT_BUFFER,
            linger: DEFAULT_LINGER,
            limits: Limits::default(),
            rotation: Rotation::default(),
            dump_filter: None,
            linktype: None,
            live: false,
            doctor: None,
            install_extcap: None,
            program: OsString::new(),
            arguments: Vec::new(),
        }
    }
}

/// Reads a command line, the command's own name left out.
pub(crate) fn parse<I>(arguments: I) -> Result<Request, Failure>
where
    I: IntoIterator,
    I::Item: Into<OsString>,
{
    let mut parser = lexopt::Parser::from_args(arguments);
    let refused = |error: lexopt::Error| {
        Failure::new(format!("cannot read the command line: {}", said(&error))).hint("see nsntrace --help")
    };
    read(&mut parser).map_err(refused)
}

/// The error in words. What was typed is quoted as elsewhere.
pub(crate) fn said(error: &lexopt::Error) -> String {
    match error {
        lexopt::Error::UnexpectedArgument(value) => format!("unexpected argument '{}'", value.display()),
        lexopt::Error::UnexpectedValue { option, value } => {
            format!("unexpected argument for option '{option}': '{}'", value.display())
        }
        lexopt::Error::NonUnicodeValue(value) => {
            format!("argument is invalid unicode: '{}'", value.display())
        }
        lexopt::Error::ParsingFailed { value, error } => format!("cannot parse argument '{value}': {error}"),
        error => error.to_string(),
    }
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
        if let Effect::Instead(request) = flag.effect {
            return Ok(request());
        }
        take(flag, &mut options, parser)?;
    }
    request(options)
}

/// Does what a long flag does, its value to be read from `parser`.
pub(crate) fn set(
    options: &mut Options,
    long: &str,
    parser: &mut lexopt::Parser,
) -> Result<(), lexopt::Error> {
    let argument = Arg::Long(long);
    let flag = flag_of(&argument).ok_or_else(|| argument.unexpected())?;
    take(flag, options, parser)
}

fn take(flag: &Flag, options: &mut Options, parser: &mut lexopt::Parser) -> Result<(), lexopt::Error> {
    match &flag.effect {
        Effect::Switch(switch_on) => switch_on(options),
        Effect::Value(_, set) => {
            let value = parser.value()?;
            set(options, value).map_err(|error| of_flag(flag, &error))?;
        }
        Effect::OptionalValue(_, set) => {
            set(options, parser.optional_value()).map_err(|error| of_flag(flag, &error))?;
        }
        Effect::Instead(_) => {}
    }
    Ok(())
}

fn of_flag(flag: &Flag, error: &lexopt::Error) -> lexopt::Error {
    format!("--{}: {}", flag.long, said(error)).into()
}

/// What a whole command line asks for.
fn request(mut options: Options) -> Result<Request, lexopt::Error> {
    if let Some(form) = options.doctor {
        return Ok(Request::Doctor(form));
    }
    if let Some(folder) = options.install_extcap {
        return Ok(Request::InstallExtcap(folder));
    }
    if let Some(form) = options.dump_filter.clone() {
        return Ok(Request::DumpFilter(options, form));
    }
    if options.live || options.linktype.is_some() {
        return Err("--live and --linktype are for --dump-filter".into());
    }
    if options.rotation.keep.is_some() && !options.rotation.is_on() {
        return Err("-W keeps the newest of several files, which -C or -G make".into());
    }
    if options.direct && Compression::of_path(options.outfile()) != Compression::None {
        return Err("--direct is for files that are not compressed".into());
    }
    let is_on_terminal = |print: &PathBuf| [STDERR, "/dev/tty"].iter().any(|path| print == Path::new(path));
    if options.progress && options.print.as_ref().is_some_and(is_on_terminal) {
        return Err(PROGRESS_ALONE.into());
    }
    if options.wireshark {
        let is_file_named = options.outfile.is_some() || options.rotation.is_on() || options.direct;
        if is_file_named {
            return Err(WIRESHARK_ALONE.into());
        }
        options.format = options.format.or(Some(Format::PcapNg));
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

/// A transport by its name; `None` for the one that fits.
fn transport(typed: &str) -> Result<Option<Transport>, lexopt::Error> {
    if typed == "auto" {
        return Ok(None);
    }
    let found = Transport::named(typed);
    found.map(Some).ok_or_else(|| format!("'{typed}' is none of auto, nat and proxy").into())
}

fn format(typed: &str) -> Result<Format, lexopt::Error> {
    match typed {
        "pcap" => Ok(Format::Pcap),
        "pcapng" => Ok(Format::PcapNg),
        _ => Err(format!("'{typed}' is neither pcap nor pcapng").into()),
    }
}

fn process_info(typed: &str) -> Result<ProcessInfo, lexopt::Error> {
    match typed {
        "none" => Ok(ProcessInfo::None),
        "names" => Ok(ProcessInfo::Names),
        "full" => Ok(ProcessInfo::Full),
        _ => Err(format!("'{typed}' is none of names, full and none").into()),
    }
}

/// Whom the report of `--doctor` is for.
fn form(typed: Option<OsString>) -> Result<Form, lexopt::Error> {
    let Some(typed) = typed else { return Ok(Form::Text) };
    let typed = text(typed)?;
    Form::named(&typed).ok_or_else(|| format!("'{typed}' is neither text nor json").into())
}

fn expectation(typed: &str) -> Result<Expectation, lexopt::Error> {
    typed.parse().map_err(|error: ExpectationError| error.to_string().into())
}

/// As text.
fn text(value: OsString) -> Result<String, lexopt::Error> {
    value.into_string().map_err(lexopt::Error::NonUnicodeValue)
}

const PROGRESS_ALONE: &str = "--progress is for a terminal on which lines of packets do not go: name a file for them, with --print=FILE";
const WIRESHARK_ALONE: &str =
    "--wireshark shows packets and writes no file; Wireshark can save them: leave out -o, -C, -G, --direct";
/// As the C tool names it.
const DEFAULT_OUTFILE: &str = "nsntrace.pcap";
/// As long as the C tool sleeps at its end; we only wait while there is something to wait for.
const DEFAULT_LINGER: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

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
        assert_eq!(got.outfile(), Path::new("nsntrace.pcap"));
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
        assert_eq!(got.outfile(), Path::new("x"));
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
        assert_eq!(options("-o x -o - true").outfile(), Path::new("-"));
    }

    #[test]
    fn wireshark_takes_pcapng_and_the_place_of_a_file() {
        let got = options("--wireshark true");
        assert!(got.wireshark);
        assert_eq!(got.format, Some(Format::PcapNg));
        assert_eq!(options("--wireshark --format pcap true").format, Some(Format::Pcap));
        for file in ["-o x", "-o -", "-C 1M", "-G 1m", "--direct"] {
            refused(&format!("--wireshark {file} true"), "leave out -o");
            refused(&format!("{file} --wireshark true"), "leave out -o");
        }
    }

    #[test]
    fn what_was_typed_is_quoted() {
        refused("--quiet=yes true", "unexpected argument for option '--quiet': 'yes'");
        let name = OsString::from_vec(b"caf\xe9".into());
        let failure = parse(["--expect".into(), name]).unwrap_err();
        assert!(failure.to_string().contains("argument is invalid unicode: 'caf\u{fffd}'"), "{failure}");
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
    fn quantities_are_read_with_their_units() {
        let got = options("-s 128 --buffer 64M -c 10 --duration 1m --linger 0.5 -C 10 -G 60 -W 3 true");
        assert_eq!((got.snaplen, got.buffer, got.linger), (128, 64 << 20, Duration::from_millis(500)));
        assert_eq!(got.limits, Limits { count: Some(10), duration: Some(Duration::from_mins(1)) });
        let rotation = Rotation { size: Some(10_000_000), time: Some(Duration::from_mins(1)), keep: Some(3) };
        assert_eq!(got.rotation, rotation);
        assert_eq!(options("-s 0 true").snaplen, 262_144);
        assert_eq!(options("-s 1000000 true").snaplen, 262_144);
        assert_eq!(options("-C 1M true").rotation.size, Some(1 << 20));
        refused("-c 0 true", "--count: '0'");
        refused("-W 3 true", "-C or -G");
        refused("--buffer 16Q true", "'16Q' is not a size");
        refused("--buffer 16 true", "16 bytes");
        refused("-G 0 true", "'0'");
        refused("--direct -o x.pcap.gz true", "not compressed");
    }

    #[test]
    fn a_transport_is_named_or_chosen() {
        assert_eq!(options("--net nat true").net, Some(Transport::Nat));
        assert_eq!(options("--net=proxy true").net, Some(Transport::Proxy));
        assert_eq!(options("--net nat --net auto true").net, None);
        refused("--net slirp true", "--net: 'slirp' is none of");
    }

    #[test]
    fn peers_are_expected_and_denied() {
        let got =
            options("--expect a.example --expect 192.0.2.0/24 --deny *.example:80 --report r.json true");
        assert_eq!((got.expected.len(), got.denied.len(), got.report), (2, 1, Some("r.json".into())));
        refused("--deny 300.0.0.1 true", "--deny: '300.0.0.1' is neither");
    }

    #[test]
    fn lines_go_to_standard_error_or_where_one_likes() {
        assert_eq!(options("true").print, None);
        assert_eq!(options("--print true").print, Some("/dev/stderr".into()));
        assert_eq!(options("--print=- true").print, Some("-".into()));
        assert_eq!(options("--print=x.txt true").print, Some("x.txt".into()));
    }

    #[test]
    fn progress_wants_a_terminal_without_lines() {
        assert!(!options("true").progress && options("--progress --print=x true").progress);
        for print in ["--print", "--print=/dev/stderr", "--print=/dev/tty"] {
            refused(&format!("--progress {print} true"), "--print=FILE");
        }
    }

    #[test]
    fn a_format_is_named_or_the_files_names() {
        assert_eq!(options("true").format, None);
        assert_eq!(options("--format pcapng -o - true").format, Some(Format::PcapNg));
        refused("--format ng true", "--format: 'ng' is neither");
    }

    #[test]
    fn the_doctor_needs_no_program_and_takes_a_form() {
        assert_eq!(parse(["--doctor"]).unwrap(), Request::Doctor(Form::Text));
        assert_eq!(parse(["--doctor=text"]).unwrap(), Request::Doctor(Form::Text));
        assert_eq!(parse(["-q", "--doctor=json"]).unwrap(), Request::Doctor(Form::Json));
        refused("--doctor=xml", "--doctor: 'xml' is neither text nor json");
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
