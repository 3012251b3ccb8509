//! Which sockets want attention, and when time is up.
//!
//! # Kernel interface
//! `epoll_create1(2)`, `epoll_ctl(2)`, `epoll_wait(2)`, level-triggered; `timerfd_create(2)`. Linux 2.6.27.
//!
//! # References
//! epoll(7); timerfd_create(2).

use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::slots::Key;

/// What an event is about, in the words of the poller's owner.
pub trait Token: Copy {
    /// Time is up.
    const TIMER: Self;

    /// Its kind, and which of the kind.
    fn pack(self) -> (u8, Key);

    /// The token that [`Token::pack`] made this of.
    fn unpack(kind: u8, key: Key) -> Option<Self>;
}

/// A token whose socket wants attention, and what for.
pub type Ready<T> = (T, EventFlags);

/// An epoll instance and one timer in it.
#[derive(Debug)]
pub struct Poller<T> {
    epoll: OwnedFd,
    timer: OwnedFd,
    due: Option<Instant>,
    tokens: PhantomData<T>,
}

impl<T: Token> Poller<T> {
    /// Watches nothing yet but its timer.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`: no descriptors are left.
    pub fn new() -> Result<Self, Errno> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        let poller = Self { epoll, timer, due: None, tokens: PhantomData };
        poller.watch(&poller.timer, T::TIMER, EventFlags::IN)?;
        Ok(poller)
    }

    /// Adds a socket. Closing it is enough to remove it.
    ///
    /// # Errors
    /// `ENOSPC`: /proc/sys/fs/epoll/max_user_watches is reached; `ENOMEM`.
    pub fn watch(&self, socket: impl AsFd, token: T, interest: EventFlags) -> Result<(), Errno> {
        epoll::add(&self.epoll, socket, event_data(token), interest)
    }

    /// Changes what a socket is watched for, from `old` to `new`. One that is watched for nothing is removed, for epoll
    /// would report its end (`EPOLLHUP`) over and over.
    ///
    /// # Errors
    /// As [`Poller::watch`].
    pub fn rewatch(
        &self,
        socket: impl AsFd,
        token: T,
        old: EventFlags,
        new: EventFlags,
    ) -> Result<(), Errno> {
        match (old.is_empty(), new.is_empty()) {
            _ if old == new => Ok(()),
            (true, _) => epoll::add(&self.epoll, socket, event_data(token), new),
            (_, true) => epoll::delete(&self.epoll, socket),
            _ => epoll::modify(&self.epoll, socket, event_data(token), new),
        }
    }

    /// Appends what wants attention now. Never waits.
    ///
    /// # Errors
    /// None that a socket can bring about.
    pub fn ready(&self, ready: &mut Vec<Ready<T>>) -> Result<(), Errno> {
        self.collect(ready, Some(&NO_TIME))
    }

    /// Appends what wants attention, once there is something. Appends nothing if a signal came.
    ///
    /// # Errors
    /// As [`Poller::ready`].
    pub fn wait(&self, ready: &mut Vec<Ready<T>>) -> Result<(), Errno> {
        self.collect(ready, None)
    }

    /// Sees to it that time is up at `due`, or before.
    ///
    /// # Errors
    /// None on a timer of our own.
    pub fn remind(&mut self, due: Instant, now: Instant) -> Result<(), Errno> {
        if self.reminds_by(due) {
            return Ok(());
        }
        let after = due.saturating_duration_since(now).max(GRANULARITY);
        let it_value = Timespec {
            tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: after.subsec_nanos().into(),
        };
        let once = Itimerspec { it_interval: NO_TIME, it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        self.due = Some(now + after);
        Ok(())
    }

    /// Whether time will be up at `moment` anyway, or before.
    pub fn reminds_by(&self, moment: Instant) -> bool {
        self.due.is_some_and(|due| due <= moment)
    }

    /// Takes note that time is up.
    pub fn reminded(&mut self) {
        self.due = None;
        // It has nothing to say if it was set anew meanwhile, and that is the only way to fail.
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
    }

    fn collect(&self, ready: &mut Vec<Ready<T>>, timeout: Option<&Timespec>) -> Result<(), Errno> {
        let mut events = Vec::<Event>::with_capacity(EVENTS);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        ready.extend(events.iter().filter_map(|event| Some((token_of::<T>(event.data)?, event.flags))));
        Ok(())
    }
}

impl<T> AsFd for Poller<T> {
    /// Readable when something wants attention.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// Kind, generation and index in 8, 24 and 32 bits.
fn event_data<T: Token>(token: T) -> EventData {
    let (kind, key) = token.pack();
    EventData::new_u64(u64::from(kind) << 56 | u64::from(key.generation) << 32 | u64::from(key.index))
}

fn token_of<T: Token>(data: EventData) -> Option<T> {
    let [kind, g1, g2, g3, i1, i2, i3, i4] = data.u64().to_be_bytes();
    let generation = u32::from_be_bytes([0, g1, g2, g3]);
    T::unpack(kind, Key { index: u32::from_be_bytes([i1, i2, i3, i4]), generation })
}

/// Events taken at once.
const EVENTS: usize = 64;
const NO_TIME: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
/// Idle sockets are closed in groups, so that each does not cost a wakeup.
const GRANULARITY: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Sample {
        Timer,
        Socket(Key),
    }

    impl Token for Sample {
        const TIMER: Self = Self::Timer;

        fn pack(self) -> (u8, Key) {
            match self {
                Self::Timer => (0, Key::default()),
                Self::Socket(key) => (255, key),
            }
        }

        fn unpack(kind: u8, key: Key) -> Option<Self> {
            match kind {
                0 => Some(Self::Timer),
                255 => Some(Self::Socket(key)),
                _ => None,
            }
        }
    }

    #[test]
    fn tokens_survive_the_kernel() {
        let key = Key { index: u32::MAX, generation: 0x00ff_fffe };
        for token in [Sample::Timer, Sample::Socket(key), Sample::Socket(Key { index: 0, generation: 1 })] {
            assert_eq!(token_of(event_data(token)), Some(token));
        }
        assert_eq!(token_of::<Sample>(EventData::new_u64(6 << 56)), None);
    }

    #[test]
    fn a_socket_is_ready_for_what_it_is_watched_for() {
        let poller = Poller::new().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        let token = Sample::Socket(Key::default());
        poller.watch(&reader, token, EventFlags::IN).unwrap();
        let mut ready = Vec::new();
        poller.ready(&mut ready).unwrap();
        assert_eq!(ready, []);
        drop(writer);
        poller.wait(&mut ready).unwrap();
        assert_eq!(ready, [(token, EventFlags::HUP)]);
        poller.rewatch(&reader, token, EventFlags::IN, EventFlags::empty()).unwrap();
        ready.clear();
        poller.ready(&mut ready).unwrap();
        assert_eq!(ready, []);
    }

    #[test]
    fn time_is_up_once() {
        let mut poller = Poller::<Sample>::new().unwrap();
        let now = Instant::now();
        poller.remind(now, now).unwrap();
        assert!(poller.reminds_by(now + GRANULARITY));
        let mut ready = Vec::new();
        poller.wait(&mut ready).unwrap();
        assert_eq!(ready, [(Sample::Timer, EventFlags::IN)]);
        poller.reminded();
        ready.clear();
        poller.ready(&mut ready).unwrap();
        assert_eq!(ready, []);
    }
}
