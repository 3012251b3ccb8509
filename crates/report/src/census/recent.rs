//! Flows that packets came of lately, by the direction of those packets: a table that takes one look and never grows.

use nsntrace_dissect::Way;

use super::FlowNumber;

/// Where a packet of this way belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    way: Way,
    pub(super) flow: FlowNumber,
    /// It comes from the flow's local end.
    pub(super) is_sent: bool,
}

/// A place for each of many ways. Those that fall together push each other out.
#[derive(Debug)]
pub(super) struct Recent(Box<[Option<Place>]>);

impl Default for Recent {
    fn default() -> Self {
        Self(vec![None; PLACES].into())
    }
}

impl Recent {
    #[inline]
    pub(super) fn get(&self, way: &Way) -> Option<Place> {
        self.0[index(way)].filter(|place| place.way == *way)
    }

    pub(super) fn set(&mut self, way: Way, flow: FlowNumber, is_sent: bool) {
        self.0[index(&way)] = Some(Place { way, flow, is_sent });
    }
}

/// Who chooses ports so that they fall together makes himself the slower one.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "all bits were mixed, and some are enough")]
fn index(way: &Way) -> usize {
    let mixed = (way.src ^ way.dst.rotate_left(29)) as u64 ^ way.rest.rotate_left(17);
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % PLACES
}

/// A power of two.
const PLACES: usize = 256;
