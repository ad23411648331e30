//! How the words of a version read: numbers, a pre-release, commits since a tag. In bytes: what `str` brings along to search
//! text is larger than all of this.

use core::cmp::Ordering;

use heapless::String;

/// A version has at most so many bytes.
pub const VERSION_MAX_BYTES: usize = 64;

/// The parts of a version that is no opaque name. Build metadata does not count.
#[derive(Default)]
pub(super) struct Reading<'a> {
    /// As many as were written: `1.2`.
    numbers: &'a [u8],
    /// What follows the hyphen, without what `git describe` appends; empty if nothing does.
    pre: &'a [u8],
    /// Commits since the tag, and which commit it is; both are empty at the tag itself.
    commits: &'a [u8],
    commit: &'a [u8],
    /// Built from more than what was committed.
    is_dirty: bool,
    /// Without its plus sign; empty if there is none.
    build: &'a [u8],
}

impl<'a> Reading<'a> {
    /// Reads words with nothing around them; `None` if they are an opaque name.
    #[inline(never)]
    pub(super) fn of(mut text: &'a [u8]) -> Option<Self> {
        // A note behind it: "1.4.0 (Oct 5)".
        if text.ends_with(b")") {
            text = split(text, b'(').0.trim_ascii_end();
        }
        if let [b'v' | b'V', rest @ ..] = text {
            text = rest;
        }
        let (rest, build) = split(text, b'+');
        let (numbers, pre) = split(rest, b'-');
        let mut count = 0;
        let are_numbers = numbers.split(is_dot).all(|number| {
            count += 1;
            is_number(number)
        });
        let are_identifiers =
            |part: Option<&[u8]>| part.is_none_or(|part| part.split(is_dot).all(is_identifier));
        // With the parts that are missing it has to fit, too.
        let bytes = text.len() + 2 * 3_usize.saturating_sub(count);
        if !are_numbers || !are_identifiers(pre) || !are_identifiers(build) || bytes > VERSION_MAX_BYTES {
            return None;
        }
        let (pre, build) = (pre.unwrap_or_default(), build.unwrap_or_default());
        let mut reading = Self { numbers, pre, build, ..Self::default() };
        while reading.commits.is_empty() && reading.take_description() {}
        Some(reading)
    }

    /// Takes off what `git describe` appends last: `-3-gabc1234`, or `-dirty`. Answers whether there was something.
    fn take_description(&mut self) -> bool {
        let (rest, last) = split_last(self.pre);
        if last == b"dirty" {
            (self.pre, self.is_dirty) = (rest, true);
            return true;
        }
        let (rest, number) = split_last(rest);
        let is_described = is_commit(last) && is_number(number);
        if is_described {
            self.pre = rest;
            // `--long` counts at the tag itself, too.
            if number.iter().any(|digit| *digit != b'0') {
                (self.commits, self.commit) = (without_zeros(number), last);
            }
        }
        is_described
    }

    /// Writes it in the one spelling: at least three numbers, without zeros before them or behind the third.
    #[inline(never)]
    pub(super) fn write(&self) -> String<VERSION_MAX_BYTES> {
        let mut text = String::new();
        let mut end = 0;
        for (index, number) in self.numbers.split(is_dot).chain([&b"0"[..]; 2]).enumerate() {
            let number = without_zeros(number);
            push(&mut text, if index == 0 { b"" } else { b"." }, number);
            if index < 3 || number != b"0" {
                end = text.len();
            }
        }
        text.truncate(end);
        let mut mark: &[u8] = b"-";
        for identifier in self.pre.split(is_dot).filter(|identifier| !identifier.is_empty()) {
            push(&mut text, mark, if is_number(identifier) { without_zeros(identifier) } else { identifier });
            mark = b".";
        }
        if !self.commits.is_empty() {
            push(&mut text, b"-", self.commits);
            push(&mut text, b"-", self.commit);
        }
        if self.is_dirty {
            push(&mut text, b"-dirty", b"");
        }
        if !self.build.is_empty() {
            push(&mut text, b"+", self.build);
        }
        text
    }

    /// Numbers, then the pre-release, then the commits since. What was written in the one spelling is equal only if it is the
    /// same.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        let pre = || match (self.pre, other.pre) {
            (b"", b"") => Ordering::Equal,
            (b"", _) => Ordering::Greater,
            (_, b"") => Ordering::Less,
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

    /// Whether it says more than numbers and build metadata.
    pub(super) fn is_prerelease(&self) -> bool {
        !self.pre.is_empty() || !self.commits.is_empty() || self.is_dirty
    }

    /// Whether SemVer has such numbers: three, of at most 64 bits.
    pub(super) fn is_semver(&self) -> bool {
        let mut count = 0;
        let are_short = self.numbers.split(is_dot).all(|number| {
            count += 1;
            number.len() < 20
        });
        count == 3 && are_short
    }
}

/// What does not fit is dropped: only zeros that are taken off again do not, since [`Reading::of`] measures the rest.
fn push(text: &mut String<VERSION_MAX_BYTES>, mark: &[u8], part: &[u8]) {
    for byte in mark.iter().chain(part) {
        let _ = text.push(char::from(*byte));
    }
}

/// Splits at the first `mark`.
fn split(text: &[u8], mark: u8) -> (&[u8], Option<&[u8]>) {
    let at = text.iter().position(|byte| *byte == mark).unwrap_or(text.len());
    (text.get(..at).unwrap_or_default(), text.get(at + 1..))
}

/// Splits at the last hyphen; without one all of it is behind.
fn split_last(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().rposition(|byte| *byte == b'-') {
        Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default()),
        None => (b"", text),
    }
}

fn is_dot(byte: &u8) -> bool {
    *byte == b'.'
}

fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

fn is_identifier(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

/// `gabc1234`: git abbreviates to at least four digits, in lower case.
fn is_commit(text: &[u8]) -> bool {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    matches!(text, [b'g', digits @ ..] if digits.len() >= 4 && digits.iter().all(is_digit))
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let end = number.len().saturating_sub(1);
    let zeros = number.iter().take(end).take_while(|digit| **digit == b'0').count();
    number.get(zeros..).unwrap_or_default()
}

/// Without zeros before them, so that none is too large.
fn compare_numbers(left: &[u8], right: &[u8]) -> Ordering {
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

/// Part by part; numbers come before words, and the shorter list before one that goes on.
fn compare(left: &[u8], right: &[u8]) -> Ordering {
    let (mut left, mut right) = (left.split(is_dot), right.split(is_dot));
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
