//! The witness: serves the listener of a program, and says who made which socket.
//!
//! # Theory of operation
//! A caller stands still until it has a word, so that procfs tells who it is without a race. Before a connection, or connections that come, the witness takes a duplicate of
//! the caller's socket, notes its name and lets it go at once; the kernel then does what the caller wants. What may send without that, UDP and pings, is made by the witness, in the
//! same network namespace and for the same user, its name noted, and handed over. What must not be made for somebody (raw sockets, what is not UDP or
//! a ping; whatever is wanted in another namespace or control group) he makes himself, and every error is the caller's own.
//!
//! The witness serves for as long as somebody has the filter, also when nobody listens to it any more: else their sockets would fail.
//!
//! # Kernel interface
//! `socket(2)`, `SO_COOKIE`, `SO_DOMAIN`; what `nsntrace_sys` has of seccomp.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use nsntrace_sys::{Held, Wish, as_file_user, give, let_go, next_held, take_turns};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, ipproto, socket_with, sockopt};
use rustix::process::{getegid, geteuid};
use rustix::system::uname;

use crate::Process;
use crate::caller::Callers;
use crate::pings::may_ping;
use crate::place::Place;
use crate::process::Reader;
use crate::word::{Line, Word};

/// Serves one listener.
#[derive(Debug)]
pub struct Witness<'a> {
    listener: OwnedFd,
    line: &'a Line,
    callers: Callers,
    /// To whom our own sockets belong.
    own_user: (u32, u32),
    /// The kernel can hand sockets over.
    can_give: bool,
}

/// What a socket is for, as far as we make it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Udp,
    Ping,
    /// Pings can be sent by it; the caller makes it.
    RawPing,
    Other,
}

impl<'a> Witness<'a> {
    /// Serves callers in the network namespace of this thread, and tells `line` of them.
    ///
    /// # Errors
    /// procfs does not tell where this thread is.
    pub fn new(listener: OwnedFd, line: &'a Line, wants_command_line: bool) -> Result<Self, io::Error> {
        let home = Place::of_this_thread().ok_or(io::ErrorKind::NotFound)?;
        take_turns(listener.as_fd());
        let callers = Callers::of(home, Reader::new(wants_command_line));
        let own_user = (geteuid().as_raw(), getegid().as_raw());
        Ok(Self { listener, line, callers, own_user, can_give: true })
    }

    /// Serves until nobody has the filter any more.
    pub fn serve(mut self) {
        let wakes_at_the_end = wakes_at_the_end(&uname().release().to_string_lossy());
        while wakes_at_the_end || self.is_needed() {
            match next_held(self.listener.as_fd()) {
                Ok(held) => self.answer(&held),
                // It may be gone already.
                Err(_gone) if self.is_needed() => {}
                Err(_nobody) => return,
            }
        }
    }

    /// Waits for a call. False if nobody has the filter any more.
    fn is_needed(&self) -> bool {
        loop {
            let mut polled = [PollFd::new(&self.listener, PollFlags::IN)];
            match poll(&mut polled, None) {
                Err(Errno::INTR) => {}
                polls => return polls.is_ok() && polled[0].revents().contains(PollFlags::IN),
            }
        }
    }

    fn answer(&mut self, held: &Held) {
        let is_given = match held.wish {
            Wish::Socket(wish) => self.stand_in(held, wish),
            Wish::Connection { fd, has_internet_address } => {
                // What we do not find out the kernel says itself.
                let _unknown = self.look_at(held, fd, has_internet_address);
                false
            }
            Wish::Namespace => {
                self.callers.may_move(held.tid);
                false
            }
        };
        if !is_given {
            self.let_go(held);
        }
    }

    /// Lets a call be carried out. If that is refused it is said again, for the caller waits as long as nobody says it.
    fn let_go(&self, held: &Held) {
        // Whoever does not wait any more has his signal.
        let is_over = |error: io::Error| Errno::from_io_error(&error) == Some(Errno::NOENT);
        let _done = (0..TRIES).any(|_| let_go(self.listener.as_fd(), held).map_or_else(is_over, |()| true));
    }

    /// Notes whose a socket is that is about to connect or to listen.
    fn look_at(&mut self, held: &Held, fd: i32, has_internet_address: bool) -> Result<(), Errno> {
        let line = self.line;
        let tell = |number, process: &Process| {
            line.say(&Word::Process(number, process.clone()));
        };
        let mut caller = self.callers.find(held, tell).ok_or(Errno::SRCH)?;
        let mut taken = caller.descriptor(fd);
        if taken.as_ref().is_err_and(|errno| *errno == Errno::SRCH) {
            // Another thread has its number.
            self.callers.forget(held.tid);
            caller = self.callers.find(held, tell).ok_or(Errno::SRCH)?;
            taken = caller.descriptor(fd);
        }
        let (socket, maker) = (taken?, caller.maker.now());
        if has_internet_address || is_internet(&socket)? {
            line.say(&Word::Made { cookie: sockopt::socket_cookie(&socket)?, maker });
        }
        Ok(())
    }

