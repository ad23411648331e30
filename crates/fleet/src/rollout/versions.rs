//! A range of versions, such as `>=1.0.0, <1.2.0`: all of its comparisons hold. Pre-releases are in it like any other version.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::cmp::Ordering;

use contract::Version;

/// Maximum number of comparisons.
const COMPARISONS_MAX: usize = 20;

/// Versions for which each comparison holds.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionRange(Vec<(Operator, Version)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
}

impl VersionRange {
    /// Reads comparisons with commas between; `None` if it is none. A bare version is that one.
    pub fn parse(text: &str) -> Option<Self> {
        let comparisons: Vec<_> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        if comparisons.is_empty() || comparisons.len() > COMPARISONS_MAX {
            return None;
        }
        if comparisons == ["*"] {
            return Some(Self(Vec::new()));
        }
        comparisons.into_iter().map(comparison).collect::<Option<_>>().map(Self)
    }

    /// Whether it is in it. One that cannot be compared is not.
    pub fn contains(&self, version: &Version) -> bool {
        self.0.iter().all(|(operator, bound)| {
            let order = version.compare(bound);
            match operator {
                Operator::Less => order == Some(Ordering::Less),
                Operator::AtMost => order.is_some_and(Ordering::is_le),
                Operator::Equal => version == bound,
                Operator::AtLeast => order.is_some_and(Ordering::is_ge),
                Operator::More => order == Some(Ordering::Greater),
            }
        })
    }
}

fn comparison(text: &str) -> Option<(Operator, Version)> {
    use Operator::{AtLeast, AtMost, Equal, Less, More};
    let operators = [("<=", AtMost), (">=", AtLeast), ("==", Equal), ("<", Less), (">", More), ("=", Equal)];
    let read = |(sign, operator): (&str, Operator)| Some((operator, text.strip_prefix(sign)?));
    let (operator, version) = operators.into_iter().find_map(read).unwrap_or((Equal, text));
    let version: Version = version.trim().to_string().parse().ok()?;
    let is_sign = |text: &str| text.contains(['<', '>', '=', '^', '~', '*', ' ', '|']);
    let is_plain = !is_sign(version.as_str()) && (operator == Equal || !version.is_opaque());
    is_plain.then_some((operator, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_comparisons_hold_and_prereleases_are_versions_too() {
        for (range, version, expected) in [
            (">=1.0.0, <1.2.0", "1.0.0", true),
            (">=1.0.0, <1.2.0", "1.1.9", true),
            (">=1.0.0, <1.2.0", "1.2.0", false),
            (">=1.0.0, <1.2.0", "1.2.0-rc.1", true),
            (">=1.0.0, <1.2.0", "1.0.0-rc.1", false),
            (">=1.0.0,<1.2.0", "0.9.0", false),
            ("<=1.2", "1.2.0", true),
            (">1.2", "1.2.0", false),
            ("=1.2.0", "1.2.0+build", true),
            ("1.2.0", "1.2.0", true),
            ("==1.2.0", "1.2.1", false),
            ("*", "1.2.0", true),
            ("*", "build-77", true),
            ("build-77", "build-77", true),
            ("<2.0.0", "build-77", false),
        ] {
            let parsed = VersionRange::parse(range).expect(range);
            assert_eq!(
                parsed.contains(&version.parse().expect("a version")),
                expected,
                "{version} in {range}"
            );
        }
    }

    #[test]
    fn what_is_no_range_is_none() {
        for text in [
            "",
            ",",
            ">=",
            "^1.2.0",
            "~1.2",
            ">=1.0.0 <1.2.0",
            ">=build-77",
            "1.x || 2.x",
            "=>1.0.0",
            ">=1.0.0, *",
        ] {
            assert_eq!(VersionRange::parse(text), None, "{text}");
        }
    }
}
