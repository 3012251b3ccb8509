//! Capture filters: the text of `-f` to a program for the kernel, with the names of this machine.

use std::fmt::Display;
use std::fs;

use nsntrace_capture::{Insn, MAX_FILTER_INSNS, everything};
use nsntrace_filter::{ErrorKind, FilterError, Program, Source, Span, Tables, compile};

use crate::failure::Failure;
use crate::flags::Options;

/// The program for a trace's packet socket: what `-f` says, or everything.
pub(crate) fn for_trace(options: &Options) -> Result<Vec<Insn>, Failure> {
    let Some(text) = &options.filter else { return Ok(everything(options.snaplen)) };
    let program = compiled(text, &nsntrace_filter::Options { source: Source::Live, ..common(options) })?;
    let insn = |insn: &nsntrace_filter::Insn| Insn { code: insn.code, jt: insn.jt, jf: insn.jf, k: insn.k };
    Ok(program.insns().iter().map(insn).collect())
}

/// What `--dump-filter` prints.
pub(crate) fn dump(options: &Options, form: &str) -> Result<String, Failure> {
    let link_type = match &options.linktype {
        Some(name) => name.parse().map_err(|error| Failure::of("cannot dump the filter", &error))?,
        None => nsntrace_filter::LinkType::Ethernet,
    };
    let source = if options.live { Source::Live } else { Source::Unknown };
    let text = options.filter.as_deref().unwrap_or_default();
    let program = compiled(text, &nsntrace_filter::Options { link_type, source, ..common(options) })?;
    match form {
        "" | "asm" => Ok(program.asm().to_string()),
        "c" => Ok(program.c().to_string()),
        "dec" => Ok(program.dec().to_string()),
        _ => Err(Failure::new(format!("unknown form '{form}' for --dump-filter"))
            .hint("asm prints what tcpdump -d does, c what -dd, dec what -ddd")),
    }
}

/// Compiles a filter. One for a live socket must leave room for what a trace adds to it.
fn compiled(text: &str, options: &nsntrace_filter::Options) -> Result<Program, Failure> {
    let refused = |message: &dyn Display, error: &FilterError| {
        Failure::new(format!("bad filter: {message}")).excerpt(error.excerpt(text).to_string())
    };
    let program = compile(text, options, &names()).map_err(|error| refused(&error, &error))?;
    let count = program.insns().len();
    if options.source == Source::Live && count > MAX_FILTER_INSNS {
        let message =
            format!("it takes {count} instructions, and the kernel has room for {MAX_FILTER_INSNS}");
        let whole = FilterError { span: Span { start: 0, end: text.len() }, kind: ErrorKind::TooLong(count) };
        return Err(refused(&message, &whole));
    }
    Ok(program)
}

fn common(options: &Options) -> nsntrace_filter::Options {
    nsntrace_filter::Options { snaplen: options.snaplen, ..nsntrace_filter::Options::default() }
}

/// The names of this machine. A file that cannot be read has none.
fn names() -> Tables {
    let text = |path: &str| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
    Tables::new()
        .services(&text("/etc/services"))
        .protocols(&text("/etc/protocols"))
        .networks(&text("/etc/networks"))
        .hosts(&text("/etc/hosts"))
        .ethers(&text("/etc/ethers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(filter: &str) -> Options {
        Options { filter: Some(filter.into()), ..Options::default() }
    }

    #[test]
    fn a_filter_becomes_a_program_and_none_takes_everything() {
        assert_eq!(for_trace(&Options::default()).unwrap().len(), 1);
        assert!(for_trace(&options("tcp port 80")).unwrap().len() > 5);
    }

    #[test]
    fn an_error_points_at_its_place() {
        let failure = for_trace(&options("tcp port htp or icmp")).unwrap_err();
        assert_eq!(failure.message, "bad filter: unknown port name 'htp'");
        assert_eq!(failure.excerpt.unwrap().trim_end(), "  tcp port htp or icmp\n           ^^^");
    }

    #[test]
    fn a_program_that_the_kernel_has_no_room_for_is_refused() {
        let hosts: Vec<_> = (0..3000).map(|n| format!("host 10.{}.{}.7", n / 200, n % 200)).collect();
        let failure = for_trace(&options(&hosts.join(" or "))).unwrap_err();
        assert!(failure.message.starts_with("bad filter: "), "{failure}");
        let excerpt = failure.excerpt.unwrap();
        assert_eq!(excerpt.lines().nth(1), Some(format!("  {}", "^".repeat(100)).as_str()), "{excerpt}");
    }

    #[test]
    fn the_dump_of_a_live_filter_has_the_room_that_a_trace_has() {
        // One instruction each, and a jump where the end is out of reach.
        let tests: Vec<_> = (0..4075).map(|n| format!("ether[0:4] = {n}")).collect();
        let dead = options(&tests.join(" or "));
        let length = dump(&dead, "dec").unwrap().lines().next().unwrap().parse::<usize>().unwrap();
        assert!((MAX_FILTER_INSNS + 1..=4096).contains(&length), "{length}");
        let live = Options { live: true, ..dead };
        let (dumped, traced) = (dump(&live, "").unwrap_err(), for_trace(&live).unwrap_err());
        let message = format!("bad filter: it takes {length} instructions, and the kernel has room for 4090");
        assert_eq!(dumped.message, message);
        assert_eq!((dumped.message, dumped.excerpt), (traced.message, traced.excerpt));
    }

    #[test]
    fn what_rejects_everything_is_shown() {
        let failure = for_trace(&options("ip and ip6")).unwrap_err();
        assert_eq!(failure.message, "bad filter: expression rejects all packets");
        assert_eq!(failure.excerpt.unwrap().trim_end(), "  ip and ip6\n  ^^^^^^^^^^");
    }

    #[test]
    fn the_forms_are_tcpdumps() {
        assert!(dump(&options("tcp"), "").unwrap().starts_with("(000) ldh"));
        assert!(dump(&options("tcp"), "c").unwrap().starts_with("{ 0x28, 0, 0, 0x0000000c },"));
        assert!(dump(&options("tcp"), "x").unwrap_err().hint.is_some());
        let raw = Options { linktype: Some("RAW".into()), ..options("tcp") };
        assert!(dump(&raw, "dec").is_ok());
    }
}
