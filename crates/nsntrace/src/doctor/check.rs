//! What is looked at, and what can come of it.

use std::borrow::Cow;

use super::bench::Bench;
use crate::failure::Failure;
use crate::transport::Transport;

/// One thing that nsntrace needs, or can make use of.
pub(super) struct Check {
    /// For programs: a name that stays.
    pub(super) name: &'static str,
    /// For people.
    pub(super) title: &'static str,
    pub(super) group: Group,
    /// What is lost without it.
    pub(super) lost: Lost,
    /// Tries it.
    pub(super) attempt: fn(&mut Bench) -> Answer,
}

/// What a check is about: a heading of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// What this user may do.
    Privilege,
    /// How this host is set up.
    Host,
    /// What can be set apart from it.
    Namespaces,
    /// What its kernel can.
    Kernel,
}

/// What does not work without a thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// No trace at all.
    Both,
    /// Traces by NAT.
    Nat,
    /// Traces by proxy.
    Proxy,
    /// Something smaller.
    Part(Cow<'static, str>),
}

/// What an attempt comes to: what there is to say of what is there, which may be nothing; or why it is not.
pub(super) type Answer = Result<String, Stop>;

/// It is there, and there is nothing to say of it.
pub(super) const THERE: Answer = Ok(String::new());

/// Why an attempt has come to nothing.
#[derive(Debug)]
pub(super) enum Stop {
    /// It is not there. What is lost is what the check says, or less.
    Missing { failure: Failure, lost: Option<Lost> },
    /// There was no point in trying, since this is so.
    Untried(String),
}

/// How it stands with a thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is there, and this can be said of it.
    There(String),
    /// It is not.
    Missing { error: String, lost: Lost, hint: Option<String> },
    /// Nobody knows, since this is so.
    Untried(String),
}

/// A thing, and how it stands with it.
pub(super) struct Finding {
    pub(super) check: &'static Check,
    pub(super) state: State,
}

impl Check {
    /// Tries it.
    pub(super) fn perform(&self, bench: &mut Bench) -> State {
        match (self.attempt)(bench) {
            Ok(detail) => State::There(detail),
            Err(Stop::Untried(since)) => State::Untried(since),
            Err(Stop::Missing { failure, lost }) => State::Missing {
                error: failure.message,
                lost: lost.unwrap_or_else(|| self.lost.clone()),
                hint: failure.hint,
            },
        }
    }
}

impl Finding {
    /// Whether a transport does not work for this.
    pub(super) fn forbids(&self, transport: Transport) -> bool {
        matches!(&self.state, State::Missing { lost, .. } if lost.transports().contains(&transport))
    }
}

impl Group {
    /// All, in the order of the report.
    pub(super) const ALL: [Self; 4] = [Self::Privilege, Self::Host, Self::Namespaces, Self::Kernel];

    pub(super) fn heading(self) -> &'static str {
        match self {
            Self::Privilege => "Privilege",
            Self::Host => "Host",
            Self::Namespaces => "Namespaces",
            Self::Kernel => "Kernel",
        }
    }
}

impl Lost {
    /// A part, in words.
    pub(super) const fn part(words: &'static str) -> Self {
        Self::Part(Cow::Borrowed(words))
    }

    /// What is lost if these transports are, and otherwise.
    pub(super) fn of(nat: bool, proxy: bool, otherwise: &'static str) -> Self {
        match (nat, proxy) {
            (true, true) => Self::Both,
            (true, false) => Self::Nat,
            (false, true) => Self::Proxy,
            (false, false) => Self::part(otherwise),
        }
    }

    pub(super) fn transports(&self) -> &'static [Transport] {
        match self {
            Self::Both => &[Transport::Nat, Transport::Proxy],
            Self::Nat => &[Transport::Nat],
            Self::Proxy => &[Transport::Proxy],
            Self::Part(_) => &[],
        }
    }

    pub(super) fn words(&self) -> &str {
        match self {
            Self::Both => "there is no trace",
            Self::Nat => "there is no trace by NAT",
            Self::Proxy => "there is no trace by proxy",
            Self::Part(words) => words,
        }
    }
}

impl Stop {
    /// It is not there, and less is lost than the check says.
    pub(super) fn with(failure: impl Into<Failure>, lost: Lost) -> Self {
        Self::Missing { failure: failure.into(), lost: Some(lost) }
    }

    /// There is no point in trying.
    pub(super) fn since(why: impl Into<String>) -> Self {
        Self::Untried(why.into())
    }
}

/// Whatever failed, with the words and the hint that an ordinary run has for it.
impl<E: Into<Failure>> From<E> for Stop {
    fn from(failure: E) -> Self {
        Self::Missing { failure: failure.into(), lost: None }
    }
}
