//! Which sockets want attention, and when time is up.
//!
//! # Kernel interface
//! `epoll_create1(2)`, `epoll_ctl(2)`, `epoll_wait(2)`, level-triggered; `timerfd_create(2)`. Linux 2.6.27.
//!
//! # References
//! epoll(7); timerfd_create(2).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::RelayError;
use crate::slots::Key;

/// What an event is about. The numbers count listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// Time is up.
    Timer,
    /// A listener has datagrams.
    Datagrams(u32),
    /// A listener has connections.
    Connections(u32),
    /// The server of a UDP flow answered.
    Flow(Key),
    /// The client's side of a connection.
    Client(Key),
    /// The server's side of a connection.
    Server(Key),
}

/// An epoll instance and one timer in it.
#[derive(Debug)]
pub(crate) struct Poller {
    epoll: OwnedFd,
    timer: OwnedFd,
    due: Option<Instant>,
}

impl Poller {
    pub(crate) fn new() -> Result<Self, RelayError> {
        let epoll =
            epoll::create(CreateFlags::CLOEXEC).map_err(RelayError::events("create an epoll instance"))?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)
            .map_err(RelayError::events("create a timer"))?;
        let poller = Self { epoll, timer, due: None };
        poller
            .watch(&poller.timer, Token::Timer, EventFlags::IN)
            .map_err(RelayError::events("watch a timer"))?;
        Ok(poller)
    }

    /// Adds a socket. Closing it is enough to remove it.
    pub(crate) fn watch(&self, socket: impl AsFd, token: Token, interest: EventFlags) -> Result<(), Errno> {
        epoll::add(&self.epoll, socket, token.into(), interest)
    }

    /// Changes what a socket is watched for, from `old` to `new`. One that is watched for nothing is removed, for epoll
    /// would report its end (`EPOLLHUP`) over and over.
    pub(crate) fn rewatch(
        &self,
        socket: impl AsFd,
        token: Token,
        old: EventFlags,
        new: EventFlags,
    ) -> Result<(), Errno> {
        match (old.is_empty(), new.is_empty()) {
            _ if old == new => Ok(()),
            (true, _) => epoll::add(&self.epoll, socket, token.into(), new),
            (_, true) => epoll::delete(&self.epoll, socket),
            _ => epoll::modify(&self.epoll, socket, token.into(), new),
        }
    }

    /// Appends what wants attention now. Never waits.
    pub(crate) fn ready(&self, tokens: &mut Vec<Token>) -> Result<(), RelayError> {
        let mut events = Vec::<Event>::with_capacity(EVENTS);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&NO_TIME)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(RelayError::events("wait")(errno)),
        }
        tokens.extend(events.iter().filter_map(|event| Token::try_from(event.data).ok()));
        Ok(())
    }

    /// Sees to it that time is up at `due`, or before.
    pub(crate) fn remind(&mut self, due: Instant, now: Instant) -> Result<(), RelayError> {
        if self.reminds_by(due) {
            return Ok(());
        }
        let after = due.saturating_duration_since(now).max(GRANULARITY);
        let it_value = Timespec {
            tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: after.subsec_nanos().into(),
        };
        let once = Itimerspec { it_interval: NO_TIME, it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)
            .map_err(RelayError::events("set a timer"))?;
        self.due = Some(now + after);
        Ok(())
    }

    /// Whether time will be up at `moment` anyway, or before.
    pub(crate) fn reminds_by(&self, moment: Instant) -> bool {
        self.due.is_some_and(|due| due <= moment)
    }

    /// Takes note that time is up.
    pub(crate) fn reminded(&mut self) {
        self.due = None;
        // It has nothing to say if it was set anew meanwhile, and that is the only way to fail.
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl From<Token> for EventData {
    /// Kind, generation and index in 8, 24 and 32 bits.
    fn from(token: Token) -> Self {
        let (kind, key) = match token {
            Token::Timer => (0, Key { index: 0, generation: 0 }),
            Token::Datagrams(index) => (1, Key { index, generation: 0 }),
            Token::Connections(index) => (2, Key { index, generation: 0 }),
            Token::Flow(key) => (3, key),
            Token::Client(key) => (4, key),
            Token::Server(key) => (5, key),
        };
        Self::new_u64(kind << 56 | u64::from(key.generation) << 32 | u64::from(key.index))
    }
}

impl TryFrom<EventData> for Token {
    type Error = ();

    fn try_from(data: EventData) -> Result<Self, ()> {
        let [kind, g1, g2, g3, i1, i2, i3, i4] = data.u64().to_be_bytes();
        let index = u32::from_be_bytes([i1, i2, i3, i4]);
        let key = Key { index, generation: u32::from_be_bytes([0, g1, g2, g3]) };
        match kind {
            0 => Ok(Self::Timer),
            1 => Ok(Self::Datagrams(index)),
            2 => Ok(Self::Connections(index)),
            3 => Ok(Self::Flow(key)),
            4 => Ok(Self::Client(key)),
            5 => Ok(Self::Server(key)),
            _ => Err(()),
        }
    }
}

/// Events taken at once.
const EVENTS: usize = 64;
const NO_TIME: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
/// Idle sockets are closed in groups, so that each does not cost a wakeup.
const GRANULARITY: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        let key = Key { index: u32::MAX, generation: 0x00ff_fffe };
        let tokens = [
            Token::Timer,
            Token::Datagrams(7),
            Token::Connections(8),
            Token::Flow(key),
            Token::Client(key),
            Token::Server(Key { index: 0, generation: 1 }),
        ];
        for token in tokens {
            assert_eq!(Token::try_from(EventData::from(token)), Ok(token));
        }
        assert_eq!(Token::try_from(EventData::new_u64(6 << 56)), Err(()));
    }
}
