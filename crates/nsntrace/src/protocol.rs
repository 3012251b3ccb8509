//! What front and worker say to each other, one message a packet of a `SOCK_SEQPACKET` pair.
//!
//! A message is a tag and fields, separated by NUL bytes: no field can hold one, since all come from C strings or are numbers.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType, recvmsg, sendmsg, shutdown,
    socketpair,
};

use crate::failure::Failure;
use crate::transport::Transport;
use crate::worker::Told;

/// From worker to front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// The first word: worker's pid.
    Born(i32),
    /// The namespace has its network and the ring is running.
    Ready { interface: String, transport: Transport, v4: Ipv4Addr, v6: Option<Ipv6Addr> },
    /// Nobody reads the capture any more.
    ReaderGone,
    /// Something that the user should know.
    Note(String),
    /// A line of what is printed at the end.
    Line(String),
    /// Somebody was talked to and should not have been.
    Offence(String),
    /// Worker's last word: the name of the thread that has failed.
    Broken(String),
    /// There will be no trace. Worker has taken back what it made, or is about to.
    Failed(Failure),
    /// The file is complete.
    Finished(Outcome),
}

/// From front to worker, or from the process that is to become the program. The end of the stream says that both are gone.
#[derive(Debug)]
pub(crate) enum Order {
    /// The program has ended: complete the file.
    Finish,
    /// Do not wait for connections that are still closing.
    Hurry,
    /// Where the program's wishes for sockets arrive.
    Creations(OwnedFd),
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
    /// What was found out about packets; told in [`Report::Line`] and [`Report::Offence`].
    pub(crate) told: Told,
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
        let is_waited_for = !matches!(report, Report::Note(_));
        self.say(&report.encode(), None, is_waited_for);
    }

    /// Says something to worker. When worker is gone, reading tells.
    pub(crate) fn order(&self, order: &Order) {
        let (text, descriptor) = order.encode();
        self.say(text, descriptor, true);
    }

    /// Hands something over that the program cannot do without.
    ///
    /// # Errors
    /// `ENOBUFS` and its like; `EPIPE`: worker is gone.
    pub(crate) fn hand_over(&self, order: &Order) -> rustix::io::Result<()> {
        let (text, descriptor) = order.encode();
        self.send(text, descriptor).map(drop)
    }

    /// What cannot be said and is waited for is said by the end of the stream: without memory, better no trace than two processes that
    /// wait for each other.
    fn say(&self, message: &str, descriptor: Option<BorrowedFd<'_>>, is_waited_for: bool) {
        if self.send(message, descriptor).is_err() && is_waited_for {
            let _nobody_listens = shutdown(&self.0, Shutdown::Write);
        }
    }

    /// Waits for worker's next message. `None` when worker is gone.
    pub(crate) fn next_report(&self) -> Option<Report> {
        loop {
            if let Some(report) = Report::decode(&self.receive()?.0) {
                return Some(report);
            }
        }
    }

    /// Waits for front's next message. `None` when front is gone.
    pub(crate) fn next_order(&self) -> Option<Order> {
        loop {
            let (text, descriptor) = self.receive()?;
            if let Some(order) = Order::decode(&text, descriptor) {
                return Some(order);
            }
        }
    }

    /// A text that is too long loses its end, not its meaning: only notes and errors can be long.
    fn send(&self, message: &str, descriptor: Option<BorrowedFd<'_>>) -> rustix::io::Result<usize> {
        let end = message.floor_char_boundary(MESSAGE_BYTES);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = descriptor.as_slice();
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        sendmsg(&self.0, &[IoSlice::new(&message.as_bytes()[..end])], &mut control, SendFlags::NOSIGNAL)
    }

    fn receive(&self) -> Option<(String, Option<OwnedFd>)> {
        let mut bytes = [0_u8; MESSAGE_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut failures = 0;
        while failures < TRIES {
            let mut buffer = [IoSliceMut::new(&mut bytes)];
            match recvmsg(&self.0, &mut buffer, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Ok(message) if message.bytes == 0 => return None,
                Ok(message) => {
                    let text = String::from_utf8_lossy(&bytes[..message.bytes]).into_owned();
                    return Some((text, first_descriptor(&mut control)));
                }
                // The other is gone and has left something unread. The kernel says so once; then comes what it had said before.
                Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNRESET) => {}
                // Without memory the kernel leaves the message where it is.
                Err(_) => failures += 1,
            }
        }
        None
    }
}

