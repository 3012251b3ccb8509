//! A connection whose two halves are both there.
//!
//! # Theory of operation
//! A half that is reset resets the other. What the peer had sent before is the program's to read, as it would be without us:
//! the program's half is reset when all of that has been acknowledged. What the program had sent before it was reset itself
//! would have been thrown away by its own kernel, and is by ours.
//!
//! # Kernel interface
//! `SO_LINGER` of 0 s (close(2) sends RST), `SO_KEEPALIVE`, `SIOCOUTQ`.
//!
//! # References
//! socket(7), tcp(7); RFC 9293 section 3.10.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use nsntrace_sys::unacknowledged;
use rustix::event::epoll::EventFlags;
use rustix::net::sockopt;

use super::direction::{Broken, Direction, Pause};
use super::pipes::Pipes;

/// A connection whose two halves are both there.
#[derive(Debug)]
pub(crate) struct Joined {
    /// To the program.
    downstream: OwnedFd,
    /// To the peer.
    upstream: OwnedFd,
    to_peer: Direction,
    to_program: Direction,
    /// The peer's half is gone, and the program is yet to be told.
    is_parting: bool,
}

/// What became of a connection that had its turn. What is later in the list overrides what is earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// It goes on when the kernel says so.
    Open,
    /// It goes on after others.
    Turn,
    /// It goes on when there is a pipe.
    Shortage,
    /// The program has yet to acknowledge what the peer had sent before it went.
    Parting,
    /// Both directions have ended.
    Closed,
    /// One half was reset, and so is the other now.
    Reset,
}

impl Fate {
    fn is_final(self) -> bool {
        matches!(self, Self::Closed | Self::Reset)
    }
}

impl Joined {
    /// `is_lost`: the peer has been there and is gone.
    pub(crate) fn new(downstream: OwnedFd, upstream: OwnedFd, is_lost: bool) -> Self {
        let [to_peer, mut to_program] = [Direction::default(), Direction::default()];
        if is_lost {
            to_program.cut();
        }
        Self { downstream, upstream, to_peer, to_program, is_parting: is_lost }
    }

    /// The program's half is ready for `flags`.
    pub(crate) fn downstream(&mut self, flags: EventFlags, pipes: &mut Pipes) -> Fate {
        if flags.contains(EventFlags::ERR) && self.to_peer.has_ended() {
            return Fate::Reset; // Nobody reads it any more, so nobody would find out.
        }
        let mut fate = Fate::Open;
        if flags.intersects(READABLE) {
            fate = self.toward_peer(pipes);
        }
        if !fate.is_final() && flags.intersects(WRITABLE) && self.to_program.has_waiting() {
            fate = fate.max(self.toward_program(pipes));
        }
        fate
    }

    /// The peer's half is ready for `flags`.
    pub(crate) fn upstream(&mut self, flags: EventFlags, pipes: &mut Pipes) -> Fate {
        if flags.contains(EventFlags::ERR) && self.to_program.has_ended() {
            return self.lose_peer(pipes);
        }
        let mut fate = Fate::Open;
        if flags.intersects(READABLE) {
            fate = self.toward_program(pipes);
        }
        if !fate.is_final() && flags.intersects(WRITABLE) && self.to_peer.has_waiting() {
            fate = fate.max(self.toward_peer(pipes));
        }
        fate
    }

    /// Makes the coming close of both halves a reset.
    pub(crate) fn reset(&self) {
        reset(&self.downstream);
        reset(&self.upstream);
    }

    /// Whether the peer has all that the program has written: the end as well, or else as much as there was since this was
    /// asked before.
    pub(crate) fn is_delivered(&mut self) -> bool {
        let is_quiet = !self.to_peer.take_moved();
        let has_arrived = !self.to_peer.has_waiting() && has_arrived(&self.upstream);
        has_arrived && (is_quiet || self.to_peer.has_ended())
    }

    fn toward_peer(&mut self, pipes: &mut Pipes) -> Fate {
        if self.is_parting {
            return self.part(pipes);
        }
        let had_ended = self.to_peer.has_ended();
        match self.to_peer.turn(&self.downstream, &self.upstream, pipes) {
            Ok(pause) => {
                if !had_ended && self.to_peer.has_ended() {
                    self.probe();
                }
                self.after(pause)
            }
            Err(Broken::Writer) => Fate::Reset,
            Err(Broken::Reader) => self.lose_peer(pipes),
        }
    }

    fn toward_program(&mut self, pipes: &mut Pipes) -> Fate {
        if self.is_parting {
            return self.part(pipes);
        }
        match self.to_program.turn(&self.upstream, &self.downstream, pipes) {
            Ok(pause) => self.after(pause),
            Err(Broken::Writer) => self.lose_peer(pipes),
            Err(Broken::Reader) => {
                // What it wrote before is sent on, as far as it can be at once.
                let _ = self.to_peer.turn(&self.downstream, &self.upstream, pipes);
                Fate::Reset
            }
        }
    }

    fn after(&self, pause: Pause) -> Fate {
        match pause {
            Pause::Kernel if self.to_peer.has_ended() && self.to_program.has_ended() => Fate::Closed,
            Pause::Kernel => Fate::Open,
            Pause::Turn => Fate::Turn,
            Pause::Shortage => Fate::Shortage,
        }
    }

    fn lose_peer(&mut self, pipes: &mut Pipes) -> Fate {
        self.is_parting = true;
        self.to_program.cut();
        self.part(pipes)
    }

    /// Gives the program what the peer had sent, and then a reset.
    fn part(&mut self, pipes: &mut Pipes) -> Fate {
        match self.to_program.turn(&self.upstream, &self.downstream, pipes) {
            Ok(Pause::Turn) => return Fate::Turn,
            Ok(Pause::Shortage) => return Fate::Shortage,
            Err(Broken::Reader) => return Fate::Reset,
            Ok(Pause::Kernel) | Err(Broken::Writer) => {}
        }
        if !self.to_program.has_waiting() && has_arrived(&self.downstream) {
            Fate::Reset
        } else {
            Fate::Parting
        }
    }

    /// Has the kernel ask from time to time whether the program's half, which has nothing to say any more, still listens: if
    /// the socket is closed and the peer is silent, nobody would ever say.
    fn probe(&self) {
        let _ = sockopt::set_socket_keepalive(&self.downstream, true); // Then it lasts until the peer says something.
    }
}

/// Makes the coming close of a socket a reset.
pub(crate) fn reset(socket: &OwnedFd) {
    // Where it fails the close is an orderly one, and the other side learns of the end all the same.
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

fn has_arrived(socket: &OwnedFd) -> bool {
    unacknowledged(socket.as_fd()).is_ok_and(|bytes| bytes == 0)
}

/// There may be something to read, the end included.
const READABLE: EventFlags =
    EventFlags::IN.union(EventFlags::RDHUP).union(EventFlags::HUP).union(EventFlags::ERR);
/// There may be room to write, or an error to be told.
const WRITABLE: EventFlags = EventFlags::OUT.union(EventFlags::HUP).union(EventFlags::ERR);
