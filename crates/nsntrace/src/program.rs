//! The program to be traced: finding it, and the process that becomes it.
//!
//! # Theory of operation
//! The process is forked early and prepares itself while worker plumbs the namespace: it enters it, hides name services, becomes the
//! user. Then it waits at the start barrier, a pipe, until the ring is running. What goes wrong up to the exec comes back over a
//! second pipe, which the exec closes.
//!
//! # Kernel interface
//! fork(2), setns(2), prctl(2) `PR_SET_PDEATHSIG`, setgroups(2), setresgid(2), setresuid(2), execve(2).

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nsntrace_keylog::Fifo;
use nsntrace_netns::{Netns, user::Bounds};
use nsntrace_sys::{Fork, SignalMask};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, getppid, set_parent_process_death_signal, waitpid};

use crate::failure::Failure;
use crate::keylog;
use crate::nameservice::NameService;
use crate::protocol::{Channel, Order};
use crate::status;
use crate::user::Identity;

/// What the program is and how it is to find itself.
pub(crate) struct Program<'a> {
    pub(crate) name: &'a OsStr,
    pub(crate) arguments: &'a [OsString],
    pub(crate) user: Option<&'a Identity>,
    /// What an exec could give to us before we entered a user namespace, if we did.
    pub(crate) bounds: Option<&'a Bounds>,
    pub(crate) name_service: &'a NameService,
    /// Where its TLS keys are to go.
    pub(crate) keys: Option<&'a Fifo>,
    /// Where its wishes for sockets go, if anybody wants to see them.
    pub(crate) creations: Option<&'a Channel>,
    pub(crate) words: Words,
    /// The signal mask that we were started with.
    pub(crate) mask: SignalMask,
    /// We were started with SIGCHLD ignored.
    pub(crate) ignores_children: bool,
}

/// Where what it writes goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Words {
    /// As ours.
    Ours,
    /// All to standard error: standard output is the capture's.
    Stderr,
    /// All to standard output: standard error is for our failures alone.
    Stdout,
}

/// The program's process, waiting at the start barrier.
pub(crate) struct Waiting {
    pid: Pid,
    barrier: OwnedFd,
    trouble: OwnedFd,
}

/// Says whether there is a program of this name that can be executed, before anything else is done.
pub(crate) fn check(name: &OsStr) -> Result<(), Failure> {
    find(name).map(drop).map_err(|errno| cannot_run(name, errno))
}

/// Searches PATH as execvp(3) does: one that is there and cannot be executed is remembered, the search goes on.
pub(crate) fn find(name: &OsStr) -> Result<PathBuf, rustix::io::Errno> {
    if name.is_empty() {
        return Err(rustix::io::Errno::NOENT);
    }
    if name.as_bytes().contains(&b'/') {
        return check_file(Path::new(name)).map(|()| name.into());
    }
    let path = env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let mut worst = rustix::io::Errno::NOENT;
    for file in env::split_paths(&path).map(|directory| directory.join(name)) {
        match check_file(&file) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::ACCESS) => worst = rustix::io::Errno::ACCESS,
            Err(_absent) => {}
        }
    }
    Err(worst)
}

fn check_file(path: &Path) -> Result<(), rustix::io::Errno> {
    let metadata = fs::metadata(path).map_err(|error| {
        error.raw_os_error().map_or(rustix::io::Errno::IO, rustix::io::Errno::from_raw_os_error)
    })?;
    let is_executable = metadata.is_file() && metadata.permissions().mode() & 0o111 != 0;
    if is_executable { Ok(()) } else { Err(rustix::io::Errno::ACCESS) }
}

fn cannot_run(name: &OsStr, errno: rustix::io::Errno) -> Failure {
    let is_absent = matches!(errno, rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR);
    let status = if is_absent { status::NOT_FOUND } else { status::NOT_EXECUTABLE };
    Failure::of(&format!("cannot run '{}'", name.display()), &io::Error::from(errno)).status(status)
}

