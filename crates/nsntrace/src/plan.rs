//! What was typed, checked against this machine. Nothing has been touched when a plan is refused.

use std::cell::RefCell;

use nsntrace_capture::Insn;
use nsntrace_link::{IfName, Link, RouteSocket};
use nsntrace_pcapwriter::Format;

use crate::failure::Failure;
use crate::filter;
use crate::flags::Options;
use crate::keylog::Keylog;
use crate::lines::LinesFile;
use crate::nameservice::NameService;
use crate::outfile::{Outfile, Privacy};
use crate::program;
use crate::text_file::TextFile;
use crate::transport::{self, Transport};
use crate::user::Identity;
use crate::wireshark::Wireshark;

/// A trace that can be made as far as one can know without making it.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) options: Options,
    /// What the packet socket is to run.
    pub(crate) filter: Vec<Insn>,
    pub(crate) user: Option<Identity>,
    pub(crate) name_service: NameService,
    pub(crate) transport: Transport,
    /// We lack the capabilities that it takes, and get them in a user namespace.
    pub(crate) needs_user_namespace: bool,
    /// The link of `--device`.
    pub(crate) device: Option<Link>,
    /// What `--tls-keys` takes.
    pub(crate) keylog: Option<Keylog>,
    /// What `--wireshark` takes.
    pub(crate) wireshark: Option<Wireshark>,
    pub(crate) outfile: Outfile,
    /// What `--report` names. Worker's from the moment at which it takes it.
    pub(crate) report: RefCell<Option<TextFile>>,
    /// What `--print` names.
    pub(crate) lines: Option<LinesFile>,
}

impl Plan {
    /// Checks everything that can be wrong in what was typed. The output comes last, since opening it may make a file.
    pub(crate) fn make(options: Options) -> Result<Self, Failure> {
        let filter = filter::for_trace(&options)?;
        check_buffer(options.buffer)?;
        program::check(&options.program)?;
        let wireshark = options.wireshark.then(Wireshark::find).transpose()?;
        let transport = Transport::choose(options.net);
        let needs_user_namespace = transport == Transport::Proxy && !transport::is_privileged();
        let user = options.user.as_deref().map(Identity::find).transpose()?;
        if let (Some(typed), true) = (&options.user, needs_user_namespace) {
            return Err(no_other_user(typed));
        }
        let keylog = Keylog::find(&options, user.as_ref())?;
        let device = options.device.as_deref().map(find_device).transpose()?;
        let name_service = NameService::find(options.use_public_dns)?;
        let Outputs { outfile, report, lines } =
            Outputs::open(&options, keylog.as_ref(), wireshark.as_ref())?;
        let report = RefCell::new(report);
        Ok(Self {
            options,
            filter,
            user,
            name_service,
            transport,
            needs_user_namespace,
            device,
            keylog,
            wireshark,
            outfile,
            report,
            lines,
        })
    }

    /// Whether anybody will read who was talked to.
    pub(crate) fn wants_report(&self) -> bool {
        let Options { quiet, report, expected, denied, .. } = &self.options;
        !quiet || report.is_some() || !expected.is_empty() || !denied.is_empty()
    }

    /// Whether anybody will read whose packets are.
    pub(crate) fn wants_processes(&self) -> bool {
        self.options.process_info.is_wanted()
            && (self.outfile.explains() || self.wants_report() || self.lines.is_some())
    }

    /// Closes what is written to, in a process that writes nothing.
    pub(crate) fn let_go_of_outputs(&self) {
        self.outfile.let_go();
        drop(self.report.take());
        self.let_go_of_lines();
    }

    /// Closes what lines go to, which front alone writes.
    pub(crate) fn let_go_of_lines(&self) {
        self.lines.iter().for_each(LinesFile::let_go);
    }

    /// Takes back the output files of a trace that did not come about.
    pub(crate) fn discard_outputs(&self) {
        self.outfile.discard(self.options.outfile());
        if let (Some(report), Some(path)) = (&*self.report.borrow(), &self.options.report) {
            report.discard(path);
        }
        if let (Some(lines), Some(path)) = (&self.lines, &self.options.print) {
            lines.discard(path);
        }
    }
}

/// The kernel takes the ring's memory for itself, and might end other programs for it.
fn check_buffer(bytes: u64) -> Result<(), Failure> {
    let machine = rustix::system::sysinfo();
    #[allow(clippy::useless_conversion, reason = "the field has 32 bits on some machines")]
    let memory = u64::from(machine.totalram).saturating_mul(machine.mem_unit.into());
    if bytes <= memory / 2 {
        return Ok(());
    }
    let (asked, half) = (bytes >> 20, memory >> 21);
    Err(Failure::new(format!("a buffer of {asked} MiB is more than half of this machine's memory"))
        .hint(format!("--buffer {half}M is the most")))
}

/// In a user namespace of an ordinary user there is nobody else.
fn no_other_user(typed: &str) -> Failure {
    Failure::new(format!("cannot run the program as '{typed}' without privilege"))
        .hint("run nsntrace as root for --user, or leave it out: the program then runs as you")
}

/// What is written to.
struct Outputs {
    outfile: Outfile,
    report: Option<TextFile>,
    lines: Option<LinesFile>,
}

impl Outputs {
    /// Opens all, or leaves none behind.
    fn open(
        options: &Options,
        keylog: Option<&Keylog>,
        wireshark: Option<&Wireshark>,
    ) -> Result<Self, Failure> {
        let privacy = if keylog.is_some() { Privacy::Secret } else { Privacy::Usual };
        let outfile = match wireshark {
            Some(wireshark) => {
                Outfile::pipe(wireshark.make_pipe()?, options.format.unwrap_or(Format::PcapNg))
            }
            None => Outfile::open(options.outfile(), options.format, options.rotation, privacy)?,
        };
        let mut outputs = Self { outfile, report: None, lines: None };
        match outputs.open_texts(options) {
            Ok(()) => Ok(outputs),
            Err(failure) => {
                outputs.discard(options);
                Err(failure)
            }
        }
    }

    fn open_texts(&mut self, options: &Options) -> Result<(), Failure> {
        if let Some(path) = &options.report {
            let report = self.report.insert(TextFile::open(path)?);
            self.outfile.check_apart_from(report, "the report", "--report")?;
        }
        if let Some(path) = &options.print {
            let lines = self.lines.insert(LinesFile::open(path)?);
            lines.check(|lines| {
                self.outfile.check_apart_from(lines, "lines", "--print")?;
                self.report.as_ref().map_or(Ok(()), |report| lines.check_apart_from_text(report))
            })?;
        }
        Ok(())
    }

    fn discard(&self, options: &Options) {
        self.outfile.discard(options.outfile());
        if let (Some(report), Some(path)) = (&self.report, &options.report) {
            report.discard(path);
        }
        if let (Some(lines), Some(path)) = (&self.lines, &options.print) {
            lines.discard(path);
        }
    }
}

fn find_device(name: &str) -> Result<Link, Failure> {
    let mut socket = RouteSocket::open()?;
    let unknown = |links: Vec<Link>| {
        let names: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
        Failure::new(format!("unknown device '{name}'"))
            .hint(format!("the devices here are {}", names.join(", ")))
    };
    let links = socket.links()?;
    // A name that no link can have is no link's either.
    let found =
        IfName::new(name).ok().and_then(|ifname| links.iter().find(|link| link.name == ifname).cloned());
    found.ok_or_else(|| unknown(links))
}
