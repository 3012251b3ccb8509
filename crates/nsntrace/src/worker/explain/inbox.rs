//! TLS keys that have come, for whoever needs them: the reader, the thread that waits for them, the one that writes.

use std::io;
use std::mem;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nsntrace_keylog::{Keys, Presence, Reader};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What the keys of a connection are logged under: the random of its client hello.
pub(crate) type Random = [u8; 32];

/// A line of a key log, with its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Secret {
    pub(crate) random: Random,
    pub(crate) line: Vec<u8>,
}

/// Keys, shared by threads.
#[derive(Clone, Debug)]
pub(crate) struct Inbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The reader's, to wait by.
    pipe: OwnedFd,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    reader: Reader,
    keys: Keys,
    /// What nobody has taken yet.
    fresh: Fresh,
    /// All bytes as they came, if they are passed on.
    raw: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Fresh {
    secrets: Vec<Secret>,
    bytes: usize,
    /// Lines, of a program that logs more than anybody writes.
    lost: u64,
}

impl Inbox {
    /// Takes the end of a pipe to read from. What comes is kept as it is, too, if somebody is to get it.
    pub(crate) fn new(pipe: OwnedFd, is_passed_on: bool) -> io::Result<Self> {
        let raw = is_passed_on.then(Vec::new);
        let (copy, reader) = (pipe.try_clone()?, Reader::new(pipe));
        let state = State { reader, keys: Keys::default(), fresh: Fresh::default(), raw };
        Ok(Self(Arc::new(Shared { pipe: copy, state: Mutex::new(state) })))
    }

    /// Reads what has come, some of it if it is much.
    pub(crate) fn read(&self) -> io::Result<()> {
        let State { reader, keys, fresh, raw } = &mut *self.state();
        // Whoever logs waits for the one who gets it, as without us.
        if raw.as_ref().is_some_and(|raw| raw.len() >= MAX_BYTES) {
            return Ok(());
        }
        reader.read(raw.as_mut(), |line| {
            let is_kept = fresh.bytes < MAX_BYTES && keys.insert(line);
            if is_kept {
                fresh.bytes += line.text.len();
                fresh.secrets.push(Secret { random: line.client_random, line: [line.text, b"\n"].concat() });
            } else {
                fresh.lost += 1;
            }
        })
    }

    /// Reads all that has come.
    pub(crate) fn drain(&self) {
        let deadline = Instant::now() + DRAIN_WITHIN;
        while self.wait(Duration::ZERO) && Instant::now() < deadline {
            // Whoever fails to read has nothing.
            let _nothing = self.read();
        }
    }

    /// What has come since the last time.
    pub(crate) fn take_fresh(&self) -> Vec<Secret> {
        let fresh = &mut self.state().fresh;
        fresh.bytes = 0;
        mem::take(&mut fresh.secrets)
    }

    /// What is to be passed on.
    pub(super) fn take_raw(&self) -> Vec<u8> {
        self.state().raw.as_mut().map(mem::take).unwrap_or_default()
    }

    /// What of a connection can be read.
    pub(super) fn presence(&self, random: &Random) -> Presence {
        self.state().keys.presence(random)
    }

    /// Whether nobody has logged anything.
    pub(super) fn is_empty(&self) -> bool {
        self.state().keys.is_empty()
    }

    /// How many lines were no keys, or too many.
    pub(super) fn ignored(&self) -> u64 {
        let state = self.state();
        state.reader.ignored() + state.fresh.lost
    }

    /// Waits until all keys of some connections are there, at most until `deadline`.
    pub(super) fn await_keys(&self, randoms: &[Random], deadline: Instant) {
        loop {
            let is_read = self.read().is_ok();
            let is_missing = |random: &Random| self.presence(random) != Presence::Complete;
            let left = deadline.saturating_duration_since(Instant::now());
            if !is_read || left.is_zero() || !randoms.iter().any(is_missing) {
                return;
            }
            // Another thread may be the one that reads.
            self.wait(left.min(STEP));
        }
    }

    /// Waits for something to read, or for the end of `stop`. Whether it was that.
    pub(super) fn wait_beside(&self, stop: BorrowedFd<'_>) -> bool {
        let fd = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut fds = [fd(self.0.pipe.as_fd()), fd(stop)];
        // Interrupted, it is called again.
        let _interrupted = poll(&mut fds, None);
        !fds[1].revents().is_empty()
    }

    /// Whether there is something to read, within a time.
    fn wait(&self, timeout: Duration) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(self.0.pipe.as_fd(), PollFlags::IN)];
        let timeout = Timespec::try_from(timeout).unwrap_or_default();
        poll(&mut fds, Some(&timeout)).is_ok_and(|ready| ready > 0)
    }

    /// A thread that has failed left nothing half done.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Four thousand connections.
const MAX_BYTES: usize = 4 << 20;
/// As long as a full pipe takes.
const DRAIN_WITHIN: Duration = Duration::from_millis(20);
const STEP: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::write;
    use rustix::pipe::{PipeFlags, pipe_with};

    fn line(label: &str, random: u8) -> String {
        format!("{label} {} 0102\n", format!("{random:02x}").repeat(32))
    }

    fn inbox() -> (Inbox, OwnedFd) {
        let (pipe, writer) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap();
        (Inbox::new(pipe, true).unwrap(), writer)
    }

    #[test]
    fn keys_are_taken_once_and_passed_on_as_they_came() {
        let (inbox, writer) = inbox();
        let text = format!("{}nonsense\n{}", line("CLIENT_RANDOM", 1), line("CLIENT_RANDOM", 2));
        write(&writer, text.as_bytes()).unwrap();
        inbox.drain();
        let randoms: Vec<_> = inbox.take_fresh().iter().map(|secret| secret.random[0]).collect();
        assert_eq!((randoms, inbox.take_fresh()), (vec![1, 2], vec![]));
        assert_eq!((inbox.take_raw(), inbox.take_raw()), (text.into_bytes(), vec![]));
        assert_eq!((inbox.ignored(), inbox.is_empty()), (1, false));
    }

    #[test]
    fn keys_are_waited_for_until_they_are_complete() {
        let (inbox, writer) = inbox();
        let later = std::thread::spawn(move || {
            for label in ["CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"] {
                std::thread::sleep(Duration::from_millis(5));
                write(&writer, line(label, 7).as_bytes()).unwrap();
            }
            writer
        });
        inbox.await_keys(&[[7; 32]], Instant::now() + Duration::from_secs(10));
        assert_eq!(inbox.presence(&[7; 32]), Presence::Complete);
        let began = Instant::now();
        inbox.await_keys(&[[8; 32]], began + Duration::from_millis(9));
        assert!(began.elapsed() >= Duration::from_millis(9));
        drop(later.join().unwrap());
    }
}
