//! A maintenance window: the hours of the day, as clocks in a place show them, in which devices are offered something.
//!
//! A window is open whenever a clock there shows a time in it. On the day on which clocks are set forward, the hours that they
//! skip do not come: a window in them alone does not open. On the day on which they are set back, an hour comes twice, and
//! so does a window in it.

use alloc::format;
use alloc::string::{String, ToString};

use chrono::{DateTime, Timelike};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

const MINUTE_MS: i64 = 60_000;
/// How far ahead it is looked for the next opening: the window of a skipped hour opens on the day after.
const AHEAD_MINUTES: i64 = 3 * 24 * 60;

/// From a minute of the day to another, over midnight if that is earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Window {
    from: u32,
    to: u32,
    tz: Tz,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    from: String,
    to: String,
    tz: String,
}

impl Window {
    /// Whether it is open, at a time in milliseconds since 1970.
    pub fn is_open(&self, at: i64) -> bool {
        let Some(there) = DateTime::from_timestamp_millis(at) else { return false };
        let minute = there.with_timezone(&self.tz).num_seconds_from_midnight() / 60;
        if self.from < self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }

    /// When it opens next; `None` while it is open.
    pub fn opens_at(&self, now: i64) -> Option<i64> {
        if self.is_open(now) {
            return None;
        }
        let next = now - now.rem_euclid(MINUTE_MS) + MINUTE_MS;
        (0..AHEAD_MINUTES).map(|minutes| next + minutes * MINUTE_MS).find(|at| self.is_open(*at))
    }
}

/// `HH:MM`, and 24:00 at the end.
fn minute(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |digits: &str| {
        let is_plain = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u32>().ok().filter(|_| is_plain)
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (minutes < 60 && hours * 60 + minutes <= 24 * 60).then_some(hours * 60 + minutes)
}

impl TryFrom<Written> for Window {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let of = |text: &str| {
            minute(text).ok_or_else(|| format!("{text} is no time of the day: write 01:00 or 23:30"))
        };
        let (from, to) = (of(&written.from)?, of(&written.to)?);
        if from % (24 * 60) == to % (24 * 60) {
            return Err("a window that is always open is none: leave it out".to_string());
        }
        let tz = written.tz.parse().map_err(|_| {
            format!(
                "there is no time zone {}: write one of the IANA names, such as Europe/Berlin or UTC",
                written.tz
            )
        })?;
        Ok(Self { from: from % (24 * 60), to, tz })
    }
}

impl From<Window> for Written {
    fn from(window: Window) -> Self {
        let text = |minute: u32| format!("{:02}:{:02}", minute / 60, minute % 60);
        Self { from: text(window.from), to: text(window.to), tz: window.tz.name().to_string() }
    }
}

impl core::fmt::Display for Window {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Written { from, to, tz } = Written::from(*self);
        write!(f, "{from} to {to} ({tz})")
    }
}

#[cfg(test)]
mod tests;
