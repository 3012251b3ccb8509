//! Packets that are longer than a link's frames: put together when they come, taken apart when they go.
//!
//! Only echo requests and replies come here. UDP is the kernel's, which reassembles before TPROXY looks.
//!
//! # References
//! RFC 791 section 3.2; RFC 8200 section 4.5; RFC 5722 (overlapping fragments are no packet).

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::ip::{FRAGMENT, Header, Link, Packet};

/// Packets of which some parts are there.
#[derive(Debug, Default)]
pub(crate) struct Fragments {
    /// The oldest first.
    partial: VecDeque<Partial>,
}

/// What has come of one packet.
#[derive(Debug)]
struct Partial {
    key: Key,
    since: Instant,
    /// The parts in order, each with the place where it begins.
    parts: Vec<(usize, Vec<u8>)>,
    /// The length of the whole, known from the last part on.
    len: Option<usize>,
}

/// What the parts of a packet have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    id: u32,
}

impl Fragments {
    /// Takes a fragment. Returns what follows the IP headers of its packet once all of it has come.
    pub(crate) fn take(&mut self, packet: &Packet<'_>, now: Instant) -> Option<Vec<u8>> {
        let part = packet.fragment?;
        self.partial.retain(|partial| now.saturating_duration_since(partial.since) < PATIENCE);
        let Packet { source, destination, protocol, .. } = *packet;
        let key = Key { source, destination, protocol, id: part.id };
        let index = self.index_of(key, now);
        let partial = self.partial.get_mut(index)?;
        if !partial.add(part.offset, part.is_followed, packet.payload) {
            self.partial.remove(index);
            return None;
        }
        if !partial.is_whole() {
            return None;
        }
        self.partial.remove(index).map(Partial::whole)
    }

    fn index_of(&mut self, key: Key, now: Instant) -> usize {
        if let Some(index) = self.partial.iter().position(|partial| partial.key == key) {
            return index;
        }
        if self.partial.len() == MAX_PARTIAL {
            self.partial.pop_front();
        }
        self.partial.push_back(Partial { key, since: now, parts: Vec::new(), len: None });
        self.partial.len() - 1
    }
}

impl Partial {
    /// Adds a part. False if the parts contradict each other.
    fn add(&mut self, offset: usize, is_followed: bool, bytes: &[u8]) -> bool {
        let end = offset + bytes.len();
        // All but the last are as long as eight times something, and none is empty.
        if bytes.is_empty() || end > MAX_LEN || (is_followed && !bytes.len().is_multiple_of(8)) {
            return false;
        }
        if self.len.is_some_and(|len| end > len || (!is_followed && end != len)) {
            return false;
        }
        let at = self.parts.partition_point(|&(start, _)| start < offset);
        if self.parts.get(at).is_some_and(|(start, part)| *start == offset && part == bytes) {
            return true; // The same again: a capture on a link sees what was sent twice.
        }
        let ends_before = at.checked_sub(1).is_none_or(|before| self.end_of(before) <= offset);
        let begins_after = self.parts.get(at).is_none_or(|&(start, _)| end <= start);
        if !ends_before || !begins_after || (!is_followed && at < self.parts.len()) {
            return false;
        }
        self.parts.insert(at, (offset, bytes.to_vec()));
        if !is_followed {
            self.len = Some(end);
        }
        true
    }

    fn end_of(&self, index: usize) -> usize {
        self.parts.get(index).map_or(0, |(start, part)| start + part.len())
    }

    fn is_whole(&self) -> bool {
        // The parts do not overlap, so they are all there if their lengths say so.
        let there: usize = self.parts.iter().map(|(_, part)| part.len()).sum();
        self.len == Some(there)
    }

    fn whole(self) -> Vec<u8> {
        self.parts.into_iter().flat_map(|(_, part)| part).collect()
    }
}

/// Frames that carry an IP packet of ours over a link whose packets have `mtu` bytes at most.
pub(crate) fn split(link: Link, packet: &[u8], mtu: usize, id: u32) -> Vec<Vec<u8>> {
    if packet.len() <= mtu {
        return vec![link.frame(packet)];
    }
    let frame = link.frame(packet);
    let Some(whole) = Packet::read(&frame) else { return Vec::new() };
    let overhead = if whole.source.is_ipv4() { 20 } else { 40 + 8 };
    let step = mtu.saturating_sub(overhead) / 8 * 8;
    if step == 0 {
        return Vec::new();
    }
    let parts = whole.payload.chunks(step).zip((0..).step_by(step));
    let is_followed = |offset: usize| offset + step < whole.payload.len();
    parts.filter_map(|(part, offset)| fragment(&whole, part, offset, is_followed(offset), id)).collect()
}

/// A frame with one part of a packet.
fn fragment(whole: &Packet<'_>, part: &[u8], offset: usize, is_followed: bool, id: u32) -> Option<Vec<u8>> {
    let [id_0, id_1, id_2, id_3] = id.to_be_bytes();
    let offset = u16::try_from(offset).ok()?;
    let packet = match (whole.source, whole.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let [flags, low] = ((offset / 8) | (u16::from(is_followed) << 13)).to_be_bytes();
            let header = Header { protocol: whole.protocol, ttl: whole.ttl, len: part.len() };
            header.v4(source, destination, [id_2, id_3, flags, low], part)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let [high, low] = (offset | u16::from(is_followed)).to_be_bytes();
            let extension = [whole.protocol, 0, high, low, id_0, id_1, id_2, id_3];
            let payload = [&extension, part].concat();
            let header = Header { protocol: FRAGMENT, ttl: whole.ttl, len: payload.len() };
            header.v6(source, destination, &payload)
        }
        _ => None,
    };
    packet.map(|packet| whole.link.frame(&packet))
}

/// Packets that are put together at once. They come from one program over one link, in order.
const MAX_PARTIAL: usize = 16;
/// The most that follows an IP header.
const MAX_LEN: usize = 65_535;
/// How long a packet's last part may take: `net.ipv4.ipfrag_time`.
const PATIENCE: Duration = Duration::from_secs(30);