    /// Makes a socket for a caller; false if that is left to the caller.
    fn stand_in(&mut self, held: &Held, [family, kind, protocol]: [i32; 3]) -> bool {
        let line = self.line;
        let tell = |number, process: &Process| {
            line.say(&Word::Process(number, process.clone()));
        };
        let Some(caller) = self.callers.find_at_home(held, tell) else { return false };
        let (maker, user) = (caller.maker, caller.credentials.file_user);
        match Kind::of(family, kind, protocol) {
            Kind::Udp if self.can_give => {}
            Kind::Ping if self.can_give && may_ping(maker.tid) => {}
            Kind::Ping | Kind::RawPing => {
                line.say(&Word::Pings(maker));
                return false;
            }
            Kind::Udp | Kind::Other => return false,
        }
        let Ok((socket, cookie)) = self.make(user, [family, kind, protocol]) else { return false };
        if !is_ping(protocol) {
            // Before it can send. Of a socket that nobody gets nothing is ever asked.
            line.say(&Word::Made { cookie, maker: maker.now() });
        }
        match give(self.listener.as_fd(), held, socket.as_fd(), kind & CLOSES_ON_EXEC != 0) {
            Ok(()) => {}
            Err(error) => {
                // Before Linux 5.14 it is so each time.
                self.can_give = Errno::from_io_error(&error) != Some(Errno::INVAL);
                return false;
            }
        }
        if is_ping(protocol) {
            // There is no word when it goes, and no asking: it is kept to ask it itself.
            line.say(&Word::Ping(socket, maker));
        }
        true
    }

    fn make(&self, user: (u32, u32), [family, kind, protocol]: [i32; 3]) -> Result<(OwnedFd, u64), Errno> {
        let flags = SocketFlags::CLOEXEC
            | if kind & IS_NONBLOCKING != 0 { SocketFlags::NONBLOCK } else { SocketFlags::empty() };
        let kind = SocketType::from_raw(kind.unsigned_abs() & TYPE_MASK);
        let family = AddressFamily::from_raw(u16::try_from(family).map_err(|_unknown| Errno::AFNOSUPPORT)?);
        let protocol = std::num::NonZeroU32::new(protocol.unsigned_abs()).map(Protocol::from_raw);
        let make = || socket_with(family, kind, flags, protocol);
        let socket = if user == self.own_user { make() } else { as_file_user(user, make) }?;
        let cookie = sockopt::socket_cookie(&socket)?;
        Ok((socket, cookie))
    }
}

/// Since Linux 6.11 who waits for a call is told that none will come; before, it must be asked first.
fn wakes_at_the_end(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= (6, 11)
}

fn is_internet(socket: &OwnedFd) -> Result<bool, Errno> {
    Ok([AddressFamily::INET, AddressFamily::INET6].contains(&sockopt::socket_domain(socket)?))
}

fn is_ping(protocol: i32) -> bool {
    [ipproto::ICMP, ipproto::ICMPV6].iter().any(|ping| is(protocol, *ping))
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
            SocketType::DGRAM if default(ipproto::UDP) => Self::Udp,
            SocketType::DGRAM if is(protocol, pings) => Self::Ping,
            SocketType::RAW if is(protocol, pings) || is(protocol, ipproto::RAW) => Self::RawPing,
            _ => Self::Other,
        }
    }
}

fn is(number: i32, protocol: Protocol) -> bool {
    u32::try_from(number).is_ok_and(|number| number == protocol.as_raw().get())
}

/// More than a signal or two may cost.
const TRIES: u32 = 8;
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
    fn a_release_begins_with_two_numbers() {
        for (release, wakes) in [
            ("6.18.44-fc-v857", true),
            ("6.11.0", true),
            ("7.0-rc1", true),
            ("6.1.0-44-amd64", false),
            ("5.14.0-427.el9", false),
            ("6", false),
            ("", false),
        ] {
            assert_eq!(wakes_at_the_end(release), wakes, "{release}");
        }
    }

    #[test]
    fn what_is_not_known_is_left_to_the_caller() {
        let (inet, inet6) = (2, 10);
        let (dgram, raw, flags) = (2, 3, 0o2_004_000);
        for (call, kind) in [
            ([inet, dgram, 0], Kind::Udp),
            ([inet6, dgram | flags, 17], Kind::Udp),
            ([inet, dgram, 1], Kind::Ping),
            ([inet6, dgram, 58], Kind::Ping),
            ([inet6, dgram, 1], Kind::Other),
            ([inet, raw, 1], Kind::RawPing),
            ([inet, raw, 255], Kind::RawPing),
            ([inet, raw, 89], Kind::Other),
            ([inet, dgram, 136], Kind::Other),
            ([inet, 10, 0], Kind::Other),
            ([inet, dgram | 0x100, 0], Kind::Other),
            ([inet, dgram, -1], Kind::Other),
        ] {
            let [family, ty, protocol] = call;
            assert_eq!(Kind::of(family, ty, protocol), kind, "{call:?}");
        }
    }
}
