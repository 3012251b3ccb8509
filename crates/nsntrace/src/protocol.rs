//! What front and worker say to each other, one message a packet of a `SOCK_SEQPACKET` pair.
//!
//! A message is a tag and fields, separated by NUL bytes: no field can hold one, since all come from C strings or are numbers.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};

use crate::failure::Failure;
use crate::transport::Transport;

/// From worker to front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// The first word: worker's pid.
    Born(i32),
    /// The namespace has its network and the ring is running.
    Ready { interface: String, transport: Transport, v4: Ipv4Addr, v6: Option<Ipv6Addr> },
    /// Something that the user should know.
    Note(String),
    /// There will be no trace. Worker has taken back what it made, or is about to.
    Failed(Failure),
    /// The file is complete.
    Finished(Outcome),
}

/// From front to worker. The end of the stream says that front is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The program has ended: complete the file.
    Finish,
    /// Do not wait for connections that are still closing.
    Hurry,
}

/// What became of the packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Packets in the file.
    pub(crate) written: u64,
    /// Packets that the kernel had no room for.
    pub(crate) dropped: u64,
    /// Packets that were captured and could not be written.
    pub(crate) unwritten: u64,
    /// Why not.
    pub(crate) output_error: Option<String>,
    /// Processes that the program left in the namespace, by pid.
    pub(crate) survivors: Vec<i32>,
}

/// One end of the pair.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

impl Channel {
    /// Makes both ends.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(one), Self(other)))
    }

    /// The same end once more, for another thread.
    pub(crate) fn duplicate(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }

    /// Says something to front. When nobody listens any more, there is nobody to tell.
    pub(crate) fn report(&self, report: &Report) {
        let _ = self.send(&report.encode());
    }

    /// Says something to worker. When worker is gone, reading tells.
    pub(crate) fn order(&self, order: Order) {
        let _ = self.send(order.encode());
    }

    /// Waits for worker's next message. `None` when worker is gone.
    pub(crate) fn next_report(&self) -> Option<Report> {
        loop {
            if let Some(report) = Report::decode(&self.receive()?) {
                return Some(report);
            }
        }
    }

    /// Waits for front's next message. `None` when front is gone.
    pub(crate) fn next_order(&self) -> Option<Order> {
        loop {
            if let Some(order) = Order::decode(&self.receive()?) {
                return Some(order);
            }
        }
    }

    /// A text that is too long loses its end, not its meaning: only notes and errors can be long.
    fn send(&self, message: &str) -> rustix::io::Result<usize> {
        let end = message.floor_char_boundary(MESSAGE_BYTES);
        send(&self.0, &message.as_bytes()[..end], SendFlags::NOSIGNAL)
    }

    fn receive(&self) -> Option<String> {
        let mut buffer = [0_u8; MESSAGE_BYTES];
        loop {
            match recv(&self.0, &mut buffer, RecvFlags::empty()) {
                Ok((_, 0)) => return None,
                Ok((_, len)) => {
                    return Some(String::from_utf8_lossy(&buffer[..len.min(MESSAGE_BYTES)]).into_owned());
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(_gone) => return None,
            }
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Order {
    fn encode(self) -> &'static str {
        match self {
            Self::Finish => "finish",
            Self::Hurry => "hurry",
        }
    }

    fn decode(message: &str) -> Option<Self> {
        [Self::Finish, Self::Hurry].into_iter().find(|order| order.encode() == message)
    }
}

impl Report {
    fn encode(&self) -> String {
        match self {
            Self::Ready { interface, transport, v4, v6 } => join(&[
                "ready",
                interface,
                transport.name(),
                &v4.to_string(),
                &v6.map_or_else(String::new, |v6| v6.to_string()),
            ]),
            Self::Born(pid) => join(&["born", &pid.to_string()]),
            Self::Note(text) => join(&["note", text]),
            Self::Failed(failure) => {
                let hint = failure.hint.as_deref().unwrap_or("");
                join(&["failed", &failure.status.to_string(), &failure.message, hint])
            }
            Self::Finished(outcome) => {
                // Pids beyond what one message holds are of no use to a reader either.
                let survivors: Vec<_> = outcome.survivors.iter().take(100).map(ToString::to_string).collect();
                join(&[
                    "finished",
                    &outcome.written.to_string(),
                    &outcome.dropped.to_string(),
                    &outcome.unwritten.to_string(),
                    outcome.output_error.as_deref().unwrap_or(""),
                    &survivors.join(","),
                ])
            }
        }
    }

    fn decode(message: &str) -> Option<Self> {
        let fields: Vec<&str> = message.split(SEPARATOR).collect();
        match fields[..] {
            ["ready", interface, transport, v4, v6] => Some(Self::Ready {
                interface: interface.into(),
                transport: Transport::named(transport)?,
                v4: v4.parse().ok()?,
                v6: if v6.is_empty() { None } else { Some(v6.parse().ok()?) },
            }),
            ["born", pid] => Some(Self::Born(pid.parse().ok()?)),
            ["note", text] => Some(Self::Note(text.into())),
            ["failed", status, message, hint] => Some(Self::Failed(Failure {
                message: message.into(),
                excerpt: None,
                hint: some(hint),
                status: status.parse().ok()?,
            })),
            ["finished", written, dropped, unwritten, error, survivors] => Some(Self::Finished(Outcome {
                written: written.parse().ok()?,
                dropped: dropped.parse().ok()?,
                unwritten: unwritten.parse().ok()?,
                output_error: some(error),
                survivors: survivors.split(',').filter_map(|pid| pid.parse().ok()).collect(),
            })),
            _ => None,
        }
    }
}

fn join(fields: &[&str]) -> String {
    fields.join(&SEPARATOR.to_string())
}

fn some(field: &str) -> Option<String> {
    (!field.is_empty()).then(|| field.into())
}

const SEPARATOR: char = '\0';
/// More than any message needs.
const MESSAGE_BYTES: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn crosses(report: &Report) {
        let (front, worker) = Channel::pair().unwrap();
        worker.report(report);
        assert_eq!(front.next_report().as_ref(), Some(report));
        drop(worker);
        assert_eq!(front.next_report(), None);
    }

    #[test]
    fn every_report_arrives_as_it_was_sent() {
        let v6 = Some("2001:db8::1".parse().unwrap());
        crosses(&Report::Ready {
            interface: "up0".into(),
            transport: Transport::Nat,
            v4: Ipv4Addr::new(10, 1, 2, 3),
            v6,
        });
        crosses(&Report::Ready {
            interface: "lo".into(),
            transport: Transport::Proxy,
            v4: Ipv4Addr::LOCALHOST,
            v6: None,
        });
        crosses(&Report::Born(4_194_304));
        crosses(&Report::Note("a note: with a colon".into()));
        crosses(&Report::Failed(Failure::new("it failed").hint("do it").status(127)));
        crosses(&Report::Failed(Failure::new("it failed")));
        crosses(&Report::Finished(Outcome::default()));
        crosses(&Report::Finished(Outcome {
            written: 1,
            dropped: 2,
            unwritten: u64::MAX,
            output_error: Some("No space left on device (os error 28)".into()),
            survivors: vec![1, 4_194_304],
        }));
    }

    #[test]
    fn orders_arrive_and_an_end_is_an_end() {
        let (front, worker) = Channel::pair().unwrap();
        front.order(Order::Finish);
        front.order(Order::Hurry);
        assert_eq!(worker.next_order(), Some(Order::Finish));
        assert_eq!(worker.next_order(), Some(Order::Hurry));
        drop(front);
        assert_eq!(worker.next_order(), None);
    }
}
