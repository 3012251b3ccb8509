//! From frames to files: which packets are recorded, where one file ends and the next begins, and what each says of itself.
//!
//! # Theory of operation
//! A block's frames go to the writer in one batch, unless a limit or the end of a file falls between two of them. A file is finished
//! before the next is opened, with counts of its own: what was lost in its time is what the blocks in it told of, and it received what it
//! has and what it lost. The last file gets what is left of the kernel's count, so that all together are exactly the trace.

mod clock;
mod head;
mod place;
mod secrets;

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::mem;
use std::time::{Duration, SystemTime};

use nsntrace_capture::{Block, Frame, Statistics as Counted};
use nsntrace_datapath::{AnyWriter, Beside, Bounds, Ends, Next, Noted, fill, pass};
use nsntrace_pcapwriter::{Statistics, WriterError};

use self::clock::Clock;
use self::head::Head;
use self::place::Place;
use self::secrets::Secrets;
use super::explain::{Answer, Inbox, Random, Survey, Told};
use crate::failure::{Failure, chain};
use crate::outfile::Files;
use crate::plan::Plan;
use crate::progress::Counts as SoFar;
use crate::protocol::Outcome;
use crate::transport::Transport;

/// The recording of one trace.
pub(crate) struct Recording {
    head: Head,
    /// What is known of packets besides what is in them.
    beside: Beside,
    /// TLS keys, if they are wanted.
    secrets: Option<Secrets>,
    files: Files,
    bounds: Bounds,
    clock: Clock,
    /// The file that is being written; none once a new one could not be begun.
    open: Option<Open>,
    /// What became of the packets of all files before it.
    closed: Counts,
    /// Why packets are being lost, if they are.
    error: Option<WriterError>,
    is_trouble_told: bool,
}

/// A file that is being written.
struct Open {
    writer: AnyWriter,
    place: Option<Place>,
    started_ns: u64,
    /// Packets that were lost in its time.
    dropped: u64,
}

/// What became of packets.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    received: u64,
    dropped: u64,
    written: u64,
    unwritten: u64,
    /// How long the files are, before compression.
    bytes: u64,
}

impl Recording {
    /// Begins the first file. Of the blocks that it records, `max_kept` may be kept for a while.
    ///
    /// # Errors
    /// The output takes nothing.
    pub(crate) fn begin(
        plan: &Plan,
        transport: Transport,
        keys: Option<&Inbox>,
        max_kept: usize,
    ) -> Result<Self, Failure> {
        let (first, files) =
            plan.outfile.take().map_err(|error| Failure::of("cannot write the capture", &error))?;
        let started_ns = now_ns();
        let head = Head::of(plan, transport, max_kept);
        let open = Open::begin(&head, first, started_ns)?;
        let bounds = Bounds::new(&ends(plan), started_ns);
        let secrets = keys.map(|inbox| Secrets::new(inbox.clone(), plan.options.rotation));
        let mut recording = Self {
            head,
            beside: Beside::new(plan.options.rotation.is_on()),
            secrets,
            files,
            bounds,
            clock: Clock::start(),
            open: None,
            closed: Counts::default(),
            error: None,
            is_trouble_told: false,
        };
        recording.begin_file(open, None);
        Ok(recording)
    }

    /// How long the recording lasts at most from now on, if the user has set an end.
    pub(crate) fn time_left(&mut self) -> Option<Duration> {
        self.follow_clock();
        self.bounds.end_ns().map(|end_ns| Duration::from_nanos(end_ns.saturating_sub(now_ns())))
    }

    /// Whether that end is `long` past.
    pub(crate) fn is_over_since(&mut self, long: Duration) -> bool {
        self.follow_clock();
        self.bounds
            .end_ns()
            .is_some_and(|end_ns| Duration::from_nanos(now_ns().saturating_sub(end_ns)) >= long)
    }

    /// Has an end by time mean what it meant, though somebody sets the clock.
    fn follow_clock(&mut self) {
        if self.bounds.end_ns().is_some() {
            self.bounds.follow_clock(now_ns(), self.clock.set_by_ns());
        }
    }

