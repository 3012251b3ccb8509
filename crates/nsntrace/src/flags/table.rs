//! One table of flags that the parser, `--help` and later the man page are made from.

use std::ffi::OsString;

use super::{Options, Request, form, quantity, text, transport};

/// One flag: how it is typed, what it says of itself, what it does.
pub(crate) struct Flag {
    pub(crate) short: Option<char>,
    pub(crate) long: &'static str,
    pub(crate) group: Group,
    pub(crate) effect: Effect,
    pub(crate) help: &'static str,
}

/// What a flag is about: a heading of the help text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// What is recorded.
    Packets,
    /// Where it goes.
    Files,
    /// What is found out about packets.
    Meaning,
    /// What is run, and in what network.
    Program,
    /// The rest.
    Other,
}

impl Group {
    /// All, in the order of the help text.
    pub(crate) const ALL: [Self; 5] = [Self::Packets, Self::Files, Self::Meaning, Self::Program, Self::Other];

    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::Packets => "Packets",
            Self::Files => "Files",
            Self::Meaning => "Explanation and report",
            Self::Program => "Program and network",
            Self::Other => "Other",
        }
    }
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
        short: Some('f'),
        long: "filter",
        group: Group::Packets,
        effect: Effect::Value("EXPR", |options, filter| {
            options.filter = Some(text(filter)?);
            Ok(())
        }),
        help: "record only packets that match EXPR, in the language of pcap-filter(7)",
    },
    Flag {
        short: Some('s'),
        long: "snaplen",
        group: Group::Packets,
        effect: Effect::Value("BYTES", |options, bytes| {
            options.snaplen = quantity::snaplen(&text(bytes)?)?;
            Ok(())
        }),
        help: "record at most BYTES of each packet [262144]",
    },
    Flag {
        short: Some('c'),
        long: "count",
        group: Group::Packets,
        effect: Effect::Value("COUNT", |options, count| {
            options.limits.count = Some(quantity::count(&text(count)?)?);
            Ok(())
        }),
        help: "stop recording after COUNT packets; the program goes on",
    },
    Flag {
        short: None,
        long: "duration",
        group: Group::Packets,
        effect: Effect::Value("TIME", |options, time| {
            options.limits.duration = Some(quantity::time(&text(time)?)?);
            Ok(())
        }),
        help: "stop recording after TIME: seconds, or 1.5s, 10m, 2h, 1d",
    },
    Flag {
        short: None,
        long: "linger",
        group: Group::Packets,
        effect: Effect::Value("TIME", |options, time| {
            options.linger = quantity::time_or_none(&text(time)?)?;
            Ok(())
        }),
        help: "wait at most TIME for TCP connections that still close [2s]",
    },
    Flag {
        short: Some('B'),
        long: "buffer",
        group: Group::Packets,
        effect: Effect::Value("SIZE", |options, size| {
            options.buffer = quantity::buffer(&text(size)?)?;
            Ok(())
        }),
        help: "room for packets that wait to be written, as 4M, 64M, 1G [16M]",
    },
    Flag {
        short: Some('o'),
        long: "outfile",
        group: Group::Files,
        effect: Effect::Value("FILE", |options, file| {
            options.outfile = file.into();
            Ok(())
        }),
        help: "write to FILE [nsntrace.pcap]; *.pcapng is pcapng, *.gz compressed, - standard output",
    },
    Flag {
        short: None,
        long: "format",
        group: Group::Files,
        effect: Effect::Value("FORMAT", |options, format| {
            options.format = Some(super::format(&text(format)?)?);
            Ok(())
        }),
        help: "write pcap or pcapng, whatever FILE is called",
    },
    Flag {
        short: Some('C'),
        long: "file-size",
        group: Group::Files,
        effect: Effect::Value("SIZE", |options, size| {
            options.rotation.size = Some(quantity::file_size(&text(size)?)?);
            Ok(())
        }),
        help: "begin a new file FILE_00002_TIME at SIZE: millions of bytes, or 512K, 64M, 1G",
    },
    Flag {
        short: Some('G'),
        long: "file-time",
        group: Group::Files,
        effect: Effect::Value("TIME", |options, time| {
            options.rotation.time = Some(quantity::time(&text(time)?)?);
            Ok(())
        }),
        help: "begin a new file every TIME; FILE may have conversions of strftime(3)",
    },
    Flag {
        short: Some('W'),
        long: "file-count",
        group: Group::Files,
        effect: Effect::Value("COUNT", |options, count| {
            options.rotation.keep = Some(quantity::file_count(&text(count)?)?);
            Ok(())
        }),
        help: "keep the newest COUNT of those files",
    },
    Flag {
        short: None,
        long: "direct",
        group: Group::Files,
        effect: Effect::Switch(|options| options.direct = true),
        help: "write past the page cache (O_DIRECT) always, not only at high rates",
    },
    Flag {
        short: None,
        long: "tls-keys",
        group: Group::Meaning,
        effect: Effect::Switch(|options| options.tls_keys = true),
        help: "have the program log its TLS keys, and write them into the pcapng, mode 0600",
    },
    Flag {
        short: None,
        long: "report",
        group: Group::Meaning,
        effect: Effect::Value("FILE", |options, file| {
            options.report = Some(file.into());
            Ok(())
        }),
        help: "write who was talked to into FILE, as JSON; - for standard output",
    },
    Flag {
        short: None,
        long: "expect",
        group: Group::Meaning,
        effect: Effect::Value("PEER", |options, peer| {
            options.expected.push(super::expectation(&text(peer)?)?);
            Ok(())
        }),
        help: "exit with 124 if others are talked to: NAME, *.NAME, ADDRESS, NETWORK/BITS, each with :PORT",
    },
    Flag {
        short: None,
        long: "deny",
        group: Group::Meaning,
        effect: Effect::Value("PEER", |options, peer| {
            options.denied.push(super::expectation(&text(peer)?)?);
            Ok(())
        }),
        help: "exit with 124 if PEER is talked to, or asked for",
    },
    Flag {
        short: Some('d'),
        long: "device",
        group: Group::Program,
        effect: Effect::Value("DEV", |options, device| {
            options.device = Some(text(device)?);
            Ok(())
        }),
        help: "let packets leave through DEV only [where the host's routes lead]",
    },
    Flag {
        short: Some('u'),
        long: "user",
        group: Group::Program,
        effect: Effect::Value("USER", |options, user| {
            options.user = Some(text(user)?);
            Ok(())
        }),
        help: "run the program as USER or USER:GROUP, by name or number",
    },
    Flag {
        short: None,
        long: "net",
        group: Group::Program,
        effect: Effect::Value("HOW", |options, how| {
            options.net = transport(&text(how)?)?;
            Ok(())
        }),
        help: "reach the network by nat, for which one must be root, or by proxy [auto: what fits]",
    },
    Flag {
        short: None,
        long: "respect-firewall",
        group: Group::Program,
        effect: Effect::Switch(|options| options.respect_firewall = true),
        help: "where the firewall drops forwarded packets, do not go past it: by proxy only",
    },
    Flag {
        short: None,
        long: "use-public-dns",
        group: Group::Program,
        effect: Effect::Switch(|options| options.use_public_dns = true),
        help: "resolve names with public servers: 9.9.9.9, 1.1.1.1, 8.8.8.8, 208.67.222.222",
    },
    Flag {
        short: None,
        long: "wait-all",
        group: Group::Program,
        effect: Effect::Switch(|options| options.wait_all = true),
        help: "trace until the last process the program started has ended",
    },
    Flag {
        short: None,
        long: "no-offload",
        group: Group::Program,
        effect: Effect::Switch(|options| options.no_offload = true),
        help: "frames as on a wire: right checksums, none longer than the MTU; slower",
    },
    Flag {
        short: Some('q'),
        long: "quiet",
        group: Group::Other,
        effect: Effect::Switch(|options| options.quiet = true),
        help: "say nothing but errors and losses",
    },
    Flag {
        short: None,
        long: "dump-filter",
        group: Group::Other,
        effect: Effect::OptionalValue("FORM", |options, form| {
            options.dump_filter = Some(form.map_or(Ok(String::new()), text)?);
            Ok(())
        }),
        help: "print what -f is compiled to, as asm, c or dec [asm], and do nothing else",
    },
    Flag {
        short: None,
        long: "linktype",
        group: Group::Other,
        effect: Effect::Value("TYPE", |options, linktype| {
            options.linktype = Some(text(linktype)?);
            Ok(())
        }),
        help: "with --dump-filter: EN10MB, RAW, NULL, LINUX_SLL or LINUX_SLL2 [EN10MB]",
    },
    Flag {
        short: None,
        long: "live",
        group: Group::Other,
        effect: Effect::Switch(|options| options.live = true),
        help: "with --dump-filter: for a packet socket, as in a trace, not for a file",
    },
    Flag {
        short: None,
        long: "doctor",
        group: Group::Other,
        effect: Effect::OptionalValue("FORM", |options, typed| {
            options.doctor = Some(form(typed)?);
            Ok(())
        }),
        help: "say what works on this host and what is missing, as text or json [text]",
    },
    Flag {
        short: Some('h'),
        long: "help",
        group: Group::Other,
        effect: Effect::Instead(|| Request::Help),
        help: "print this help",
    },
    Flag {
        short: Some('V'),
        long: "version",
        group: Group::Other,
        effect: Effect::Instead(|| Request::Version),
        help: "print the version",
    },
];