impl Program<'_> {
    /// Forks the process that is to become the program. It waits at the barrier.
    pub(crate) fn fork(&self, netns: &Netns) -> Result<Waiting, Failure> {
        let pipe =
            || pipe_with(PipeFlags::CLOEXEC).map_err(|errno| Failure::of("cannot make a pipe", &errno));
        let (held, barrier) = pipe()?;
        let (trouble, report) = pipe()?;
        let front = rustix::process::getpid();
        match nsntrace_sys::fork().map_err(|error| Failure::of("cannot start a process", &error))? {
            Fork::Parent(pid) => Ok(Waiting { pid, barrier, trouble }),
            Fork::Child => {
                drop((barrier, trouble));
                let mut report = fs::File::from(report);
                let mut tell = |words: &[u8]| report.write_all(words).map_err(cannot_start);
                let prepared = self.prepare(netns, front).and_then(|unseen| {
                    let why = unseen.map_or_else(String::new, |error| error.to_string());
                    tell(&[PREPARED.as_bytes(), why.as_bytes(), b"\n"].concat())
                });
                if let Err(failure) = prepared.and_then(|()| self.run(held)) {
                    // A front that is gone needs no report, and one that is not sees its end.
                    let _ = tell(encode(&failure).as_bytes());
                }
                nsntrace_sys::exit_now(i32::from(status::FAILED))
            }
        }
    }

    /// Everything that a child inherits from us and the program must not find as it is. Gives why its sockets are not seen, if somebody wants to see them.
    fn prepare(&self, netns: &Netns, front: Pid) -> Result<Option<io::Error>, Failure> {
        let step = |what: &'static str| move |errno: rustix::io::Errno| Failure::of(what, &errno);
        netns.enter()?;
        self.arrange_mounts()?;
        let unseen = self.have_sockets_seen()?;
        match self.words {
            Words::Ours => Ok(()),
            Words::Stderr => rustix::stdio::dup2_stdout(rustix::stdio::stderr().as_fd()),
            Words::Stdout => rustix::stdio::dup2_stderr(rustix::stdio::stdout().as_fd()),
        }
        .map_err(step("cannot send the program's output elsewhere"))?;
        if let Some(user) = self.user {
            user.become_it().map_err(step("cannot become the user of --user"))?;
        }
        if let Some(bounds) = self.bounds {
            bounds.impose()?;
        }
        // After the change of user, which clears it. A program whose trace was killed has no network either.
        set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(step("cannot tie the program to nsntrace"))?;
        if getppid() == Some(front) { Ok(unseen) } else { Err(Failure::new("nsntrace was killed")) }
    }

    /// What it is not to see of the host, and what only it is to see.
    fn arrange_mounts(&self) -> Result<(), Failure> {
        if self.keys.is_none() {
            return self.name_service.apply();
        }
        NameService::separate_mounts()?;
        self.name_service.cover()?;
        let mounted = self.keys.map_or(Ok(()), Fifo::mount);
        mounted.map_err(|error| Failure::of("cannot mount the pipe for TLS keys", &error))
    }

    /// Has sockets made under the eyes of a witness from now on. While we have the privilege for it: else the program could gain none by
    /// executing others. Where the kernel or a container does not allow it, or there is such a filter already, nobody sees them.
    fn have_sockets_seen(&self) -> Result<Option<io::Error>, Failure> {
        let Some(channel) = self.creations else { return Ok(None) };
        let listener = match nsntrace_sys::hold_sockets() {
            Ok(listener) => listener,
            Err(error) => return Ok(Some(error)),
        };
        // From here on there is no socket without somebody who serves the listener.
        let handed_over = channel.hand_over(&Order::Creations(listener));
        handed_over.map_err(|errno| Failure::of("cannot hand over what tells whose sockets are", &errno))?;
        Ok(None)
    }

    /// Waits for the barrier and becomes the program. Returns only if that failed; without a failure if front is gone.
    fn run(&self, held: OwnedFd) -> Result<(), Failure> {
        match fs::File::from(held).read(&mut [0]) {
            Ok(1) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(Failure::of("cannot wait for the start", &error)),
        }
        if self.ignores_children {
            nsntrace_sys::ignore_ends_of_children();
        }
        self.mask.restore().map_err(|error| Failure::of("cannot restore the signal mask", &error))?;
        let error = self.exec(self.name, self.arguments);
        if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) {
            return Err(self.run_by_shell(&error));
        }
        let errno = error.raw_os_error().map_or(rustix::io::Errno::IO, rustix::io::Errno::from_raw_os_error);
        Err(cannot_run(self.name, errno))
    }

    fn exec(&self, name: &OsStr, arguments: &[OsString]) -> io::Error {
        let of_user = self.user.into_iter().flat_map(Identity::environment);
        let of_keys = self.keys.into_iter().flat_map(|_| keylog::variables());
        nsntrace_sys::exec(name, arguments.iter().map(OsString::as_os_str), of_user.chain(of_keys))
    }

    /// A script without `#!` is the shell's, as execvp(3) of the GNU libc and every shell have it.
    fn run_by_shell(&self, first: &io::Error) -> Failure {
        let script = find(self.name).map(PathBuf::into_os_string).into_iter();
        let arguments: Vec<_> = script.chain(self.arguments.iter().cloned()).collect();
        let _no_shell = self.exec(OsStr::new("/bin/sh"), &arguments);
        Failure::of(&format!("cannot run '{}'", self.name.display()), first).status(status::NOT_EXECUTABLE)
    }
}

