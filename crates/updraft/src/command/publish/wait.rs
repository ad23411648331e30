//! `updraft publish --wait`: after publishing, waits until a rollout of the release has its verdict.
//!
//! Only the list of the product's rollouts is asked: it is what a job's token of one product may read, and it shows when a
//! newer rollout of the same version takes an older one's place.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{anyhow, bail};
use contract::{ProductName, Version};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::api_client::{self, ApiClient, Failure};
use crate::command::publish::rollout::{Rollout, Verdict};

/// How long nothing is asked: at first, and at most.
const PAUSE: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long one look at the rollouts may take.
const LOOK: Duration = Duration::from_secs(30);
/// More pages than any product has.
const PAGES_MAX: usize = 100;
/// The longest wait: no CI system lets a job run as long.
const DURATION_MAX_S: u64 = 30 * 24 * 3600;
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

/// How long to wait, such as `90m` or `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience(Duration);

/// A product's rollouts, as they were before anything was published.
pub(super) struct Watch<'a> {
    server: &'a ApiClient,
    product: &'a ProductName,
    patience: Patience,
    /// Those that had ended.
    ended: BTreeSet<u64>,
}

/// What came of the wait.
pub(super) struct Outcome {
    /// The newest rollout of the release, if there was one.
    pub(super) rollout: Option<Rollout>,
    /// Why the job fails, if it does.
    pub(super) failure: Option<String>,
}

/// What is done when the server says that it is busy: the wait for the verdict asks again by itself.
#[derive(Clone, Copy)]
enum Busy {
    Wait,
    Say,
}

/// The newest rollout of a version, and how the last look at it went.
#[derive(Default)]
struct Seen {
    rollout: Option<Rollout>,
    trouble: Option<String>,
    /// The line that was said last.
    said: String,
}

impl<'a> Watch<'a> {
    /// Looks before anything is sent: a server without rollouts has no verdict to wait for.
    pub(super) async fn open(
        server: &'a ApiClient,
        product: &'a ProductName,
        patience: Patience,
    ) -> anyhow::Result<Self> {
        let mut watch = Self { server, product, patience, ended: BTreeSet::new() };
        let mut ended = BTreeSet::new();
        let looked = watch
            .each(Busy::Wait, |rollout| {
                if rollout.verdict() != Verdict::Open {
                    ended.insert(rollout.id);
                }
            })
            .await;
        watch.ended = ended;
        let Err(error) = looked else { return Ok(watch) };
        // A token of one product gets 403 for a path that it does not know.
        let is_absent =
            matches!(api_client::status(&error), Some(StatusCode::NOT_FOUND | StatusCode::FORBIDDEN));
        if is_absent && !server.has_path("/api/v1/products/{}/rollouts").await? {
            bail!(
                "This server has no rollouts, so there is no verdict to wait for: leave --wait out. Nothing was published."
            );
        }
        match api_client::status(&error) {
            // A product begins with its first publish.
            Some(StatusCode::NOT_FOUND) => Ok(watch),
            _ => Err(error.context(format!(
                "nothing was published, since --wait cannot see the rollouts of {product}"
            ))),
        }
    }

