//! The witness: serves the listener of a program, and says who made which socket.
//!
//! # Theory of operation
//! A caller stands still until it has a word, so that procfs tells who it is without a race. What it wants is then made by the witness, in the same network
//! namespace and for the same user, its name noted, and handed over. What must not be made for somebody (raw sockets, what is not TCP, UDP or
//! a ping; whatever is wanted in another namespace or control group) he makes himself, and every error is the caller's own.
//!
//! The witness serves for as long as somebody has the filter, also when nobody listens to it any more: else their sockets would fail.
//!
//! # Kernel interface
//! `socket(2)`, `SO_COOKIE`; what `nsntrace_sys` has of seccomp.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Mutex;

use nsntrace_sys::{Held, Wish, as_file_user, give, let_go, next_held, take_turns};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, ipproto, socket_with, sockopt};
use rustix::process::{getegid, geteuid};

use crate::Process;
use crate::caller::{Caller, Callers};
use crate::pings::may_ping;
use crate::place::Place;
use crate::process::Reader;
use crate::word::{Line, Maker, Word};

/// Serves one listener.
#[derive(Debug)]
pub struct Witness<'a> {
    listener: OwnedFd,
    line: &'a Line,
    /// Held while a socket that is somebody's is ours, too.
    at_work: &'a Mutex<()>,
    callers: Callers,
    /// To whom our own sockets belong.
    own_user: (u32, u32),
    /// The kernel can hand sockets over.
    can_give: bool,
}

/// What a socket is for, as far as we make it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// TCP or UDP.
    Transport,
    Ping,
    /// Pings can be sent by it; the caller makes it.
    RawPing,
    Other,
}

impl<'a> Witness<'a> {
    /// Serves callers in the network namespace of this thread, and tells `line` of them. Holds `at_work` while a socket that is
    /// somebody's is ours, too.
    ///
    /// # Errors
    /// procfs does not tell where this thread is.
    pub fn new(
        listener: OwnedFd,
        line: &'a Line,
        at_work: &'a Mutex<()>,
        wants_command_line: bool,
    ) -> Result<Self, io::Error> {
        let home = Place::of_this_thread().ok_or(io::ErrorKind::NotFound)?;
        take_turns(listener.as_fd());
        let callers = Callers::of(home, Reader::new(wants_command_line));
        let own_user = (geteuid().as_raw(), getegid().as_raw());
        Ok(Self { listener, line, at_work, callers, own_user, can_give: true })
    }

    /// Serves until nobody has the filter any more.
    pub fn serve(mut self) {
        loop {
            let mut polled = [PollFd::new(&self.listener, PollFlags::IN)];
            match poll(&mut polled, None) {
                Ok(_) if polled[0].revents().contains(PollFlags::IN) => {}
                Err(Errno::INTR) => continue,
                _ => return,
            }
            let at_work = self.at_work;
            let _until_answered = at_work.lock();
            // It may be gone already.
            if let Ok(held) = next_held(self.listener.as_fd()) {
                self.answer(&held);
            }
        }
    }

    fn answer(&mut self, held: &Held) {
        let is_given = match held.wish {
            Wish::Namespace => {
                self.callers.may_move(held.tid);
                false
            }
            Wish::Socket(wish) => self.stand_in(held, wish),
        };
        if !is_given {
            // Whoever does not wait any more has his signal.
            let _gone = let_go(self.listener.as_fd(), held);
        }
    }

    /// Makes a socket for a caller; false if that is left to the caller.
    fn stand_in(&mut self, held: &Held, [family, kind, protocol]: [i32; 3]) -> bool {
        let line = self.line;
        let tell = |number, process: &Process| {
            line.say(&Word::Process(number, process.clone()));
        };
        let caller = self.callers.find(held, tell).filter(|caller| caller.is_at_home);
        let Some(caller) = caller else { return false };
        match Kind::of(family, kind, protocol) {
            Kind::Transport if self.can_give => {}
            Kind::Ping if self.can_give && may_ping(caller.maker.tid) => {}
            Kind::Ping | Kind::RawPing => {
                line.say(&Word::Pings(caller.maker));
                return false;
            }
            Kind::Transport | Kind::Other => return false,
        }
        let Ok((socket, cookie)) = self.make(&caller, [family, kind, protocol]) else { return false };
        match give(self.listener.as_fd(), held, socket.as_fd(), kind & CLOSES_ON_EXEC != 0) {
            Ok(()) => {}
            Err(error) => {
                // Before Linux 5.14 it is so each time.
                self.can_give = Errno::from_io_error(&error) != Some(Errno::INVAL);
                return false;
            }
        }
        line.say(&told(protocol, socket, cookie, caller.maker));
        true
    }

