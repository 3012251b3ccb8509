//! What a witness says, and what it is told.
//!
//! One message a packet of a `SOCK_SEQPACKET` pair: a letter, numbers in this machine's order, then text. Who made a socket is said for every one of them while the maker waits,
//! so it goes by a pipe that wakes nobody: it is read when somebody wants to know. Only when that is full it goes like the rest.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read, write};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair, sockopt,
};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use rustix::time::{ClockId, clock_gettime};

use crate::Process;

/// A message. Processes go by numbers, which the witness gives.
#[derive(Debug)]
pub enum Word {
    /// To the witness: a listener, to be served.
    Serve(OwnedFd),
    /// To the witness: look who holds which socket.
    Look,
    /// There is a process.
    Process(u32, Process),
    /// A socket was made for a thread, or is about to have its first connection.
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

/// A thread that has made a socket, or connected it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maker {
    /// Its process, by the witness's number.
    pub process: u32,
    /// The thread; 0 if it is not known.
    pub tid: u32,
    /// When it asked for the socket, in nanoseconds since the epoch; 0 if it is not known.
    pub since_ns: u64,
}

impl Maker {
    /// The same, who asks at this moment.
    pub(crate) fn now(self) -> Self {
        let now = clock_gettime(ClockId::Realtime);
        let since_ns = now.tv_sec.unsigned_abs() * NS_PER_SECOND + now.tv_nsec.unsigned_abs();
        Self { since_ns, ..self }
    }
}

/// One end of the pair.
#[derive(Debug)]
pub struct Line {
    socket: OwnedFd,
    /// Of the pipe from the witness.
    notes: OwnedFd,
}

impl Line {
    /// Makes both ends, worker's and the witness', with room for a crowd of messages.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`: there are no descriptors left.
    pub fn pair() -> Result<(Self, Self), Errno> {
        let flags = SocketFlags::CLOEXEC;
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        // Without privilege there is room for some hundred.
        let _as_before = sockopt::set_socket_send_buffer_size_force(&other, ROOM);
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let _as_before = fcntl_setpipe_size(&writer, NOTES_ROOM);
        Ok((Self { socket: one, notes: reader }, Self { socket: other, notes: writer }))
    }

    /// Says something; false if nobody hears it. Waits a moment for room, and not for ever: a caller may be waiting for us.
    pub fn say(&self, word: &Word) -> bool {
        if let Word::Made { cookie, maker } = word
            && write(&self.notes, &note(*cookie, *maker)).is_ok()
        {
            return true;
        }
        let (bytes, descriptor) = word.encode();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = descriptor.as_slice();
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        let mut send = || {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            sendmsg(&self.socket, &[IoSlice::new(&bytes)], &mut control, flags)
        };
        match send() {
            Err(Errno::AGAIN) => self.is_ready(PollFlags::OUT, PATIENCE) && send().is_ok(),
            sent => sent.is_ok(),
        }
    }

    /// Whether the other end is gone.
    pub fn is_severed(&self) -> bool {
        // Asked for nothing, poll(2) tells of the end alone.
        self.is_ready(PollFlags::empty(), Duration::ZERO)
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
            match recvmsg(&self.socket, &mut buffer, &mut control, flags | RecvFlags::CMSG_CLOEXEC) {
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

    /// Takes who was said to have made a socket. To be called before the rest is heard: which process it was is said there, and before.
    pub fn notes(&self, mut take: impl FnMut(u64, Maker)) {
        let mut bytes = [0; NOTE_BYTES * 256];
        // A note is written at once, and read as a whole.
        while let Ok(len @ 1..) = read(&self.notes, &mut bytes) {
            for note in bytes[..len].as_chunks::<NOTE_BYTES>().0 {
                let (cookie, maker) = read_note(*note);
                take(cookie, maker);
            }
        }
    }

    fn is_ready(&self, flags: PollFlags, patience: Duration) -> bool {
        let timeout = Timespec::try_from(patience).ok();
        poll(&mut [PollFd::new(&self.socket, flags)], timeout.as_ref()).is_ok_and(|ready| ready > 0)
    }
}

/// Readable when there is something to hear, other than notes.
impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
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
        let made = |letter, maker: &Maker, number: u64| numbers(letter, &[&note(number, *maker)]);
        match self {
            Self::Serve(listener) => (vec![SERVE], Some(listener.as_fd())),
            Self::Look => (vec![LOOK], None),
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
        let made = |rest: &[u8]| Some(read_note(*rest.first_chunk()?));
        Some(match *letter {
            SERVE => Self::Serve(descriptor?),
            LOOK => Self::Look,
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

/// A number of 64 bits, and a maker.
fn note(number: u64, Maker { process, tid, since_ns }: Maker) -> [u8; NOTE_BYTES] {
    let mut note = [0; NOTE_BYTES];
    let parts = [number, u64::from(process) << 32 | u64::from(tid), since_ns];
    for (place, part) in note.as_chunks_mut::<8>().0.iter_mut().zip(parts) {
        *place = part.to_ne_bytes();
    }
    note
}

#[expect(clippy::cast_possible_truncation, reason = "one half of it after the other")]
fn read_note(bytes: [u8; NOTE_BYTES]) -> (u64, Maker) {
    let mut parts = [0; 3];
    for (part, place) in parts.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *part = u64::from_ne_bytes(*place);
    }
    let [number, maker, since_ns] = parts;
    (number, Maker { process: (maker >> 32) as u32, tid: maker as u32, since_ns })
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

const NS_PER_SECOND: u64 = 1_000_000_000;
const SERVE: u8 = b'S';
const LOOK: u8 = b'L';
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
/// Cookie or inode, process and thread, time.
const NOTE_BYTES: usize = 24;
/// Of the pipe, bytes: 43520 notes (none crosses a page). As much as the kernel gives to everybody.
const NOTES_ROOM: usize = 1 << 20;
/// How long a caller may have to wait since nobody listens to us.
const PATIENCE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

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
        let maker = Maker { process: 3, tid: 4_194_304, since_ns: u64::MAX };
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
        crosses(&Word::Ping(socket(), maker));
        crosses(&Word::Pings(maker));
        crosses(&Word::Holds { inode: 1, maker });
        crosses(&Word::Process(7, process));
    }

    #[test]
    fn who_made_a_socket_waits_until_somebody_wants_to_know() {
        let (one, other) = Line::pair().unwrap();
        let maker = |tid| Maker { process: 7, tid, since_ns: 1 << 60 };
        for tid in 1..=1000 {
            assert!(other.say(&Word::Made { cookie: u64::from(tid) << 33, maker: maker(tid) }));
        }
        assert!(one.hear(RecvFlags::DONTWAIT).unwrap().is_none(), "it woke somebody");
        let mut heard = Vec::new();
        one.notes(|cookie, maker| heard.push((cookie, maker)));
        let said: Vec<_> = (1..=1000).map(|tid| (u64::from(tid) << 33, maker(tid))).collect();
        assert_eq!(heard, said);
    }

    #[test]
    fn whoever_is_not_heard_goes_on() {
        let (one, other) = Line::pair().unwrap();
        let word = Word::Made { cookie: 1, maker: Maker { process: 1, tid: 1, since_ns: 0 } };
        // First the pipe is full, then the socket.
        while other.say(&word) {}
        assert!(matches!(one.hear(RecvFlags::DONTWAIT), Ok(Some(Word::Made { cookie: 1, .. }))));
        let mut notes = 0;
        one.notes(|_, _| notes += 1);
        assert!(notes >= 1000, "{notes}");
        drop(one);
        assert!(!other.say(&word));
    }
}
