//! Which part of a file a request asks for.

use std::ops::Range;

use axum::http::{HeaderMap, HeaderValue, header};

/// What it asks for.
pub(super) enum Asked {
    Whole,
    Part(Range<u64>),
    Beyond,
}

/// RFC 9110, 14.2: what is not a well-formed single range of bytes is ignored, and so is a range whose `If-Range`
/// names another file.
pub(super) fn asked(headers: &HeaderMap, size: u64, etag: &str) -> Asked {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let Some(spec) = text(header::RANGE).and_then(|range| range.trim().strip_prefix("bytes=")) else {
        return Asked::Whole;
    };
    if headers.contains_key(header::IF_RANGE) && text(header::IF_RANGE) != Some(etag) {
        return Asked::Whole;
    }
    let Some((first, last)) = spec.trim().split_once('-') else { return Asked::Whole };
    let number = |digits: &str| {
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u64>().unwrap_or(u64::MAX))
    };
    let range = match (first, last) {
        ("", "") => return Asked::Whole,
        ("", suffix) => {
            number(suffix).map(|bytes| size.saturating_sub(bytes)..if bytes == 0 { 0 } else { size })
        }
        (first, "") => number(first).map(|first| first..size),
        (first, last) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first > last => None,
            (Some(first), Some(last)) => Some(first..last.saturating_add(1).min(size)),
            _ => None,
        },
    };
    match range {
        None => Asked::Whole,
        Some(range) if range.start >= range.end => Asked::Beyond,
        Some(range) => Asked::Part(range),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range_of(value: &str) -> Result<Option<Range<u64>>, ()> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, value.parse().expect("a header"));
        match asked(&headers, 100, "\"e\"") {
            Asked::Whole => Ok(None),
            Asked::Part(range) => Ok(Some(range)),
            Asked::Beyond => Err(()),
        }
    }

    #[test]
    fn single_ranges_are_answered_and_malformed_ones_ignored() {
        for (value, expected) in [
            ("bytes=0-0", Ok(Some(0..1))),
            ("bytes=10-19", Ok(Some(10..20))),
            ("bytes=90-1000", Ok(Some(90..100))),
            ("bytes=99-", Ok(Some(99..100))),
            ("bytes=-10", Ok(Some(90..100))),
            ("bytes=-1000", Ok(Some(0..100))),
            ("bytes=0-99999999999999999999999", Ok(Some(0..100))),
            ("bytes=100-", Err(())),
            ("bytes=100-200", Err(())),
            ("bytes=-0", Err(())),
            ("bytes=5-4", Ok(None)),
            ("bytes=0-1,4-5", Ok(None)),
            ("bytes=-", Ok(None)),
            ("bytes=a-b", Ok(None)),
            ("lines=0-1", Ok(None)),
        ] {
            assert_eq!(range_of(value), expected, "{value}");
        }
    }

    #[test]
    fn a_range_of_another_file_is_ignored() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static("bytes=5-"));
        headers.insert(header::IF_RANGE, HeaderValue::from_static("\"other\""));
        assert!(matches!(asked(&headers, 100, "\"e\""), Asked::Whole));
        headers.insert(header::IF_RANGE, HeaderValue::from_static("\"e\""));
        assert!(matches!(asked(&headers, 100, "\"e\""), Asked::Part(_)));
    }
}
