//! The one spelling of a version, whatever spelling it comes in. In bytes and in one pass, for it is a part of every device.

use heapless::{String, Vec};

/// A version has at most so many bytes.
pub const VERSION_MAX_BYTES: usize = 64;

/// Without what C programs and shells leave around a text.
pub(super) fn trimmed(mut words: &[u8]) -> &[u8] {
    let is_around = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'');
    while let [first, rest @ ..] = words
        && is_around(first)
    {
        words = rest;
    }
    while let [rest @ .., last] = words
        && (is_around(last) || *last == 0)
    {
        words = rest;
    }
    words
}

/// At least three numbers, without zeros before them or behind the third; then pre-release and build metadata as they are.
/// `None` where the words are not that.
#[inline(never)]
pub(super) fn spelled(mut words: &[u8]) -> Option<String<VERSION_MAX_BYTES>> {
    let mut text = Vec::<u8, VERSION_MAX_BYTES>::new();
    if let [b'v' | b'V', rest @ ..] = words {
        words = rest;
    }
    // Numbers so far, and how many zeros at their end do not count unless another number follows.
    let (mut count, mut zeros) = (0, 0);
    loop {
        let digits = words.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = words.split_at_checked(digits)?;
        let leading = number.iter().take_while(|digit| **digit == b'0').count();
        if digits == 0 {
            return None;
        }
        if count >= 3 && leading == digits {
            zeros += 1;
        } else {
            for _ in 0..zeros {
                text.extend_from_slice(b".0").ok()?;
            }
            zeros = 0;
            if count > 0 {
                text.push(b'.').ok()?;
            }
            text.extend_from_slice(number.get(leading.min(digits - 1)..)?).ok()?;
        }
        count += 1;
        words = rest;
        match rest {
            [b'.', rest @ ..] => words = rest,
            _ => break,
        }
    }
    for _ in count..3 {
        text.extend_from_slice(b".0").ok()?;
    }
    let words = suffix(&mut text, words)?;
    // A note behind it: "1.4.0 (Oct 5)".
    let is_note = matches!(words.trim_ascii_start(), [] | [b'(', .., b')']);
    String::from_utf8(text).ok().filter(|_| is_note)
}

/// Takes over what SemVer has behind the numbers; answers what is left. `None` where an identifier is empty or there is no room.
fn suffix<'a>(text: &mut Vec<u8, VERSION_MAX_BYTES>, mut words: &'a [u8]) -> Option<&'a [u8]> {
    let (mut is_begun, mut is_build, mut is_empty) = (false, false, false);
    while let [byte, rest @ ..] = words {
        match byte {
            b'+' if !is_build && !is_empty => (is_build, is_empty) = (true, true),
            b'-' if !is_begun => is_empty = true,
            b'.' if is_begun && !is_empty => is_empty = true,
            byte if is_begun && (byte.is_ascii_alphanumeric() || *byte == b'-') => is_empty = false,
            _ => break,
        }
        text.push(*byte).ok()?;
        (is_begun, words) = (true, rest);
    }
    (!is_empty).then_some(words)
}
