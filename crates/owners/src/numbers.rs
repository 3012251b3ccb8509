//! Numbers of processes, as a witness gives them.

use std::collections::HashMap;

use crate::process::Process;

/// Who was told of, and how they are called.
#[derive(Debug)]
pub(crate) struct Numbers {
    /// Of each pid the process that was last told of.
    told: HashMap<u32, (u32, Process)>,
    next: u32,
}

impl Numbers {
    pub(crate) fn from(first: u32) -> Self {
        Self { told: HashMap::new(), next: first }
    }

    /// The number of a process, as it is now: after execve(2) it is another. `tell` hears of one that is new.
    pub(crate) fn of(&mut self, process: Process, tell: impl FnOnce(u32, &Process)) -> u32 {
        if let Some((number, known)) = self.told.get(&process.pid)
            && *known == process
        {
            return *number;
        }
        if self.told.len() >= MAX_TOLD {
            self.told.clear();
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        tell(number, &process);
        self.told.insert(process.pid, (number, process));
        number
    }
}

/// Whoever is forgotten is told of again.
const MAX_TOLD: usize = 1 << 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_has_become_another_has_another_number() {
        let process = |pid, name: &str| Process { pid, name: name.into(), ..Process::default() };
        let mut numbers = Numbers::from(7);
        let mut told = Vec::new();
        for (pid, name) in [(1, "sh"), (1, "sh"), (2, "sh"), (1, "curl"), (2, "sh"), (1, "sh")] {
            let number = numbers.of(process(pid, name), |number, process| told.push((number, process.pid)));
            assert_eq!(number, told.iter().rev().find(|(_, told)| *told == pid).unwrap().0);
        }
        assert_eq!(told, [(7, 1), (8, 2), (9, 1), (10, 1)]);
    }
}