    /// Takes what was found out, and writes what has to stand in front of packets.
    pub(crate) fn learn(&mut self, answer: Answer) {
        if let Some(secrets) = &mut self.secrets {
            secrets.learn(&answer);
        }
        self.beside.learn(answer.found, self.open.as_mut().map(|open| &mut open.writer));
    }

    /// How many packets of a block, which is the next to be recorded, are within the limits.
    pub(crate) fn room(&mut self, block: &Block) -> u64 {
        self.follow_clock();
        self.bounds.room(block.frames().map(|frame| frame.timestamp_ns))
    }

    /// Records a block, which somebody may have looked at. False when a limit is reached, after which nothing more is recorded.
    pub(crate) fn record(&mut self, block: Block, survey: Option<&Survey>) -> bool {
        self.follow_clock();
        if let (Some(secrets), Some(open)) = (&mut self.secrets, &mut self.open) {
            secrets.write(&mut open.writer, survey);
        }
        let is_to_go_on = self.record_frames(&block, survey);
        if let Some(secrets) = &mut self.secrets {
            secrets.pass();
        }
        if let (Some(open), Some(memory)) = (&mut self.open, block.into_memory()) {
            open.writer.lend(Box::new(memory));
        }
        is_to_go_on
    }

    fn record_frames(&mut self, block: &Block, survey: Option<&Survey>) -> bool {
        let (mut frames, mut flows) = (block.frames(), survey.map_or(&[][..], Survey::flows));
        let mut dropped = block.dropped_before;
        while let Some(Frame { timestamp_ns, .. }) = frames.clone().next() {
            match self.bounds.before(timestamp_ns, self.position()) {
                Next::End => return false,
                Next::File => self.begin_next_file(timestamp_ns, survey),
                Next::Packet => {}
            }
            let comments = self.beside.introduce(flows, self.open.as_mut().map(|open| &mut open.writer));
            let mut noted = Noted::new(frames, flows, &comments);
            self.fill(mem::take(&mut dropped), &mut noted);
            (frames, flows) = noted.rest();
        }
        !self.bounds.is_count_reached()
    }

    /// How much there is. Of connections nothing is known here.
    pub(crate) fn so_far(&self) -> SoFar {
        let Counts { written, dropped, bytes, .. } = self.closed;
        let open = self.open.as_ref();
        SoFar {
            packets: written + open.map_or(0, |open| open.writer.so_far().written),
            bytes: bytes + open.map_or(0, |open| open.writer.position()),
            connections: 0,
            dropped: dropped + open.map_or(0, |open| open.dropped),
        }
    }