    fn make(&self, caller: &Caller, [family, kind, protocol]: [i32; 3]) -> Result<(OwnedFd, u64), Errno> {
        let flags = SocketFlags::CLOEXEC
            | if kind & IS_NONBLOCKING != 0 { SocketFlags::NONBLOCK } else { SocketFlags::empty() };
        let kind = SocketType::from_raw(kind.unsigned_abs() & TYPE_MASK);
        let family = AddressFamily::from_raw(u16::try_from(family).map_err(|_unknown| Errno::AFNOSUPPORT)?);
        let protocol = std::num::NonZeroU32::new(protocol.unsigned_abs()).map(Protocol::from_raw);
        let make = || socket_with(family, kind, flags, protocol);
        let user = caller.credentials.file_user;
        let socket = if user == self.own_user { make() } else { as_file_user(user, make) }?;
        let cookie = sockopt::socket_cookie(&socket)?;
        Ok((socket, cookie))
    }
}

/// Of a socket for pings there is no word when it goes, and no asking: it is kept to ask it itself.
fn told(protocol: i32, socket: OwnedFd, cookie: u64, maker: Maker) -> Word {
    let is_ping = [ipproto::ICMP, ipproto::ICMPV6].iter().any(|ping| is(protocol, *ping));
    if is_ping { Word::Ping(socket, maker) } else { Word::Made { cookie, maker } }
}

impl Kind {
    fn of(family: i32, kind: i32, protocol: i32) -> Self {
        if kind & !(TYPE_MASK.cast_signed() | CLOSES_ON_EXEC | IS_NONBLOCKING) != 0 {
            return Self::Other;
        }
        let pings =
            if family == i32::from(AddressFamily::INET.as_raw()) { ipproto::ICMP } else { ipproto::ICMPV6 };
        let default = |usual| protocol == 0 || is(protocol, usual);
        match SocketType::from_raw(kind.unsigned_abs() & TYPE_MASK) {
            SocketType::STREAM if default(ipproto::TCP) => Self::Transport,
            SocketType::DGRAM if default(ipproto::UDP) => Self::Transport,
            SocketType::DGRAM if is(protocol, pings) => Self::Ping,
            SocketType::RAW if is(protocol, pings) || is(protocol, ipproto::RAW) => Self::RawPing,
            _ => Self::Other,
        }
    }
}

fn is(number: i32, protocol: Protocol) -> bool {
    u32::try_from(number).is_ok_and(|number| number == protocol.as_raw().get())
}

/// include/linux/net.h: `SOCK_TYPE_MASK`.
const TYPE_MASK: u32 = 0xf;
/// `SOCK_CLOEXEC`, which is `O_CLOEXEC`.
const CLOSES_ON_EXEC: i32 = SocketFlags::CLOEXEC.bits().cast_signed();
/// `SOCK_NONBLOCK`.
const IS_NONBLOCKING: i32 = SocketFlags::NONBLOCK.bits().cast_signed();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_left_to_the_caller() {
        let (inet, inet6) = (2, 10);
        let (stream, dgram, raw, flags) = (1, 2, 3, 0o2_004_000);
        for (call, kind) in [
            ([inet, stream, 0], Kind::Transport),
            ([inet, stream | flags, 6], Kind::Transport),
            ([inet6, dgram | flags, 17], Kind::Transport),
            ([inet, dgram, 1], Kind::Ping),
            ([inet6, dgram, 58], Kind::Ping),
            ([inet6, dgram, 1], Kind::Other),
            ([inet, raw, 1], Kind::RawPing),
            ([inet, raw, 255], Kind::RawPing),
            ([inet, raw, 89], Kind::Other),
            ([inet, stream, 262], Kind::Other),
            ([inet, stream, 132], Kind::Other),
            ([inet, dgram, 136], Kind::Other),
            ([inet, 10, 0], Kind::Other),
            ([inet, stream | 0x100, 0], Kind::Other),
            ([inet, stream, -1], Kind::Other),
        ] {
            let [family, ty, protocol] = call;
            assert_eq!(Kind::of(family, ty, protocol), kind, "{call:?}");
        }
    }
}
