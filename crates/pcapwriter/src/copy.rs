//! Short copies.
//!
//! Heads and small packets are copied one by one, and memcpy(3) costs more than to move such a few bytes: musl's, for `rep movsq`, some
//! 10 ns each time. Two moves of one fixed size, which may overlap, are any length between that size and twice of it.

/// As [`slice::copy_from_slice`].
#[inline(never)]
pub(crate) fn copy(to: &mut [u8], from: &[u8]) {
    match from.len() {
        128..=256 => both_ends::<128>(to, from),
        64..=127 => both_ends::<64>(to, from),
        32..=63 => both_ends::<32>(to, from),
        16..=31 => both_ends::<16>(to, from),
        8..=15 => both_ends::<8>(to, from),
        4..=7 => both_ends::<4>(to, from),
        _ => to.copy_from_slice(from),
    }
}

/// The first `N` bytes and the last, which are all of `N` to `2 * N`.
#[inline]
fn both_ends<const N: usize>(to: &mut [u8], from: &[u8]) {
    let to = &mut to[..from.len()];
    if let (Some(first), Some(last)) = (from.first_chunk::<N>(), from.last_chunk::<N>()) {
        let (first, last) = (*first, *last);
        if let Some(place) = to.first_chunk_mut::<N>() {
            *place = first;
        }
        if let Some(place) = to.last_chunk_mut::<N>() {
            *place = last;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_any_length_is_the_same_and_nothing_else() {
        let from: Vec<u8> = (0..300_u16).map(|n| u8::try_from(n % 251).unwrap()).collect();
        for len in 0..=from.len() - 7 {
            let mut to = vec![255; len + 2];
            copy(&mut to[1..=len], &from[7..7 + len]);
            assert_eq!(to[1..=len], from[7..7 + len], "{len} bytes");
            assert_eq!((to[0], to[len + 1]), (255, 255), "{len} bytes");
        }
    }
}
