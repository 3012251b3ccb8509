//! `--wireshark`: a window that shows packets while they come.
//!
//! # Theory of operation
//! Wireshark is what a user would have started beside us: not in the traced namespace, not in our user namespace, as whoever called sudo, with none of our
//! descriptors, in a session of its own, so that it stays when we end. Its process is forked before any of that is made and waits at a barrier, as the program's
//! does; it is let go when the network stands, and the program starts when it has read the head of the capture. What it says before that is kept in memory: a
//! Wireshark that cannot open its window ends, and then there is no trace, and the reason is told.
//!
//! # Kernel interface
//! fork(2), setsid(2), setresuid(2), memfd_create(2), execve(2).
//!
//! # References
//! wireshark(1), `-k` and `-i`; sudo(8), `SUDO_UID`.

mod pipe;

use std::cell::RefCell;
use std::convert::Infallible;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use nsntrace_sys::{Fork, Inherited, SignalMask};
use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create, open};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, geteuid, kill_process, setsid, waitpid};

use self::pipe::{Pipe, path_of};
use crate::failure::Failure;
use crate::messages::printable;
use crate::program;
use crate::status;
use crate::user::Identity;

/// A Wireshark that can be opened.
#[derive(Debug)]
pub(crate) struct Wireshark {
    program: PathBuf,
    /// Who called sudo.
    user: Option<Identity>,
    /// As long as it is here, this process counts as a reader.
    pipe: RefCell<Option<Pipe>>,
}

/// Its process, at the barrier.
pub(crate) struct Window {
    pid: Pid,
    barrier: OwnedFd,
    words: File,
}

/// Its process, about to open a window.
pub(crate) struct Opening {
    pid: Pid,
    has_read: OwnedFd,
    words: File,
}

impl Wireshark {
    /// Finds the program, and who is to run it.
    pub(crate) fn find() -> Result<Self, Failure> {
        let program = program::find(OsStr::new(NAME)).map_err(|errno| {
            Failure::of(&format!("cannot run '{NAME}'"), &io::Error::from(errno)).hint(NOT_HERE)
        })?;
        let user = if geteuid().is_root() { caller_of_sudo()? } else { None };
        Ok(Self { program, user, pipe: RefCell::new(None) })
    }

    /// Makes the pipe and gives the end that packets are to be written to.
    pub(crate) fn make_pipe(&self) -> Result<File, Failure> {
        let failed = |error| Failure::of("cannot make a pipe for Wireshark", &error);
        let pipe = Pipe::make(self.user.as_ref()).map_err(failed)?;
        let writer = pipe.writer().map_err(failed)?;
        self.pipe.replace(Some(pipe));
        Ok(writer)
    }

    /// Lets go of the pipe: when Wireshark has come, and in processes that must not be taken for a reader.
    pub(crate) fn let_go(&self) {
        drop(self.pipe.take());
    }

