//! How versions are in order: by their numbers, their pre-release, and the commits since a tag.

use core::cmp::Ordering;

/// The parts of a version in its one spelling. Build metadata is none: it does not count.
pub(super) struct Reading<'a> {
    numbers: &'a str,
    /// What follows the hyphen, without what `git describe` appends; empty if nothing does.
    pre: &'a str,
    /// Commits since the tag, and which commit it is; empty without them.
    commits: &'a str,
    commit: &'a str,
    /// Built from more than what was committed.
    is_dirty: bool,
}

impl<'a> Reading<'a> {
    /// Of a text without build metadata.
    pub(super) fn of(text: &'a str) -> Self {
        let (numbers, pre) = text.split_once('-').unwrap_or((text, ""));
        let mut reading = Self { numbers, pre, commits: "", commit: "", is_dirty: false };
        if let Some(rest) = without_last(reading.pre, |last| last == "dirty") {
            (reading.pre, reading.is_dirty) = (rest, true);
        }
        if let Some(rest) = without_last(reading.pre, is_commit)
            && let Some(before) = without_last(rest, is_number)
        {
            reading.commit = &reading.pre[rest.len()..];
            reading.commits = rest[before.len()..].trim_start_matches('-');
            reading.pre = before;
        }
        reading
    }

    /// Numbers, then the pre-release, then the commits since.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        let pre = || match (self.pre, other.pre) {
            ("", "") => Ordering::Equal,
            ("", _) => Ordering::Greater,
            (_, "") => Ordering::Less,
            (left, right) => compare(left, right),
        };
        let numbers = compare(self.numbers, other.numbers);
        numbers.then_with(pre).then_with(|| compare_numbers(self.commits, other.commits))
    }

    /// The rest of a total order: which commit, and what was not committed.
    pub(super) fn compare_builds(&self, other: &Self) -> Ordering {
        (self.commit, self.is_dirty).cmp(&(other.commit, other.is_dirty))
    }

    pub(super) fn is_of_same_commit(&self, other: &Self) -> bool {
        self.commit == other.commit
    }

    /// Whether SemVer has it: three numbers of at most 64 bits, and no zeros before one in the pre-release.
    pub(super) fn is_semver(&self) -> bool {
        let are_short = self.numbers.split('.').all(|number| number.len() < 20);
        let is_sound = |id: &str| is_number(id) || !id.bytes().all(|byte| byte.is_ascii_digit());
        are_short
            && self.numbers.split('.').count() == 3
            && (self.pre.is_empty() || self.pre.split('.').all(is_sound))
    }
}

/// What is before the last part and its hyphen, if it is such a part. Two hyphens in a row are part of a word.
fn without_last(text: &str, is_such: impl Fn(&str) -> bool) -> Option<&str> {
    let (rest, last) = match text.rsplit_once('-') {
        Some(("", _)) => return None,
        Some(parts) => parts,
        None => ("", text),
    };
    (is_such(last) && !rest.ends_with('-')).then_some(rest)
}

/// `gabc1234`: git abbreviates to at least four digits, in lower case.
fn is_commit(text: &str) -> bool {
    let digits = text.strip_prefix('g').unwrap_or_default();
    digits.len() >= 4 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && matches!(text.as_bytes(), [b'0'] | [b'1'..=b'9', ..])
}

/// They have no zeros before them, so that none is too large.
fn compare_numbers(left: &str, right: &str) -> Ordering {
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

/// Part by part; numbers come before words, and the shorter list before one that goes on.
fn compare(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(left), Some(right)) => match (is_number(left), is_number(right)) {
                (true, true) => compare_numbers(left, right),
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
                (false, false) => left.cmp(right),
            },
        };
        if order.is_ne() {
            return order;
        }
    }
}
