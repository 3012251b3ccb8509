//! Who waits to be asked for again: all in turns, so that those whom nobody will ever know keep nobody from being asked.

use std::mem;

/// Those who wait; who was asked for longest ago comes first. Of too many, he goes.
#[derive(Debug)]
pub(super) struct Waiting<T>(Vec<T>);

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Waiting<T> {
    /// Lets one wait, behind all others.
    pub(super) fn push(&mut self, one: T) {
        if self.0.len() >= MAX_WAITING {
            self.0.remove(0);
        }
        self.0.push(one);
    }

    /// Takes those whose turn it is, so many at most.
    pub(super) fn take(&mut self, most: usize) -> Vec<T> {
        let later = self.0.split_off(most.min(self.0.len()));
        mem::replace(&mut self.0, later)
    }
}

/// A flow takes 250 bytes or so.
const MAX_WAITING: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_asked_for_in_turns() {
        let mut waiting = Waiting::default();
        (0..200).for_each(|flow| waiting.push(flow));
        // Nobody knows any of them but the last.
        let mut rounds = 0;
        let is_found = |waiting: &mut Waiting<u32>| {
            let asked = waiting.take(64);
            asked.iter().filter(|flow| **flow != 199).for_each(|flow| waiting.push(*flow));
            asked.contains(&199)
        };
        while !is_found(&mut waiting) {
            rounds += 1;
            assert!(rounds < 4, "{waiting:?}");
        }
        assert_eq!(waiting.take(usize::MAX).len(), 199);
        assert_eq!(waiting.take(1), []);
    }

    #[test]
    fn of_too_many_those_go_that_were_asked_for_longest_ago() {
        let mut waiting = Waiting::default();
        (0..MAX_WAITING + 5).for_each(|flow| waiting.push(flow));
        let all = waiting.take(usize::MAX);
        assert_eq!((all.len(), all[0]), (MAX_WAITING, 5));
    }
}
