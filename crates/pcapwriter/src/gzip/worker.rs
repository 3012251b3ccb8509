//! The thread that makes members and writes them.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use rustix::process::{getpriority_process, setpriority_process};

use crate::arena;
use crate::output::Output;

use super::member::Encoder;
use super::pace::{Method, Pace};
use super::queue::{Next, Queue};

pub(super) struct Worker<O: Output> {
    queue: Arc<Queue>,
    output: O,
    encoder: Encoder,
    pace: Pace,
}

/// A member was refused, and what the output had taken of it is still there.
#[derive(Debug, thiserror::Error)]
#[error("an incomplete gzip member is left at the end ({cut})")]
struct TornMember {
    source: io::Error,
    cut: io::Error,
}

impl<O: Output> Worker<O> {
    pub(super) fn new(queue: Arc<Queue>, output: O) -> Self {
        Self { queue, output, encoder: Encoder::new(), pace: Pace::default() }
    }

    /// Writes members until the queue is closed and empty, or a member is refused.
    pub(super) fn run(mut self) {
        be_nice();
        if let Err(failure) = self.write_members() {
            self.queue.fail(failure);
        }
    }

    fn write_members(&mut self) -> io::Result<()> {
        while let Some(next) = self.queue.next() {
            self.write_member(&next)?;
            self.queue.written(next.bytes);
        }
        self.output.finish()
    }

    fn write_member(&mut self, next: &Next) -> io::Result<()> {
        let Self { output, encoder, pace, .. } = self;
        if pace.choose(next.is_late) == Method::Compress {
            let start = Instant::now();
            let member = encoder.compress(&next.bytes);
            let len = member.as_ref().map_or(next.bytes.len(), |slices| total_len(slices));
            pace.compressed(start.elapsed(), next.bytes.len().saturating_sub(len));
            if let Some(mut slices) = member {
                return write_timed(output, &mut slices, pace);
            }
        }
        write_timed(output, &mut encoder.store(&next.bytes), pace)
    }
}

impl<O: Output> Drop for Worker<O> {
    /// Whoever waits for this thread is told of its panic.
    fn drop(&mut self) {
        if thread::panicking() {
            self.queue.fail(io::Error::other("the compressing thread panicked"));
        }
    }
}

fn write_timed(output: &mut impl Output, slices: &mut [IoSlice<'_>], pace: &mut Pace) -> io::Result<()> {
    let len = total_len(slices);
    let start = Instant::now();
    write_whole(output, slices)?;
    pace.wrote(start.elapsed(), len);
    Ok(())
}

/// Writes all of `slices`, or leaves the output as it was.
fn write_whole(output: &mut impl Output, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    let (taken, result) = arena::write_all(output, slices);
    let Err(source) = result else { return Ok(()) };
    let cut = match taken as u64 {
        0 => Ok(()),
        torn => output.take_back(torn),
    };
    match cut {
        Ok(()) => Err(source),
        Err(cut) => Err(io::Error::new(source.kind(), TornMember { source, cut })),
    }
}

fn total_len(slices: &[IoSlice<'_>]) -> usize {
    slices.iter().map(|slice| slice.len()).sum()
}

/// Lowers the priority of this thread, which is that of the ring's by inheritance: -20 where that is allowed.
///
/// It shall not run when the ring's thread could, nor take a fair share from the program that is traced. But it must not starve beside a busy
/// program, or packets would be lost for compression's sake; so it is not 19. A thread at 5 gets a quarter of a CPU that it shares with one at 0
/// (`sched_prio_to_weight` in kernel/sched/core.c: 335 to 1024), enough to store what it cannot compress.
fn be_nice() {
    // setpriority(2), "C library/kernel differences": without a number, Linux means the calling thread.
    let inherited = getpriority_process(None).unwrap_or(0);
    // To go down is always allowed.
    let _as_before = setpriority_process(None, inherited.max(NICE));
}

const NICE: i32 = 5;
