//! What a witness says, and what it is told.
//!
//! One message a packet of a `SOCK_SEQPACKET` pair: a letter, numbers in this machine's order, then text.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair, sockopt,
};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::Process;

/// A message. Processes go by numbers, which the witness gives.
#[derive(Debug)]
pub enum Word {
    /// To the witness: a listener, to be served.
    Serve(OwnedFd),
    /// To the witness: look who holds which socket.
    Look,
    /// To the witness: let go of this when you have let go of every socket that was handed over.
    Settle(OwnedFd),
    /// There is a process.
    Process(u32, Process),
    /// A socket was made for a thread.
    Made {
        /// The kernel's name of the socket.
        cookie: u64,
        /// Whose.
        maker: Maker,
    },
    /// A socket for pings was made; this is it.
    Ping(OwnedFd, Maker),
    /// A process has made a socket itself that pings can be sent by.
    Pings(Maker),
    /// A process holds a socket.
    Holds {
        /// The socket's inode.
        inode: u64,
        /// By whom.
        maker: Maker,
    },
    /// All that was found is said.
    Looked,
}

/// A thread that has made a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maker {
    /// Its process, by the witness's number.
    pub process: u32,
    /// The thread; 0 if it is not known.
    pub tid: u32,
}

/// One end of the pair.
#[derive(Debug)]
pub struct Line(OwnedFd);

impl Line {
    /// Makes both ends, with room for a crowd of messages.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`: there are no descriptors left.
    pub fn pair() -> Result<(Self, Self), Errno> {
        let flags = SocketFlags::CLOEXEC;
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        // Without privilege there is room for some hundred.
        let _as_before = sockopt::set_socket_send_buffer_size_force(&other, ROOM);
        Ok((Self(one), Self(other)))
    }

