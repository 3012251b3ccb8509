//! Sockets of r, made ahead by a thread that stays there.
//!
//! # Theory of operation
//! A socket belongs to the namespace of the thread that made it, and the thread of the event loop cannot go to r and come back:
//! that takes privilege over the host's namespace. So a thread that was born in r makes sockets and puts them on a shelf
//! that holds a few. While that is full the thread sleeps beside it, and when nobody takes any more it ends.
//!
//! # Kernel interface
//! `socket(2)`, `IP_TRANSPARENT`, `IPV6_TRANSPARENT`, `SO_REUSEADDR`, `IP_RECVTTL`, `IP_RECVFRAGSIZE`, `UDP_GRO`. `CAP_NET_ADMIN` over r.
//!
//! # References
//! network_namespaces(7); clone(2): a thread is born in the namespaces of the one that starts it.

use std::collections::VecDeque;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use nsntrace_sys::{Detail, Family, tell};
use rustix::io::Errno;
use rustix::net::{SocketType, sockopt};

use crate::ProxyError;
use crate::families::Families;

/// Has UDP sockets of r at hand, which may have any address.
#[derive(Debug)]
pub(crate) struct Maker {
    families: Families,
    shelf: Arc<Shelf>,
    thread: Option<JoinHandle<()>>,
}

impl Maker {
    /// Starts a thread in the network namespace of the calling thread. It is not carried over by fork(2).
    ///
    /// # Errors
    /// [`ProxyError::Inside`]: what keeps a first socket from being made, or the thread from being started.
    pub(crate) fn start(families: Families) -> Result<Self, ProxyError> {
        // What is missing here will be missing always: better to know now.
        drop(datagram_socket(families)?);
        let shelf = Arc::new(Shelf::default());
        let theirs = Arc::clone(&shelf);
        let thread = thread::Builder::new()
            .name("sockets of r".to_owned())
            .spawn(move || while theirs.put(datagram_socket(families)) {})
            .map_err(ProxyError::inside("start a thread"))?;
        Ok(Self { families, shelf, thread: Some(thread) })
    }

    /// Whom its sockets serve.
    pub(crate) fn families(&self) -> Families {
        self.families
    }

    /// A socket of r that serves every family, may share its address, and tells of each datagram its TTL, whether it came in
    /// fragments, and how many datagrams it was. Waits for the thread if there is none at hand, which it never does for long.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`: no descriptors are left.
    pub(crate) fn take(&self) -> Result<OwnedFd, Errno> {
        let mut why = Errno::MFILE;
        // Failures may be at hand that are long past: so many, and one that the thread has in its hands.
        for _ in 0..READY + 2 {
            match self.shelf.take() {
                Ok(socket) => return Ok(socket),
                Err(error) => why = errno_of(&error),
            }
        }
        Err(why)
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        self.shelf.close();
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

/// Where sockets are at hand, or why they could not be made.
#[derive(Debug, Default)]
struct Shelf {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Result<OwnedFd, ProxyError>>,
    is_closed: bool,
}

impl Shelf {
    /// Waits for room. False when nobody takes any more.
    fn put(&self, socket: Result<OwnedFd, ProxyError>) -> bool {
        let mut state = self.wait_while(|state| !state.is_closed && state.ready.len() >= READY);
        state.ready.push_back(socket);
        self.changed.notify_all();
        !state.is_closed
    }

    /// Waits for one.
    fn take(&self) -> Result<OwnedFd, ProxyError> {
        let mut state = self.wait_while(|state| state.ready.is_empty());
        let socket = state.ready.pop_front();
        self.changed.notify_all();
        socket.unwrap_or_else(|| Err(ProxyError::inside("make a socket")(Errno::AGAIN)))
    }

    fn close(&self) {
        self.wait_while(|_| false).is_closed = true;
        self.changed.notify_all();
    }

    fn wait_while(&self, is_too_early: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_while(state, |state| is_too_early(state));
        waited.unwrap_or_else(PoisonError::into_inner)
    }
}

fn datagram_socket(families: Families) -> Result<OwnedFd, ProxyError> {
    let socket = families.transparent(SocketType::DGRAM)?;
    // Flows to one destination have one address in r.
    sockopt::set_socket_reuseaddr(&socket, true).map_err(ProxyError::inside("share an address"))?;
    for family in families.each() {
        for detail in [Detail::Ttl, Detail::FragmentLen] {
            tell(socket.as_fd(), *family, detail)
                .map_err(ProxyError::inside("ask for details of datagrams"))?;
        }
    }
    // Before Linux 5.0 datagrams come one by one.
    let _ = tell(socket.as_fd(), Family::V6, Detail::Segments);
    Ok(socket)
}

fn errno_of(error: &ProxyError) -> Errno {
    match error {
        ProxyError::Inside { source, .. } => Errno::from_io_error(source).unwrap_or(Errno::MFILE),
        ProxyError::Events { source, .. } => *source,
    }
}

/// Sockets at hand: as many as a program starts flows at once that asks for names.
const READY: usize = 16;

#[cfg(test)]
mod tests {
    use std::fs;

    use nsntrace_testkit::{Netns, eventually, isolated};
    use rustix::process::{Resource, Rlimit, setrlimit};

    use super::*;

    #[test]
    fn sockets_are_of_the_namespace_that_it_was_started_in() {
        isolated(|| {
            let other = Netns::new();
            let (maker, theirs) = other.inside(|| {
                let own = Families::Both.transparent(SocketType::DGRAM).unwrap();
                (Maker::start(Families::Both).unwrap(), nsntrace_sys::netns_cookie(own.as_fd()).unwrap())
            });
            for _ in 0..3 * READY {
                let socket = maker.take().unwrap();
                assert_eq!(nsntrace_sys::netns_cookie(socket.as_fd()).unwrap(), theirs);
            }
            let threads = || fs::read_dir("/proc/self/task").unwrap().count();
            let before = threads();
            drop(maker);
            eventually(|| threads() == before - 1);
        });
    }

    #[test]
    fn it_goes_on_when_descriptors_are_there_again() {
        isolated(|| {
            let maker = Maker::start(Families::Both).unwrap();
            let all = Rlimit { current: Some(1024), maximum: Some(1024) };
            setrlimit(Resource::Nofile, Rlimit { current: Some(3), ..all }).unwrap();
            let found = (0..READY + 2).map(|_| maker.take()).find_map(Result::err);
            assert_eq!(found, Some(Errno::MFILE));
            setrlimit(Resource::Nofile, all).unwrap();
            maker.take().unwrap();
        });
    }
}
