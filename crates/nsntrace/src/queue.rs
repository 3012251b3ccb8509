//! Values on their way from one thread to another, in order.
//!
//! As `std::sync::mpsc` has them, for one sender, by a lock: what that does without one is made anew for each kind of value, and none of ours comes more than some
//! hundred times a second.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Where values come from.
#[derive(Debug)]
pub(crate) struct Sender<T>(Arc<Shared<T>>);

/// Where they go. What is still in the queue when the sender is gone comes, too.
#[derive(Debug)]
pub(crate) struct Receiver<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    values: VecDeque<T>,
    room: usize,
    /// Both ends are there, and more may come.
    is_open: bool,
}

/// Why a value was not taken. Here it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused<T> {
    Full(T),
    /// There is no receiver, or it was said that there will be no more.
    Closed,
}

/// What a wait for a value has come to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<T> {
    Value(T),
    /// Time is up.
    Late,
    /// There is no sender, or it has said that there will be no more.
    Closed,
}

/// A queue with room for so many values.
pub(crate) fn queue<T>(room: usize) -> (Sender<T>, Receiver<T>) {
    let state = State { values: VecDeque::new(), room, is_open: true };
    let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

impl<T> Sender<T> {
    /// Waits for room. Without a receiver the value is dropped.
    pub(crate) fn send(&self, value: T) {
        let mut state = self.0.state();
        while state.is_open && state.values.len() >= state.room {
            state = self.0.wait(state);
        }
        self.0.put(state, value);
    }

    /// Does not wait.
    pub(crate) fn try_send(&self, value: T) -> Result<(), Refused<T>> {
        let state = self.0.state();
        if !state.is_open {
            return Err(Refused::Closed);
        }
        if state.values.len() >= state.room {
            return Err(Refused::Full(value));
        }
        self.0.put(state, value);
        Ok(())
    }

    /// Says that there will be no more, as dropping it does.
    pub(crate) fn close(&self) {
        self.0.close();
    }
}

impl<T> Receiver<T> {
    /// The next value; none when there is no sender. This thread waits for it.
    pub(crate) fn recv(&self) -> Option<T> {
        match self.recv_until(None) {
            Next::Value(value) => Some(value),
            Next::Late | Next::Closed => None,
        }
    }

    /// The next value, if it comes in time.
    pub(crate) fn recv_until(&self, deadline: Option<Instant>) -> Next<T> {
        let mut state = self.0.state();
        loop {
            if let Some(value) = state.values.pop_front() {
                self.0.changed.notify_all();
                return Next::Value(value);
            }
            if !state.is_open {
                return Next::Closed;
            }
            let Some(deadline) = deadline else {
                state = self.0.wait(state);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Next::Late;
            }
            let waited = self.0.changed.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T> Shared<T> {
    /// Nothing that is done under the lock can fail halfway.
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, mut state: MutexGuard<'_, State<T>>, value: T) {
        if state.is_open {
            state.values.push_back(value);
            self.changed.notify_all();
        }
    }

    fn close(&self) {
        self.state().is_open = false;
        self.changed.notify_all();
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.close();
        // Not under the lock: a value may be an end of such a queue itself.
        let _unread = std::mem::take(&mut self.0.state().values);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn values_come_in_order_and_the_last_after_the_sender() {
        let (sender, receiver) = queue(2);
        let sending = thread::spawn(move || (0..1000).for_each(|number| sender.send(number)));
        assert!(std::iter::from_fn(|| receiver.recv()).eq(0..1000));
        sending.join().unwrap();
        assert_eq!(receiver.recv_until(None), Next::Closed);
    }

    #[test]
    fn a_queue_may_be_closed_before_its_sender_goes() {
        let (sender, receiver) = queue(2);
        sender.send(1);
        sender.close();
        sender.send(2);
        assert_eq!((receiver.recv(), receiver.recv()), (Some(1), None));
    }

    #[test]
    fn what_has_no_room_is_given_back() {
        let (sender, receiver) = queue(1);
        assert_eq!(sender.try_send(1), Ok(()));
        assert_eq!(sender.try_send(2), Err(Refused::Full(2)));
        assert_eq!(receiver.recv(), Some(1));
        assert_eq!(sender.try_send(3), Ok(()));
    }

    #[test]
    fn without_a_receiver_nobody_waits_for_room() {
        let (sender, receiver) = queue(1);
        sender.send(1);
        let waiting = thread::spawn(move || {
            sender.send(2);
            sender.try_send(3)
        });
        thread::sleep(Duration::from_millis(10));
        drop(receiver);
        assert_eq!(waiting.join().unwrap(), Err(Refused::Closed));
    }

    #[test]
    fn a_wait_ends_in_time() {
        let (sender, receiver) = queue::<u8>(1);
        let began = Instant::now();
        assert_eq!(receiver.recv_until(Some(began + Duration::from_millis(9))), Next::Late);
        assert!(began.elapsed() >= Duration::from_millis(9));
        drop(sender);
        assert_eq!(receiver.recv_until(Some(began + Duration::from_hours(1))), Next::Closed);
    }
}
