//! TLS keys on their way into files: in front of the packets that need them, or into the room that was left for what comes too late.
//!
//! # Theory of operation
//! Readers go through a file once: keys help if they stand before the handshake that they belong to. So what has come is written before each block, and the
//! explainer has the block wait for those that its handshakes need. Keys of a handshake that is written already go into the room behind the file's
//! head; where there is none, or no more, they go where they can, and the report says so. Room gets, at a file's end, what nobody knows the
//! handshake of: QUIC, STARTTLS.

mod kept;

use std::collections::HashSet;
use std::mem;

use nsntrace_pcapwriter::{Output, Writer};

use self::kept::Kept;
use super::super::explain::{Answer, Inbox, Random, Secret, Survey};
use crate::flags::Rotation;

/// The keys of one trace, as far as its files have to do with them.
pub(super) struct Secrets {
    inbox: Inbox,
    /// Handshakes in the block at hand.
    in_block: Vec<Random>,
    /// Those in earlier blocks of this file.
    passed: HashSet<Random>,
    /// Those in earlier files.
    passed_before: HashSet<Random>,
    /// Handshakes that were known before they were written.
    known: HashSet<Random>,
    /// What was written before its handshake was known.
    unclaimed: Vec<Secret>,
    /// What the next file begins with, where there is one.
    kept: Option<Kept>,
    /// Bytes that are left for what comes too late. A small file is not to be full of room.
    room: usize,
    late: HashSet<Random>,
}

impl Secrets {
    pub(super) fn new(inbox: Inbox, rotation: Rotation) -> Self {
        let quarter = rotation.size.and_then(|size| usize::try_from(size / 4).ok());
        Self {
            inbox,
            in_block: Vec::new(),
            passed: HashSet::new(),
            passed_before: HashSet::new(),
            known: HashSet::new(),
            unclaimed: Vec::new(),
            kept: rotation.is_on().then(Kept::default),
            room: quarter.map_or(ROOM, |quarter| ROOM.min(quarter).next_multiple_of(4)),
            late: HashSet::new(),
        }
    }

    /// Takes what was found out about the block at hand, or about an earlier one.
    pub(super) fn learn(&mut self, answer: &Answer) {
        for &(random, flow) in &answer.handshakes {
            if answer.is_behind {
                self.passed.insert(random);
            } else {
                self.in_block.push(random);
                self.known.insert(random);
            }
            if let Some(kept) = &mut self.kept {
                kept.is_of(random, flow);
            }
        }
    }

    /// Writes what has come, before a block.
    pub(super) fn write<O: Output>(&mut self, writer: &mut Writer<O>, survey: Option<&Survey>) {
        let mut in_time = Vec::new();
        for secret in self.inbox.take_fresh() {
            if !self.is_in_room(&secret, writer) {
                in_time.extend_from_slice(&secret.line);
            }
            if let Some(kept) = &mut self.kept {
                kept.keep(secret, survey);
            }
        }
        if !in_time.is_empty() {
            writer.secrets(&in_time);
        }
    }

    /// The block was written.
    pub(super) fn pass(&mut self) {
        self.passed.extend(self.in_block.drain(..));
    }

    /// Whether a secret came too late, and could be put where it helps nevertheless.
    fn is_in_room<O: Output>(&mut self, secret: &Secret, writer: &mut Writer<O>) -> bool {
        let Secret { random, line } = secret;
        if self.passed_before.contains(random) {
            self.late.insert(*random);
            return false;
        }
        if self.passed.contains(random) {
            let is_in_room = writer.late_secrets(line);
            if !is_in_room {
                self.late.insert(*random);
            }
            return is_in_room;
        }
        if !self.known.contains(random) && self.unclaimed.len() < ROOM / MIN_LINE_LEN {
            self.unclaimed.push(secret.clone());
        }
        false
    }

    /// Writes the rest, at the end of a file.
    pub(super) fn end_file<O: Output>(&mut self, writer: &mut Writer<O>, survey: Option<&Survey>) {
        self.inbox.drain();
        self.pass();
        self.write(writer, survey);
        for secret in mem::take(&mut self.unclaimed) {
            if !self.known.contains(&secret.random) {
                // In vain where there is no room: then it stays where it was written.
                let _there_already = writer.late_secrets(&secret.line);
            }
        }
        self.passed_before.extend(self.passed.drain());
    }

    /// Begins a file.
    pub(super) fn begin_file<O: Output>(&mut self, writer: &mut Writer<O>, survey: Option<&Survey>) {
        writer.reserve_secrets(self.room);
        let lines = self.kept.as_mut().map(|kept| kept.of_living(survey)).unwrap_or_default();
        if !lines.is_empty() {
            writer.secrets(&lines);
        }
    }

    /// Connections whose keys stand behind their packets.
    pub(super) fn late(&self) -> &HashSet<Random> {
        &self.late
    }
}

/// Seventy connections of TLS 1.3.
const ROOM: usize = 64 << 10;
/// Of TLS 1.2.
const MIN_LINE_LEN: usize = 175;