    /// Whether packets that were recorded are not in the file yet, for as long as more come.
    pub(crate) fn holds_back(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.writer.holds_back())
    }

    /// Why packets are being lost, once. A reader that has seen enough is no trouble.
    pub(crate) fn trouble(&mut self) -> Option<String> {
        let in_open = self.open.as_ref().and_then(|open| open.writer.so_far().error.as_ref());
        let error = in_open.or(self.error.as_ref()).filter(|error| !is_broken_pipe(error))?;
        let is_news = !mem::replace(&mut self.is_trouble_told, true);
        is_news.then(|| chain(error))
    }

    /// No more have come for a while.
    pub(crate) fn flush(&mut self) {
        if let Some(open) = &mut self.open {
            open.writer.flush();
        }
    }

    /// Ends the recording. `counted` is what the kernel has counted; at a limit, when more has come than was to be recorded, what
    /// was recorded counts.
    pub(crate) fn end(mut self, counted: Option<Counted>) -> Outcome {
        if let (Some(counted), Some(open)) = (counted, &mut self.open) {
            open.dropped = counted.dropped.saturating_sub(self.closed.dropped);
        }
        self.close(counted);
        let is_reader_gone = self.error.as_ref().is_some_and(is_broken_pipe);
        Outcome {
            written: self.closed.written,
            dropped: counted.map_or(self.closed.dropped, |counted| counted.dropped),
            unwritten: self.closed.unwritten,
            output_error: self.error.filter(|_error| !is_reader_gone).map(|error| chain(&error)),
            survivors: Vec::new(),
            told: Told::default(),
        }
    }

    /// Bytes in the open file. There is room for one packet in every file, and for all in one that has failed: it gets no successor.
    fn position(&self) -> u64 {
        let is_begun = |open: &&Open| {
            let so_far = open.writer.so_far();
            so_far.error.is_none() && so_far.written + so_far.lost > 0
        };
        self.open.as_ref().filter(is_begun).map_or(0, |open| open.writer.position())
    }

    /// Writes the first of `noted`, and those that belong into the same file. When there is no file, they are lost.
    fn fill(&mut self, dropped_before: u64, noted: &mut Noted<'_, '_>) {
        if let Some(open) = &mut self.open {
            open.dropped += dropped_before;
            fill(&mut open.writer, &mut self.bounds, &self.beside, dropped_before, noted);
        } else {
            self.closed.dropped += dropped_before;
            self.closed.unwritten += pass(&mut self.bounds, noted);
        }
    }

    fn begin_next_file(&mut self, started_ns: u64, survey: Option<&Survey>) {
        self.bounds.begin_file(started_ns);
        if self.open.as_ref().is_none_or(|open| open.writer.so_far().error.is_some()) {
            return;
        }
        self.end_secrets(survey);
        self.close(None);
        if self.error.is_some() {
            return;
        }
        let next = self.files.next(started_ns).map(|file| {
            file.map_err(|source| WriterError::Output { source })
                .and_then(|file| Open::begin(&self.head, file, started_ns))
        });
        match next {
            Some(Ok(open)) => self.begin_file(open, survey),
            Some(Err(error)) => self.error = Some(error),
            None => {}
        }
    }

    /// Goes on with a file that has nothing but its head.
    fn begin_file(&mut self, mut open: Open, survey: Option<&Survey>) {
        if let Some(secrets) = &mut self.secrets {
            secrets.begin_file(&mut open.writer, survey);
        }
        self.beside.repeat(&mut open.writer);
        self.open = Some(open);
    }

    /// Writes the keys that have come until now. Gives the connections whose keys stand behind their packets.
    pub(crate) fn end_secrets(&mut self, survey: Option<&Survey>) -> HashSet<Random> {
        if let (Some(secrets), Some(open)) = (&mut self.secrets, &mut self.open) {
            secrets.end_file(&mut open.writer, survey);
        }
        self.secrets.as_ref().map(|secrets| secrets.late().clone()).unwrap_or_default()
    }

    /// Finishes the open file. Without a count of the kernel's, it received what became of its packets.
    fn close(&mut self, counted: Option<Counted>) {
        let Some(mut open) = self.open.take() else { return };
        // Held no longer than it takes to look: whoever closes a file last may wait for the disk.
        let is_gone = open.place.take().is_some_and(|place| place.is_gone());
        let so_far = open.writer.so_far();
        let seen = so_far.written + so_far.lost + open.dropped;
        let received = counted.map_or(seen, |counted| counted.received.saturating_sub(self.closed.received));
        self.closed.bytes += open.writer.position();
        let summary = open.writer.finish(&Statistics {
            received,
            dropped_by_kernel: open.dropped,
            started_ns: open.started_ns,
            ended_ns: now_ns(),
        });
        self.closed.received += received;
        self.closed.dropped += open.dropped;
        let lost = if is_gone { summary.written } else { 0 };
        self.closed.written += summary.written - lost;
        self.closed.unwritten += summary.lost + lost;
        let gone = is_gone.then(|| WriterError::Output { source: io::Error::other("the file was removed") });
        self.error = summary.error.or(gone).or(self.error.take());
    }
}

impl Open {
    fn begin(head: &Head, file: File, started_ns: u64) -> Result<Self, WriterError> {
        let place = Place::of(&file);
        Ok(Self { writer: head.write_to(file)?, place, started_ns, dropped: 0 })
    }
}

/// Where the user wants the recording, and each file of it, to end.
fn ends(plan: &Plan) -> Ends {
    let (limits, rotation) = (plan.options.limits, plan.options.rotation);
    Ends { count: limits.count, duration: limits.duration, file_len: rotation.size, file_time: rotation.time }
}

fn is_broken_pipe(error: &WriterError) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Nanoseconds since the epoch, by the clock that packets are stamped with.
pub(crate) fn now_ns() -> u64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
}
