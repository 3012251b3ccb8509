//! Failures of our own: one line that says what failed and why, a hint if we know the way out, an exit status.

use std::error::Error;
use std::fmt;
use std::fmt::Write as _;

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

/// An error with its sources, joined by colons. A refusal for want of privilege gets its hint here, whichever step met it.
impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let failure = Self::new(chain(&error));
        if lacks_privilege(&error) { failure.hint(NEEDS_PRIVILEGE) } else { failure }
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

fn lacks_privilege(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let errno = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
        let errno = errno.or_else(|| Some(error.downcast_ref::<rustix::io::Errno>()?.raw_os_error()));
        if errno == Some(rustix::io::Errno::PERM.raw_os_error()) {
            return true;
        }
        next = error.source();
    }
    false
}

const NEEDS_PRIVILEGE: &str = "run nsntrace as root, or with CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW";

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot do {0}")]
    struct Step(&'static str, #[source] std::io::Error);

    #[test]
    fn sources_are_joined_and_want_of_privilege_is_hinted_at() {
        let failure = Failure::from(Step("it", std::io::Error::from_raw_os_error(1)));
        assert_eq!(failure.message, "cannot do it: Operation not permitted (os error 1)");
        assert_eq!(failure.hint.as_deref(), Some(NEEDS_PRIVILEGE));
        assert_eq!(failure.status, 125);
        let failure = Failure::from(Step("it", std::io::Error::from_raw_os_error(2)));
        assert_eq!(failure.hint, None);
    }
}
