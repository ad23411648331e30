//! Fields in buffers, without a place that could panic: what lies outside a buffer is not written, and reads as nothing.
//!
//! Functions rather than indices, because each of them takes a device's flash once and not at every use.

/// Copies bytes to a place in a buffer, as far as it has room for them.
#[inline(never)]
pub(crate) fn put(buffer: &mut [u8], at: usize, bytes: &[u8]) {
    for (place, byte) in buffer.iter_mut().skip(at).zip(bytes) {
        *place = *byte;
    }
}

/// `length` bytes from a place on; none if there are fewer.
#[inline(never)]
pub(crate) fn part(buffer: &[u8], at: usize, length: usize) -> &[u8] {
    at.checked_add(length).and_then(|end| buffer.get(at..end)).unwrap_or_default()
}

/// As [`part`], to be written to.
#[inline(never)]
pub(crate) fn part_mut(buffer: &mut [u8], at: usize, length: usize) -> &mut [u8] {
    at.checked_add(length).and_then(|end| buffer.get_mut(at..end)).unwrap_or_default()
}

/// The little-endian number at a place.
#[inline(never)]
pub(crate) fn word(buffer: &[u8], at: usize) -> u32 {
    part(buffer, at, 4).iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

/// Whether two stretches hold the same. One function, where `==` of arrays has one for each length.
#[inline(never)]
pub(crate) fn are_equal(left: &[u8], right: &[u8]) -> bool {
    left == right
}