    /// Forks the process that is to become it.
    pub(crate) fn fork(
        &self,
        mask: SignalMask,
        inherited: Inherited,
    ) -> Result<(Window, Inherited), Failure> {
        let failed = |error: io::Error| Failure::of("cannot prepare Wireshark", &error);
        let words = memfd_create("wireshark", MemfdFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?;
        let (held, barrier) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?;
        match nsntrace_sys::fork().map_err(failed)? {
            Fork::Parent(pid) => Ok((Window { pid, barrier, words: words.into() }, inherited)),
            Fork::Child => {
                drop(barrier);
                inherited.close();
                let mut words = File::from(words);
                let Err(error) = self.become_it(&words, held, mask);
                let _nobody_reads = write!(words, "{error}");
                nsntrace_sys::exit_now(i32::from(status::FAILED))
            }
        }
    }

    /// Lets it open its window.
    pub(crate) fn release(&self, window: Window) -> Result<Opening, Failure> {
        let Window { pid, barrier, words } = window;
        let failed = |error: io::Error| Failure::of("cannot wait for Wireshark", &error);
        let watched = self.pipe.borrow().as_ref().map(Pipe::watch);
        let has_read = watched.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?.map_err(failed)?;
        // One that is gone already is heard of soon.
        let _ = rustix::io::write(&barrier, &[1]);
        Ok(Opening { pid, has_read, words })
    }

    /// Everything from the fork to the window.
    fn become_it(&self, words: &File, held: OwnedFd, mask: SignalMask) -> io::Result<Infallible> {
        let _already_leader = setsid();
        let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(words)?;
        rustix::stdio::dup2_stderr(words)?;
        if let Some(user) = &self.user {
            user.become_it()?;
        }
        if File::from(held).read(&mut [0])? == 0 {
            // There is no trace to look at.
            nsntrace_sys::exit_now(0);
        }
        mask.restore()?;
        let pipe = self.pipe.take().ok_or(io::ErrorKind::NotFound)?;
        fcntl_setfd(pipe.place(), FdFlags::empty())?;
        let place = path_of(pipe.place());
        let arguments = ["-k".as_ref(), "-i".as_ref(), place.as_os_str()];
        let of_user = self.user.iter().flat_map(Identity::environment);
        let of_session = self.user.as_ref().and_then(runtime_dir);
        Err(nsntrace_sys::exec(self.program.as_os_str(), arguments, of_user.chain(of_session)))
    }
}

impl Opening {
    /// Readable when it has read from the pipe.
    pub(crate) fn has_read(&self) -> &OwnedFd {
        &self.has_read
    }

    /// Why it will never do so, if it has ended.
    pub(crate) fn failure(&self) -> Option<Failure> {
        let (_pid, status) = waitpid(Some(self.pid), WaitOptions::NOHANG).ok()??;
        let failure = Failure::new("Wireshark ended before it had read a packet");
        if status.exit_status() == Some(0) {
            // The user has closed it.
            return Some(failure);
        }
        let failure = failure.excerpt(self.said());
        Some(if has_display() { failure } else { failure.hint(NO_DISPLAY) })
    }

    /// Ends it: there will be nothing to see.
    pub(crate) fn abandon(&self) {
        let _ended = kill_process(self.pid, Signal::TERM);
    }

    /// The beginning of what it said.
    fn said(&self) -> String {
        let mut bytes = [0; 1024];
        let len = self.words.read_at(&mut bytes, 0).unwrap_or(0);
        let text = String::from_utf8_lossy(&bytes[..len]);
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(3);
        lines.flat_map(|line| ["  ".to_owned(), printable(line), "\n".to_owned()]).collect()
    }
}

/// Whoever is root by sudo; `None` if nobody is.
fn caller_of_sudo() -> Result<Option<Identity>, Failure> {
    let number = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let Some(uid) = number("SUDO_UID").filter(|uid| uid != "0") else { return Ok(None) };
    // Numbers, since that is what sudo tells, whoever has these names.
    let typed = number("SUDO_GID").map_or_else(|| uid.clone(), |gid| format!("{uid}:{gid}"));
    Identity::find(&typed).map(Some)
}

/// Where the user's session has its sockets, Wayland's among them: sudo does not pass it on.
fn runtime_dir(user: &Identity) -> Option<(&'static str, OsString)> {
    const NAME: &str = "XDG_RUNTIME_DIR";
    let path = Path::new("/run/user").join(user.uid().to_string());
    (env::var_os(NAME).is_none() && path.is_dir()).then_some((NAME, path.into()))
}

fn has_display() -> bool {
    ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| env::var_os(name).is_some_and(|value| !value.is_empty()))
}

const NAME: &str = "wireshark";
const NOT_HERE: &str = "install Wireshark, or look from a machine that has it: \
                        ssh HOST nsntrace -o - --format pcapng PROGRAM | wireshark -k -i -";
const NO_DISPLAY: &str = "there is no display here; look from a machine that has one: \
                          ssh HOST nsntrace -o - --format pcapng PROGRAM | wireshark -k -i -";
