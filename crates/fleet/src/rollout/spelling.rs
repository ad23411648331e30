//! Steps as people write them: `1:10m, 10:1h, 100`.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::percent::Percent;
use super::shape::Step;

const UNITS: [(char, u32); 4] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];

impl Step {
    /// Percents of the devices, each with how long it is watched.
    ///
    /// # Errors
    /// Says what is wrong with which of them.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        text.split(',').map(|part| Self::parse(part.trim())).collect()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("a step is a percent and how long it is watched, such as 10:1h, not {text:?}");
        let (percent, soak) = text.split_once(':').unwrap_or((text, "0"));
        let percent: f64 = percent.trim().trim_end_matches('%').parse().map_err(|_| wrong())?;
        let percent = Percent::try_from(percent).map_err(|why| format!("{why}, not {text:?}"))?;
        let soak = soak.trim();
        let unit = UNITS.into_iter().find(|(unit, _)| soak.ends_with(*unit));
        let (number, factor) =
            unit.map_or((soak, 1), |(unit, factor)| (soak.strip_suffix(unit).unwrap_or(soak), factor));
        let soak_s = number.parse::<u32>().ok().and_then(|number| number.checked_mul(factor));
        Ok(Self { percent, soak_s: soak_s.ok_or_else(wrong)? })
    }

    /// How long it is watched: `10m`; `-` if it is not.
    pub fn soak(&self) -> String {
        let whole = |(_, factor): &(char, u32)| self.soak_s > 0 && self.soak_s.is_multiple_of(*factor);
        let unit = UNITS.into_iter().rev().find(whole);
        unit.map_or_else(|| "-".to_string(), |(unit, factor)| format!("{}{unit}", self.soak_s / factor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_as_people_write_them() {
        let read = |text: &str| {
            let steps = Step::parse_all(text).expect(text).into_iter();
            steps.map(|step| format!("{}:{}", step.percent, step.soak())).collect::<Vec<_>>().join(" ")
        };
        for (text, expected) in [
            ("1:10m,10:1h,100", "1:10m 10:1h 100:-"),
            ("0.5%:90s, 100%", "0.5:90s 100:-"),
            ("1:600,100", "1:10m 100:-"),
            ("50:24h,100: 2h", "50:1d 100:2h"),
        ] {
            assert_eq!(read(text), expected);
        }
        for text in ["", "x", "10:", "10:1w", "0:1h", "101", "10:1h:2", "-1", "1:99999999999s", "1:1hh"] {
            assert!(Step::parse_all(text).is_err(), "{text}");
        }
    }
}