fn first_descriptor(control: &mut RecvAncillaryBuffer<'_>) -> Option<OwnedFd> {
    let rights = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    rights?.next()
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> Self {
        channel.0
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Order {
    fn encode(&self) -> (&'static str, Option<BorrowedFd<'_>>) {
        match self {
            Self::Finish => (FINISH, None),
            Self::Hurry => (HURRY, None),
            Self::Creations(descriptor) => (CREATIONS, Some(descriptor.as_fd())),
        }
    }

    fn decode(text: &str, descriptor: Option<OwnedFd>) -> Option<Self> {
        match (text, descriptor) {
            (FINISH, None) => Some(Self::Finish),
            (HURRY, None) => Some(Self::Hurry),
            (CREATIONS, Some(descriptor)) => Some(Self::Creations(descriptor)),
            _ => None,
        }
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
            Self::ReaderGone => "reader gone".into(),
            Self::Note(text) => join(&["note", text]),
            Self::Line(text) => join(&["line", text]),
            Self::Offence(text) => join(&["offence", text]),
            Self::Broken(thread) => join(&["broken", thread]),
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
            ["reader gone"] => Some(Self::ReaderGone),
            ["note", text] => Some(Self::Note(text.into())),
            ["line", text] => Some(Self::Line(text.into())),
            ["offence", text] => Some(Self::Offence(text.into())),
            ["broken", thread] => Some(Self::Broken(thread.into())),
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
                told: Told::default(),
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

const FINISH: &str = "finish";
const HURRY: &str = "hurry";
const CREATIONS: &str = "creations";
/// How [`Report::Broken`] begins where nobody can encode it: what follows is the name.
pub(crate) const BROKEN: &[u8] = b"broken\0";
const SEPARATOR: char = '\0';
/// How often a message is asked for that the kernel cannot hand over: whoever gives up takes the other for gone.
const TRIES: u32 = 3;
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
    fn the_last_words_of_a_worker_that_listens_no_more_are_heard() {
        let (front, worker) = Channel::pair().unwrap();
        front.order(&Order::Finish);
        let report = Report::Failed(Failure::new("no"));
        worker.report(&report);
        drop(worker);
        assert_eq!(front.next_report(), Some(report));
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
        crosses(&Report::Line("  curl 1  192.0.2.1:80".into()));
        crosses(&Report::Offence("curl 1 talked to 192.0.2.1:80".into()));
        crosses(&Report::Broken("nsntrace-ring".into()));
        crosses(&Report::Failed(Failure::new("it failed").hint("do it").status(127)));
        crosses(&Report::Failed(Failure::new("it failed")));
        crosses(&Report::Finished(Outcome::default()));
        crosses(&Report::Finished(Outcome {
            written: 1,
            dropped: 2,
            unwritten: u64::MAX,
            output_error: Some("No space left on device (os error 28)".into()),
            survivors: vec![1, 4_194_304],
            told: Told::default(),
        }));
    }

    #[test]
    fn what_a_thread_says_that_has_failed_is_a_report() {
        let (front, worker) = Channel::pair().unwrap();
        rustix::io::write(worker.as_fd(), &[BROKEN, b"nsntrace-ring"].concat()).unwrap();
        assert_eq!(front.next_report(), Some(Report::Broken("nsntrace-ring".into())));
    }

    #[test]
    fn orders_arrive_and_an_end_is_an_end() {
        let (front, worker) = Channel::pair().unwrap();
        front.order(&Order::Finish);
        front.order(&Order::Hurry);
        assert!(matches!(worker.next_order(), Some(Order::Finish)));
        assert!(matches!(worker.next_order(), Some(Order::Hurry)));
        drop(front);
        assert!(worker.next_order().is_none());
    }

    #[test]
    fn a_descriptor_arrives_as_one_of_the_same_file() {
        let (front, worker) = Channel::pair().unwrap();
        let (reader, writer) = io::pipe().unwrap();
        front.order(&Order::Creations(writer.into()));
        let Some(Order::Creations(received)) = worker.next_order() else { panic!("another order") };
        rustix::io::write(&received, b"key").unwrap();
        drop(received);
        assert_eq!(io::read_to_string(reader).unwrap(), "key");
    }
}
