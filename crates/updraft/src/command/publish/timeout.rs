//! How long `updraft publish --wait` waits, as people write it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The longest wait: no CI system lets a job run as long.
const DURATION_MAX_S: u64 = 30 * 24 * 3600;
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

/// How long to wait, such as `90m` or `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timeout(pub(super) Duration);

impl FromStr for Timeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "a wait is a number and its unit, such as 90m or 1h30m, and at most 30d (put the image before --wait): {text:?}"
            )
        };
        let (mut seconds, mut number, mut units) = (0_u64, None::<u64>, UNITS.as_slice());
        for letter in text.chars() {
            if let Some(digit) = letter.to_digit(10) {
                let more = number.unwrap_or(0).checked_mul(10).and_then(|n| n.checked_add(u64::from(digit)));
                number = Some(more.ok_or_else(wrong)?);
                continue;
            }
            // Each unit once, the largest first.
            let at = units.iter().position(|(unit, _)| *unit == letter).ok_or_else(wrong)?;
            let part = number.take().and_then(|number| number.checked_mul(units[at].1)).ok_or_else(wrong)?;
            seconds = seconds.checked_add(part).ok_or_else(wrong)?;
            units = &units[at + 1..];
        }
        let is_whole = number.is_none() && (1..=DURATION_MAX_S).contains(&seconds);
        if is_whole { Ok(Self(Duration::from_secs(seconds))) } else { Err(wrong()) }
    }
}

/// As it could be typed: `1h30m`.
impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0.as_secs();
        for (unit, seconds) in UNITS {
            if left >= seconds {
                write!(f, "{}{unit}", left / seconds)?;
                left %= seconds;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_read_as_people_write_it() {
        for (text, seconds, printed) in [
            ("1h", 3600, "1h"),
            ("90m", 5400, "1h30m"),
            ("1h30m", 5400, "1h30m"),
            ("45s", 45, "45s"),
            ("2d", 172_800, "2d"),
            ("1d2h3m4s", 93_784, "1d2h3m4s"),
            ("30d", DURATION_MAX_S, "30d"),
        ] {
            let timeout = text.parse::<Timeout>().expect(text);
            assert_eq!((timeout.0.as_secs(), timeout.to_string().as_str()), (seconds, printed));
        }
        for text in [
            "",
            "1",
            "h",
            "0s",
            "-1h",
            "1.5h",
            "1 h",
            "30m1h",
            "1h1h",
            "31d",
            "1w",
            "firmware.bin",
            "99999999999999999999d",
            "18446744073709551615d",
            "١h",
            "true",
        ] {
            assert!(text.parse::<Timeout>().is_err_and(|why| why.contains("90m")), "{text}");
        }
    }
}
