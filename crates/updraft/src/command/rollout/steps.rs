//! Steps as people write them: `1:10m,10:1h,100`.

use std::str::FromStr;

use api::{Percent, Step};

const UNITS: [(char, u32); 4] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];

/// Percents of the devices, each with how long it is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Steps(pub(super) Vec<Step>);

impl FromStr for Steps {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',').map(|part| step(part.trim())).collect::<Result<_, _>>().map(Self)
    }
}

fn step(text: &str) -> Result<Step, String> {
    let wrong = || format!("a step is a percent and how long it is watched, such as 10:1h: {text:?}");
    let (percent, soak) = text.split_once(':').map_or((text, "0s"), |(percent, soak)| (percent, soak));
    let percent: f64 = percent.trim_end_matches('%').parse().map_err(|_| wrong())?;
    let percent = Percent::try_from(percent).map_err(|why| format!("{why}: {text:?}"))?;
    Ok(Step { percent, soak_s: seconds(soak).ok_or_else(wrong)? })
}

/// A number and its unit; without one, seconds.
fn seconds(text: &str) -> Option<u32> {
    let unit = UNITS.into_iter().find(|(unit, _)| text.ends_with(*unit));
    let (number, factor) = unit.map_or((text, 1), |(unit, factor)| (text.trim_end_matches(unit), factor));
    number.parse::<u32>().ok()?.checked_mul(factor)
}

pub(super) fn duration(seconds: u32) -> String {
    let whole = UNITS.into_iter().rev().find(|(_, factor)| seconds > 0 && seconds % factor == 0);
    whole.map_or_else(|| "-".to_owned(), |(unit, factor)| format!("{}{unit}", seconds / factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_as_people_write_them() {
        let read = |text: &str| {
            let steps = text.parse::<Steps>().expect(text).0.into_iter();
            steps.map(|step| format!("{}:{}", step.percent, step.soak_s)).collect::<Vec<_>>().join(" ")
        };
        for (text, expected) in [
            ("1:10m,10:1h,100", "1:600 10:3600 100:0"),
            ("0.5%:90s, 100%", "0.5:90 100:0"),
            ("1:600,100", "1:600 100:0"),
            ("50:1d,100:2h", "50:86400 100:7200"),
        ] {
            assert_eq!(read(text), expected);
        }
        for text in ["", "x", "10:", "10:1w", "0:1h", "101", "10:1h:2", "-1", "1:99999999999s"] {
            assert!(text.parse::<Steps>().is_err(), "{text}");
        }
        assert_eq!([0, 90, 600, 3600, 86_400].map(duration), ["-", "90s", "10m", "1h", "1d"]);
    }
}
