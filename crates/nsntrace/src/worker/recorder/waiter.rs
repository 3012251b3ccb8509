//! What the thread of the ring waits for.
//!
//! Blocks of the ring that are kept as memory make the packet socket readable for as long as they are, as poll(2) sees it: so the socket is watched for what is new
//! alone, that the kernel has given out another block (`EPOLLET`). Whoever waits must have taken all blocks before.
//!
//! # References
//! epoll(7); net/packet/af_packet.c: `packet_poll()`, `prb_close_block()`.

use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use nsntrace_capture::Capture;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::failure::Failure;

/// What the thread was woken by.
#[derive(Clone, Copy)]
pub(super) enum Wake {
    Block,
    Stop,
    /// Once.
    ReaderGone,
    Time,
}

/// An epoll instance for one thread.
pub(super) struct Waiter {
    epoll: OwnedFd,
    /// Where packets go, if somebody reads while we write, and is there still.
    reader: Option<File>,
}

impl Waiter {
    pub(super) fn new(
        capture: &Capture,
        stop: BorrowedFd<'_>,
        reader: Option<File>,
    ) -> Result<Self, Failure> {
        let of = |errno| Failure::of("cannot wait for packets", &errno);
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(of)?;
        epoll::add(&epoll, capture, data(Wake::Block), EventFlags::IN | EventFlags::ET).map_err(of)?;
        epoll::add(&epoll, stop, data(Wake::Stop), EventFlags::IN).map_err(of)?;
        if let Some(reader) = &reader {
            // Of a pipe without a reader, it is told unasked. What cannot be watched is no pipe.
            let _unwatched = epoll::add(&epoll, reader, data(Wake::ReaderGone), EventFlags::empty());
        }
        Ok(Self { epoll, reader })
    }

    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> Wake {
        // What does not fit into the milliseconds of epoll_wait(2) is a call that kernels have since 5.11.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout.min(A_DAY)).ok());
        let mut events = [Event { flags: EventFlags::empty(), data: data(Wake::Time) }; 3];
        // A signal is as good as a block.
        let count = epoll::wait(&self.epoll, &mut events, timeout.as_ref()).unwrap_or(events.len());
        let is = |wake: Wake| events.iter().any(|event| event.data.u64() == wake as u64);
        if count == 0 {
            Wake::Time
        } else if is(Wake::Stop) {
            Wake::Stop
        } else if is(Wake::ReaderGone) {
            if let Some(reader) = self.reader.take() {
                let _it_was = epoll::delete(&self.epoll, reader);
            }
            Wake::ReaderGone
        } else {
            Wake::Block
        }
    }
}

fn data(wake: Wake) -> EventData {
    EventData::new_u64(wake as u64)
}

/// Whoever is woken in between waits again.
const A_DAY: Duration = Duration::from_hours(24);