    /// Waits. `was_there`: the release had been published before, so an old verdict is its verdict.
    pub(super) async fn outcome(&self, version: &Version, was_there: bool) -> Outcome {
        let release = format!("{} {version}", self.product);
        let deadline = Instant::now() + self.patience.0;
        let (mut seen, mut pause) = (Seen::default(), PAUSE);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // The last look is no shorter than it takes.
            match timeout(left.clamp(PAUSE_MAX, LOOK), self.newest(version, was_there)).await {
                Ok(Ok(found)) => {
                    let is_news = found.as_ref().map(progress) != seen.rollout.as_ref().map(progress);
                    pause = if is_news { PAUSE } else { pause };
                    (seen.rollout, seen.trouble) = (found, None);
                }
                Ok(Err(error)) => match error.chain().find_map(|cause| cause.downcast_ref::<Failure>()) {
                    Some(failure) if failure.may_pass() => seen.trouble = Some(format!("{error:#}")),
                    _ => {
                        return seen.ended(Some(format!(
                            "{release} is published, and its rollouts cannot be seen: {error:#}"
                        )));
                    }
                },
                Err(_) => seen.trouble = Some("The server does not answer.".to_owned()),
            }
            seen.tell(&release, self.patience);
            match seen.rollout.as_ref().map(Rollout::verdict) {
                Some(Verdict::Good) => return seen.ended(None),
                Some(Verdict::Bad(why)) => {
                    return seen.ended(Some(format!("{release} is published, and {why}.")));
                }
                Some(Verdict::Open) | None => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let how = seen.line(&release);
                return seen.ended(Some(format!(
                    "{release} is published, and there is no verdict after {}: {how}",
                    self.patience
                )));
            }
            sleep(pause.min(left)).await;
            pause = (pause * 3 / 2).min(PAUSE_MAX);
        }
    }

    /// The newest rollout of exactly this version.
    async fn newest(&self, version: &Version, was_there: bool) -> anyhow::Result<Option<Rollout>> {
        let mut newest: Option<Rollout> = None;
        self.each(Busy::Say, |rollout| {
            // `==` is of precedence, for which 1.0.0+a is 1.0.0+b.
            let is_of_it = rollout.version.as_str() == version.as_str();
            let counts = was_there || !self.ended.contains(&rollout.id);
            if is_of_it && counts && newest.as_ref().is_none_or(|newest| newest.id < rollout.id) {
                newest = Some(rollout);
            }
        })
        .await?;
        Ok(newest)
    }

    /// Each of the product's rollouts, page by page.
    async fn each(&self, busy: Busy, mut with: impl FnMut(Rollout)) -> anyhow::Result<()> {
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let query: Vec<_> = cursor.as_deref().map(|cursor| ("cursor", cursor)).into_iter().collect();
            let path = ["products", self.product, "rollouts"];
            let is_page = |page: &Value| page["items"].is_array();
            let page = match busy {
                Busy::Wait => self.server.get(&path, &query, is_page).await?,
                Busy::Say => self.server.look(&path, &query, is_page).await?,
            };
            page["items"].as_array().into_iter().flatten().filter_map(Rollout::read).for_each(&mut with);
            match &page["next"] {
                Value::String(next) => cursor = Some(next.clone()),
                _ => return Ok(()),
            }
        }
        Err(anyhow!("The server's list of rollouts has no end."))
    }
}

/// What is news enough to ask again soon; counts alone change all the time.
fn progress(rollout: &Rollout) -> (u64, &super::rollout::State) {
    (rollout.id, &rollout.state)
}

impl Seen {
    /// Says how it stands, if that is another than before.
    fn tell(&mut self, release: &str, patience: Patience) {
        let mut line = self.line(release);
        if self.rollout.is_none() && self.trouble.is_none() {
            line = format!("{line} Waiting for one, for at most {patience}.");
        }
        if line != self.said {
            eprintln!("{line}");
            self.said = line;
        }
    }

    fn line(&self, release: &str) -> String {
        let line = match &self.rollout {
            Some(rollout) => format!("{rollout}."),
            None => format!("no rollout of {release} has begun."),
        };
        match &self.trouble {
            Some(trouble) => format!("{line} That was the last that was heard: {trouble}"),
            None => line,
        }
    }

    fn ended(self, failure: Option<String>) -> Outcome {
        Outcome { rollout: self.rollout, failure }
    }
}

impl FromStr for Patience {
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
impl fmt::Display for Patience {
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
            let patience = text.parse::<Patience>().expect(text);
            assert_eq!((patience.0.as_secs(), patience.to_string().as_str()), (seconds, printed));
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
            assert!(text.parse::<Patience>().is_err_and(|why| why.contains("90m")), "{text}");
        }
    }
}