impl Waiting {
    /// Lets the process end without becoming the program, and waits for that.
    pub(crate) fn abandon(self) {
        drop(self.barrier);
        let _ended = waitpid(Some(self.pid), WaitOptions::empty());
    }

    /// Waits until all is done that can fail before the program's own execution, or says what has failed. Gives why the program's sockets are
    /// not seen, if that is so, or nothing.
    pub(crate) fn wait_until_prepared(&self) -> Result<String, Failure> {
        // A pipe hands over whole what was written with one call, up to PIPE_BUF.
        let mut words = [0; 4096];
        let count = rustix::io::retry_on_intr(|| rustix::io::read(&self.trouble, &mut words))
            .map_err(|errno| cannot_start(errno.into()))?;
        heard_first(&String::from_utf8_lossy(&words[..count]))
    }

    /// Lets the program start. Returns when it has, or says why it could not.
    pub(crate) fn release(self) -> Result<Pid, Failure> {
        let released = rustix::io::write(&self.barrier, &[1]);
        drop(self.barrier);
        let mut text = String::new();
        // Empty at once after the exec, which closes the other end.
        let read = fs::File::from(self.trouble).read_to_string(&mut text);
        match (read, decode(&text)) {
            (Ok(_), Some(failure)) => Err(failure),
            _ => match released {
                // Of a process that is gone already, its end tells.
                Ok(_) | Err(rustix::io::Errno::PIPE) => Ok(self.pid),
                Err(errno) => Err(cannot_start(errno.into())),
            },
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn cannot_start(error: io::Error) -> Failure {
    Failure::of("cannot start the program", &error)
}

/// Status, message and hint, with NUL bytes between them.
/// What the first words of the child say. With the line that it is prepared may come already what has failed since.
fn heard_first(words: &str) -> Result<String, Failure> {
    let prepared = words.strip_prefix(PREPARED).and_then(|words| words.split_once('\n'));
    let (unseen, failure) = prepared.map_or((None, words), |(unseen, more)| (Some(unseen), more));
    match (decode(failure), unseen) {
        (Some(failure), _) => Err(failure),
        (None, Some(unseen)) => Ok(unseen.to_owned()),
        (None, None) => Err(Failure::new("cannot start the program: its process is gone")),
    }
}

fn encode(failure: &Failure) -> String {
    let hint = failure.hint.as_deref().unwrap_or_default();
    format!("{}\0{}\0{hint}", failure.status, failure.message)
}

fn decode(text: &str) -> Option<Failure> {
    let mut fields = text.splitn(3, '\0');
    let (status, message, hint) = (fields.next()?, fields.next()?, fields.next()?);
    let failure = Failure::new(message).status(status.parse().unwrap_or(status::FAILED));
    Some(if hint.is_empty() { failure } else { failure.hint(hint) })
}

/// No failure begins so: its status is a number. To the end of the line it says why sockets are not seen.
const PREPARED: &str = "+";
/// What execvp(3) searches without PATH.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_right_behind_the_word_that_all_is_prepared_is_a_failure() {
        let failure = encode(&Failure::new("cannot wait for the start").status(125).hint("wait"));
        let heard = |words: &str| heard_first(words).map_err(|failure| (failure.message, failure.hint));
        let failed = Err(("cannot wait for the start".to_owned(), Some("wait".to_owned())));
        assert_eq!(heard("+\n"), Ok(String::new()));
        assert_eq!(heard("+Device or resource busy\n"), Ok("Device or resource busy".to_owned()));
        assert_eq!(heard(&failure), failed);
        assert_eq!(heard(&format!("+\n{failure}")), failed);
        assert_eq!(heard(&format!("+Device or resource busy\n{failure}")), failed);
        assert_eq!(heard("").unwrap_err().0, "cannot start the program: its process is gone");
    }

    #[track_caller]
    fn refused(name: &str, status: u8) {
        assert_eq!(check(OsStr::new(name)).unwrap_err().status, status, "{name}");
    }

    #[test]
    fn a_failure_survives_the_pipe() {
        for failure in [Failure::new("no").hint("do").status(126), Failure::new("no")] {
            assert_eq!(decode(&encode(&failure)), Some(failure));
        }
        for cut in ["", "125", "125\0no"] {
            assert_eq!(decode(cut), None, "{cut:?}");
        }
    }

    #[test]
    fn what_cannot_be_run_is_known_beforehand() {
        check(OsStr::new("sh")).unwrap();
        check(OsStr::new("/bin/sh")).unwrap();
        refused("no-such-program-anywhere", status::NOT_FOUND);
        refused("/no/such/program", status::NOT_FOUND);
        refused("/etc/passwd", status::NOT_EXECUTABLE);
        refused("/etc/passwd/x", status::NOT_FOUND);
        refused("/etc", status::NOT_EXECUTABLE);
        refused("", status::NOT_FOUND);
    }
}
