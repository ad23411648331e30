//! Times: milliseconds since 1970 inside, and as the API has them.

use std::time::Instant;

use chrono::{DateTime, Utc};

pub(crate) fn now_ms() -> i64 {
    Utc::now().timestamp_millis()
}

pub(crate) fn time(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

/// More than this between two looks is no delay.
const JUMP_MS: i64 = 15_000;

/// Notices that the system's clock was set, or that the machine slept: times of before say nothing of how long ago they were.
#[derive(Debug, Default)]
pub(crate) struct Jumps(Option<(i64, Instant)>);

impl Jumps {
    /// Whether that was so since this was asked last.
    pub(crate) fn since_last(&mut self, now: i64, at: Instant) -> bool {
        let before = self.0.replace((now, at));
        before.is_some_and(|(then, then_at)| {
            let elapsed =
                i64::try_from(at.saturating_duration_since(then_at).as_millis()).unwrap_or(i64::MAX);
            now.saturating_sub(then).saturating_sub(elapsed).saturating_abs() > JUMP_MS
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_that_is_set_is_noticed_and_a_slow_tick_is_none() {
        let (mut jumps, begin) = (Jumps::default(), Instant::now());
        let mut look = |now, second| jumps.since_last(now, begin + Duration::from_secs(second));
        assert!(!look(1_000_000, 0) && !look(1_001_000, 1) && !look(1_121_000, 121));
        assert!(look(4_721_000, 122), "set forward");
        assert!(!look(4_722_000, 123));
        assert!(look(1_122_000, 124), "set back");
        assert!(!look(1_123_000, 125));
    }
}
