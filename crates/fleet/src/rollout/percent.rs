//! Parts of a hundred, exact to a millionth of the whole.

use serde::{Deserialize, Serialize};

/// One percent, in millionths.
const ONE: u32 = 10_000;

/// More than 0 % and at most 100 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Percent(u32);

impl Percent {
    /// All of it.
    pub const ALL: Self = Self(100 * ONE);

    /// Whole percents.
    pub(crate) const fn whole(percent: u32) -> Self {
        Self(percent * ONE)
    }

    /// So many of these, rounded up.
    pub fn of(self, devices: u64) -> u64 {
        let part = u128::from(devices) * u128::from(self.0);
        u64::try_from(part.div_ceil(1_000_000)).unwrap_or(devices)
    }

    /// Whether `part` of `whole` is at least so much.
    pub fn is_reached(self, part: u64, whole: u64) -> bool {
        u128::from(part) * 1_000_000 >= u128::from(whole) * u128::from(self.0)
    }

    /// As a part of one.
    pub fn rate(self) -> f64 {
        f64::from(self.0) / 1_000_000.0
    }
}

impl TryFrom<f64> for Percent {
    type Error = &'static str;

    fn try_from(percent: f64) -> Result<Self, Self::Error> {
        if !(percent > 0.0 && percent <= 100.0) {
            return Err("a percent is more than 0 and at most 100");
        }
        // Positive, and at most a million: the nearest is found by adding a half.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to a million")]
        let millionths = (percent * f64::from(ONE) + 0.5) as u32;
        if millionths == 0 || (f64::from(millionths) / f64::from(ONE) - percent).abs() > 1e-9 {
            return Err("a percent has at most four decimals");
        }
        Ok(Self(millionths))
    }
}

impl From<Percent> for f64 {
    fn from(percent: Percent) -> Self {
        Self::from(percent.0) / Self::from(ONE)
    }
}

impl core::fmt::Display for Percent {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", f64::from(*self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_rounded_up_and_exact() {
        for (percent, devices, expected) in [
            (1.0, 10_000, 100),
            (1.0, 10_001, 101),
            (1.0, 1, 1),
            (1.0, 0, 0),
            (0.1, 1_000, 1),
            (0.3, 1_000, 3),
            (7.0, 100, 7),
            (14.3, 1_000, 143),
            (33.3333, 3, 1),
            (0.0001, 1_000_000, 1),
            (100.0, 123_457, 123_457),
            (99.9999, 10, 10),
            (50.0, u64::MAX, u64::MAX / 2 + 1),
        ] {
            assert_eq!(
                Percent::try_from(percent).expect("a percent").of(devices),
                expected,
                "{percent} {devices}"
            );
        }
    }

    #[test]
    fn what_is_no_part_is_refused() {
        for percent in [0.0, -1.0, 100.000_1, 1e9, f64::NAN, f64::INFINITY, 0.000_01, 1.000_05] {
            assert!(Percent::try_from(percent).is_err(), "{percent}");
        }
    }
}