    /// Says something; false if nobody hears it. Waits a moment for room, and not for ever: a caller may be waiting for us.
    pub fn say(&self, word: &Word) -> bool {
        let (bytes, descriptor) = word.encode();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = descriptor.as_slice();
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        let mut send = || {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut control, flags)
        };
        match send() {
            Err(Errno::AGAIN) => self.is_ready(PollFlags::OUT, PATIENCE) && send().is_ok(),
            sent => sent.is_ok(),
        }
    }

    /// Takes what was said, if anything was. `Err` when the other end is gone.
    ///
    /// # Errors
    /// `EPIPE`.
    pub fn hear(&self, flags: RecvFlags) -> Result<Option<Word>, Errno> {
        let mut bytes = [0_u8; MESSAGE_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        loop {
            let mut buffer = [IoSliceMut::new(&mut bytes)];
            match recvmsg(&self.0, &mut buffer, &mut control, flags | RecvFlags::CMSG_CLOEXEC) {
                Ok(message) if message.bytes == 0 => return Err(Errno::PIPE),
                Ok(message) => {
                    let descriptor = first_descriptor(&mut control);
                    if let Some(word) = Word::decode(&bytes[..message.bytes], descriptor) {
                        return Ok(Some(word));
                    }
                }
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Waits until the witness has let go of every socket that it has handed over: until then, closing one tells nobody.
    /// Not longer than `patience`.
    pub fn settle(&self, patience: Duration) {
        let Ok((ours, theirs)) = pipe_with(PipeFlags::CLOEXEC) else { return };
        if self.say(&Word::Settle(theirs)) {
            let timeout = Timespec::try_from(patience).ok();
            // Nothing is ever written to it: it is ready when its other end is gone.
            let _late = poll(&mut [PollFd::new(&ours, PollFlags::IN)], timeout.as_ref());
        }
    }

    fn is_ready(&self, flags: PollFlags, patience: Duration) -> bool {
        let timeout = Timespec::try_from(patience).ok();
        poll(&mut [PollFd::new(&self.0, flags)], timeout.as_ref()).is_ok_and(|ready| ready > 0)
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn first_descriptor(control: &mut RecvAncillaryBuffer<'_>) -> Option<OwnedFd> {
    let rights = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    rights?.next()
}

impl Word {
    fn encode(&self) -> (Vec<u8>, Option<BorrowedFd<'_>>) {
        let numbers = |letter: u8, parts: &[&[u8]]| [&[letter], parts.concat().as_slice()].concat();
        let made = |letter, Maker { process, tid }: &Maker, number: u64| {
            numbers(letter, &[&number.to_ne_bytes(), &process.to_ne_bytes(), &tid.to_ne_bytes()])
        };
        match self {
            Self::Serve(listener) => (vec![SERVE], Some(listener.as_fd())),
            Self::Look => (vec![LOOK], None),
            Self::Settle(end) => (vec![SETTLE], Some(end.as_fd())),
            Self::Looked => (vec![LOOKED], None),
            Self::Process(number, process) => (encode_process(*number, process), None),
            Self::Made { cookie, maker } => (made(MADE, maker, *cookie), None),
            Self::Ping(socket, maker) => (made(PING, maker, 0), Some(socket.as_fd())),
            Self::Pings(maker) => (made(PINGS, maker, 0), None),
            Self::Holds { inode, maker } => (made(HOLDS, maker, *inode), None),
        }
    }

    fn decode(bytes: &[u8], descriptor: Option<OwnedFd>) -> Option<Self> {
        let (letter, rest) = bytes.split_first()?;
        let made = |rest: &[u8]| {
            let (number, rest) = rest.split_first_chunk()?;
            let (process, rest) = rest.split_first_chunk()?;
            let maker = Maker {
                process: u32::from_ne_bytes(*process),
                tid: u32::from_ne_bytes(*rest.first_chunk()?),
            };
            Some((u64::from_ne_bytes(*number), maker))
        };
        Some(match *letter {
            SERVE => Self::Serve(descriptor?),
            LOOK => Self::Look,
            SETTLE => Self::Settle(descriptor?),
            LOOKED => Self::Looked,
            PROCESS => decode_process(rest)?,
            MADE => made(rest).map(|(cookie, maker)| Self::Made { cookie, maker })?,
            PING => Self::Ping(descriptor?, made(rest)?.1),
            PINGS => Self::Pings(made(rest)?.1),
            HOLDS => made(rest).map(|(inode, maker)| Self::Holds { inode, maker })?,
            _ => return None,
        })
    }
}

/// Number, pid, parent, uid, start; name, path and command line: the last has NUL bytes of its own.
fn encode_process(number: u32, process: &Process) -> Vec<u8> {
    let Process { pid, parent, uid, started_ns, name, path, command_line } = process;
    let mut bytes = vec![PROCESS];
    for half in [number, *pid, *parent, *uid] {
        bytes.extend(half.to_ne_bytes());
    }
    bytes.extend(started_ns.to_ne_bytes());
    bytes.extend(format!("{name}\0{path}\0{command_line}").as_bytes());
    bytes
}

fn decode_process(mut bytes: &[u8]) -> Option<Word> {
    let mut halves = [0; 4];
    for half in &mut halves {
        let (first, rest) = bytes.split_first_chunk()?;
        (*half, bytes) = (u32::from_ne_bytes(*first), rest);
    }
    let ([number, pid, parent, uid], (started_ns, rest)) = (halves, bytes.split_first_chunk()?);
    let text = String::from_utf8_lossy(rest);
    let mut texts = text.splitn(3, '\0').map(str::to_owned);
    let (name, path, command_line) = (texts.next()?, texts.next()?, texts.next()?);
    let started_ns = u64::from_ne_bytes(*started_ns);
    Some(Word::Process(number, Process { pid, parent, uid, started_ns, name, path, command_line }))
}

const SERVE: u8 = b'S';
const LOOK: u8 = b'L';
const SETTLE: u8 = b's';
const PROCESS: u8 = b'p';
const MADE: u8 = b'm';
const PING: u8 = b'i';
const PINGS: u8 = b'j';
const HOLDS: u8 = b'h';
const LOOKED: u8 = b'l';
/// A path and a command line at their longest.
const MESSAGE_BYTES: usize = 16 * 1024;
/// What the kernel may spend on messages that wait, bytes: some ten thousand.
const ROOM: usize = 8 << 20;
/// How long a caller may have to wait since nobody listens to us.
const PATIENCE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[track_caller]
    fn crosses(word: &Word) {
        let (one, other) = Line::pair().unwrap();
        assert!(other.say(word));
        let heard = one.hear(RecvFlags::DONTWAIT).unwrap().unwrap();
        let without_descriptors = |word: &Word| word.encode().0;
        assert_eq!(without_descriptors(&heard), without_descriptors(word));
        drop(other);
        assert_eq!(one.hear(RecvFlags::empty()).unwrap_err(), Errno::PIPE);
    }

    #[test]
    fn every_word_crosses() {
        let maker = Maker { process: 3, tid: 4_194_304 };
        let socket = || OwnedFd::from(std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
        let process = Process {
            pid: 4321,
            parent: 1,
            uid: 1000,
            started_ns: u64::MAX,
            name: "cu rl)".into(),
            path: "/usr/bin/curl".into(),
            command_line: "curl\0-s\0".into(),
        };
        crosses(&Word::Serve(socket()));
        crosses(&Word::Look);
        crosses(&Word::Looked);
        crosses(&Word::Settle(socket()));
        crosses(&Word::Made { cookie: 1 << 40, maker });
        crosses(&Word::Ping(socket(), maker));
        crosses(&Word::Pings(maker));
        crosses(&Word::Holds { inode: 1, maker });
        crosses(&Word::Process(7, process));
    }

    /// Whoever waits goes on when the other end has let go, or is gone, or after a while.
    #[test]
    fn whoever_settles_is_not_kept_for_ever() {
        let (one, other) = Line::pair().unwrap();
        one.settle(Duration::from_millis(1));
        let Some(Word::Settle(end)) = other.hear(RecvFlags::DONTWAIT).unwrap() else {
            panic!("another word")
        };
        drop(end);
        let is_settled = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let end = other.hear(RecvFlags::empty());
                std::thread::sleep(Duration::from_millis(50));
                is_settled.store(true, Ordering::SeqCst);
                drop(end);
            });
            one.settle(Duration::MAX);
            assert!(is_settled.load(Ordering::SeqCst), "it did not wait");
        });
        drop(other);
        one.settle(Duration::MAX);
    }

    #[test]
    fn whoever_is_not_heard_goes_on() {
        let (one, other) = Line::pair().unwrap();
        let word = Word::Made { cookie: 1, maker: Maker { process: 1, tid: 1 } };
        while other.say(&word) {}
        assert!(one.hear(RecvFlags::DONTWAIT).unwrap().is_some());
        drop(one);
        assert!(!other.say(&word));
    }
}
