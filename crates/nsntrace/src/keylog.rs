//! `--tls-keys`, as far as front has to do with it: what is refused, the file of the user's own, what the program finds in its environment.
//!
//! # Theory of operation
//! The program logs to a pipe of ours ([`Fifo`]). A log that the user has asked for by himself gets every byte of that, too: worker passes it on. It is opened
//! here, before anything is touched, with the rights that the program would have had.
//!
//! # Kernel interface
//! open(2) with `O_APPEND`, setfsuid(2).

use std::env;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{self, Path, PathBuf};

use nsntrace_keylog::{Fifo, environment};
use nsntrace_pcapwriter::Format;

use crate::failure::Failure;
use crate::flags::Options;
use crate::outfile::format_of;
use crate::user::Identity;

/// What a trace with TLS keys needs to know.
#[derive(Debug)]
pub(crate) struct Keylog {
    /// The log of the user's own.
    pub(crate) own: Option<Own>,
}

/// A key log that the user has asked for.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
}

impl Keylog {
    /// What `--tls-keys` takes, if it was typed. A FIFO of the user's waits for its reader here.
    pub(crate) fn find(options: &Options, user: Option<&Identity>) -> Result<Option<Self>, Failure> {
        if !options.tls_keys {
            return Ok(None);
        }
        if format_of(options.outfile(), options.format) == Format::Pcap {
            return Err(Failure::new("classic pcap has no place for TLS keys")
                .hint("name a file *.pcapng with -o, or add --format pcapng"));
        }
        let path = env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        let own = path.map(|path| Own::open(&path, user)).transpose()?;
        Ok(Some(Self { own }))
    }

    /// Where keys go when we are gone.
    pub(crate) fn afterwards(&self) -> &Path {
        self.own.as_ref().map_or(Path::new("/dev/null"), |own| &own.path)
    }
}

impl Own {
    fn open(path: &Path, user: Option<&Identity>) -> Result<Self, Failure> {
        let open = || OpenOptions::new().append(true).create(true).mode(SECRET).open(path);
        let opened = user.map_or_else(open, |user| user.with_rights_on_files(open));
        let file = opened.map_err(|error| refused(path, &error))?;
        let path = path::absolute(path).map_err(|error| refused(path, &error))?;
        Ok(Self { path, file })
    }
}

/// Makes the pipe, if the trace is one with keys.
pub(crate) fn make_pipe(keylog: Option<&Keylog>) -> Result<Option<Fifo>, Failure> {
    let make = |_: &Keylog| {
        nsntrace_sys::unshare_mounts()?;
        Fifo::make()
    };
    keylog.map(make).transpose().map_err(|error| Failure::of("cannot make a pipe for TLS keys", &error))
}

/// What the program finds in its environment.
pub(crate) fn variables() -> Vec<(&'static str, OsString)> {
    environment(Fifo::PATH, env::var_os("NODE_OPTIONS").as_deref())
}

fn refused(path: &Path, error: &io::Error) -> Failure {
    Failure::of(&format!("cannot write to '{}', which {VARIABLE} names", path.display()), error)
        .hint(format!("without {VARIABLE}, keys go into the capture alone"))
}

const VARIABLE: &str = "SSLKEYLOGFILE";
/// Whoever reads it can read what was encrypted.
const SECRET: u32 = 0o600;
