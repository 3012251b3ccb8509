//! Failures of our own: one line that says what failed and why, a hint if we know the way out, an exit status.

use std::error::Error;
use std::fmt;
use std::fmt::Write as _;
use std::io;
use std::iter;

use nsntrace_capture::CaptureError;
use nsntrace_link::LinkError;
use nsntrace_nat::NatError;
use nsntrace_netns::NetnsError;
use nsntrace_nfqueue::QueueError;
use rustix::io::Errno;

use crate::status;

/// Why there is no trace, in the words that the user reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What failed and why, without a full stop.
    pub(crate) message: String,
    /// The lines that show where in what was typed.
    pub(crate) excerpt: Option<String>,
    /// What the user can do about it.
    pub(crate) hint: Option<String>,
    /// Our exit status.
    pub(crate) status: u8,
}

impl Failure {
    /// A failure in words of our own.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), excerpt: None, hint: None, status: status::FAILED }
    }

    /// A failure with an error, and all its sources, behind it.
    pub(crate) fn of(what: &str, error: &dyn Error) -> Self {
        Self::new(format!("{what}: {}", chain(error)))
    }

    /// Adds what the user can do about it.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Shows the place in what was typed. To be printed as it is.
    pub(crate) fn excerpt(self, excerpt: impl Into<String>) -> Self {
        Self { excerpt: Some(excerpt.into()), ..self }
    }

    /// Sets the exit status.
    pub(crate) fn status(self, status: u8) -> Self {
        Self { status, ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// An error with its sources, joined by colons. What is missing gets its hint here, whichever step met it.
impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { hint: hint(&error), ..Self::new(chain(&error)) }
    }
}

/// The error's text and its sources', joined by colons.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        // Writing to a String cannot fail.
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    text
}

/// What can be done about the error, or about one of its sources.
fn hint(error: &(dyn Error + 'static)) -> Option<String> {
    chained(error).find_map(|error| {
        let in_kernel = || Some(format!("this kernel lacks {}", missing_option(error)?));
        missing_right(error).map(str::to_owned).or_else(in_kernel).or_else(|| missing_module(error))
    })
}

/// What the user may not do.
fn missing_right(error: &(dyn Error + 'static)) -> Option<&'static str> {
    match error.downcast_ref() {
        Some(NetnsError::Unshare(source)) if is(source, Errno::NOSPC) => Some(TOO_MANY_NAMESPACES),
        Some(NetnsError::User { barrier: Some(barrier), .. }) => Some(barrier.hint()),
        Some(NetnsError::Proc { .. }) => Some(NEEDS_PROC),
        _ => (errno_of(error)? == Errno::PERM).then_some(NEEDS_PRIVILEGE),
    }
}

/// What the kernel was built without, where the message does not say it.
fn missing_option(error: &(dyn Error + 'static)) -> Option<&'static str> {
    if let Some(NetnsError::Unshare(source)) = error.downcast_ref() {
        return is(source, Errno::INVAL).then_some("CONFIG_NET_NS");
    }
    if let Some(CaptureError::Open(source)) = error.downcast_ref() {
        return is(source, Errno::AFNOSUPPORT).then_some("CONFIG_PACKET (module af_packet)");
    }
    error.downcast_ref::<LinkError>()?.missing()
}

/// The module that the message says to be missing. The kernel loads what it has, if it may: not with `kernel.modules_disabled`, and not where a
/// container's host has no modprobe.
fn missing_module(error: &(dyn Error + 'static)) -> Option<String> {
    let is_lack_of_nat = matches!(error.downcast_ref(), Some(NatError::Unsupported { .. }));
    let is_lack = is_lack_of_nat || matches!(error.downcast_ref(), Some(QueueError::Unsupported { .. }));
    let message = error.to_string();
    let (_, module) = message.split_once("(module ").filter(|_| is_lack)?;
    Some(format!(
        "if this kernel has it as a module, root can load it: modprobe {}",
        module.split(')').next()?
    ))
}

fn is(error: &io::Error, errno: Errno) -> bool {
    Errno::from_io_error(error) == Some(errno)
}

fn errno_of(error: &(dyn Error + 'static)) -> Option<Errno> {
    let of_io = || Errno::from_io_error(error.downcast_ref::<io::Error>()?);
    let of_link = || error.downcast_ref::<LinkError>()?.errno();
    let of_nat = || error.downcast_ref::<NatError>()?.errno();
    error.downcast_ref().copied().or_else(of_io).or_else(of_link).or_else(of_nat)
}

/// An error and its sources.
fn chained<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |&error| error.source())
}

/// What it takes for NAT.
pub(crate) const NEEDS_PRIVILEGE: &str =
    "run nsntrace as root, or with CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW";
const NEEDS_PROC: &str = "nsntrace needs procfs, that of its own pid namespace: mount -t proc proc /proc";
const TOO_MANY_NAMESPACES: &str =
    "`sysctl user.max_net_namespaces` says how many there may be; each trace needs one";

#[cfg(test)]
mod tests {
    use nsntrace_netns::Barrier;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot do {0}")]
    struct Task(&'static str, #[source] io::Error);

    #[track_caller]
    fn check(error: impl Error + 'static, message: &str, hint: Option<&str>) {
        let failure = Failure::from(error);
        assert_eq!((failure.message.as_str(), failure.hint.as_deref()), (message, hint));
        assert_eq!(failure.status, 125);
    }

    #[test]
    fn sources_are_joined_and_want_of_privilege_is_hinted_at() {
        let refused = Task("it", Errno::PERM.into());
        check(refused, "cannot do it: Operation not permitted (os error 1)", Some(NEEDS_PRIVILEGE));
        let absent = Task("it", Errno::NOENT.into());
        check(absent, "cannot do it: No such file or directory (os error 2)", None);
    }

    #[test]
    fn a_full_house_of_namespaces_is_hinted_at() {
        let full = "cannot make a network namespace: No space left on device (os error 28)";
        check(NetnsError::Unshare(Errno::NOSPC.into()), full, Some(TOO_MANY_NAMESPACES));
        let disk = Task("it", Errno::NOSPC.into());
        check(disk, "cannot do it: No space left on device (os error 28)", None);
    }

    #[test]
    fn what_bars_a_user_namespace_has_its_own_hint() {
        let barred = |barrier| NetnsError::User { step: "try", barrier, source: Errno::PERM.into() };
        let barrier = Barrier::RootOnly;
        let message =
            "cannot try, since kernel.unprivileged_userns_clone is 0: Operation not permitted (os error 1)";
        check(barred(Some(barrier)), message, Some(barrier.hint()));
        check(barred(None), "cannot try: Operation not permitted (os error 1)", Some(NEEDS_PRIVILEGE));
    }

    #[test]
    fn a_machine_without_procfs_is_told_to_have_one() {
        let path = "/proc/thread-self/ns/net".into();
        let message = "cannot open /proc/thread-self/ns/net: No such file or directory (os error 2)";
        check(NetnsError::Proc { path, source: Errno::NOENT.into() }, message, Some(NEEDS_PROC));
    }

    #[test]
    fn what_the_kernel_lacks_is_named() {
        let no_netns = NetnsError::Unshare(Errno::INVAL.into());
        assert_eq!(hint(&no_netns).as_deref(), Some("this kernel lacks CONFIG_NET_NS"));
        let no_packet = CaptureError::Open(Errno::AFNOSUPPORT.into());
        assert_eq!(hint(&no_packet).as_deref(), Some("this kernel lacks CONFIG_PACKET (module af_packet)"));
        let full = CaptureError::Open(Errno::MFILE.into());
        assert_eq!(hint(&full), None);
    }
}
